"""`where.toml`: where each system runs from this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.errors import UsageMistake
from lockgate.workspace.where import Where, read_where

WHOLE = """
[support-desk]
endpoint = "http://127.0.0.1:8080/v1"
key_variable = "SUPPORT_DESK_KEY"
timeout_s = 30
concurrency = 8

[order-extract]
timeout_s = 2.5
"""


def read(root: Path, text: str, system: str = "support-desk") -> Where:
    (root / "where.toml").write_text(text)
    return read_where(root, system)


def test_each_system_has_its_own_table(tmp_path: Path) -> None:
    """A table says where its system runs; what it leaves out stays open."""
    assert read(tmp_path, WHOLE) == Where("http://127.0.0.1:8080/v1", "SUPPORT_DESK_KEY", 30, 8)
    assert read(tmp_path, WHOLE, "order-extract") == Where(timeout_s=2.5)
    assert read(tmp_path, WHOLE, "other") == Where()


def test_the_file_is_optional(tmp_path: Path) -> None:
    """Without the file everything stays open."""
    assert read_where(tmp_path, "support-desk") == Where(None, None, None, None)


def test_the_file_may_be_a_link(tmp_path: Path) -> None:
    """It belongs to the machine, not to a version, so a link to it is fine."""
    (tmp_path / "elsewhere.toml").write_text(WHOLE)
    (tmp_path / "where.toml").symlink_to("elsewhere.toml")

    assert read_where(tmp_path, "order-extract").timeout_s == 2.5


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            "[support-desk]\nend_point = 'http://x'",
            "unknown key `[support-desk] end_point`",
            "did you mean `endpoint`?",
        ),
        (
            "timeout_s = 3",
            "`timeout_s` stands outside any system's table",
            "write it below the system's name, such as `[support-desk]`",
        ),
        (
            "['Support Desk']",
            "`[Support Desk]`: a system's name needs 1 to 40 of a-z, 0-9 and `-`, with a letter "
            "or digit at both ends",
            "correct the name",
        ),
        (
            "[a]\nkey_variable = 'not a name'",
            "`[a] key_variable` is not the name of an environment variable",
            'name the variable and keep the key itself out, such as `"SUPPORT_DESK_KEY"`',
        ),
        (
            "[a]\ntimeout_s = 0",
            "`[a] timeout_s`: `0` is not a time limit in seconds",
            "write a number above 0 and up to 86400, such as `30`",
        ),
        (
            "[a]\ntimeout_s = nan",
            "`[a] timeout_s`: `nan` is not a time limit in seconds",
            "write a number above 0 and up to 86400, such as `30`",
        ),
        (
            "[a]\nconcurrency = true",
            "`[a] concurrency`: `True` is not a number of questions",
            "write a whole number from 1 to 1024",
        ),
        (
            "[a]\nendpoint = 'localhost:8080'",
            "`[a] endpoint`: `localhost:8080` is not an http or https address",
            'write an address such as `"http://127.0.0.1:8080/v1"`',
        ),
        (
            "[a]\nendpoint = 'http://x:99999'",
            "`[a] endpoint`: `http://x:99999` is not an http or https address",
            'write an address such as `"http://127.0.0.1:8080/v1"`',
        ),
        (
            "[a]\nendpoint = 'http://[x'",
            "`[a] endpoint`: `http://[x` is not an http or https address",
            'write an address such as `"http://127.0.0.1:8080/v1"`',
        ),
        (
            "[a]\nendpoint = 3",
            "`[a] endpoint`: `3` is not an http or https address",
            'write an address such as `"http://127.0.0.1:8080/v1"`',
        ),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(
    tmp_path: Path, text: str, what: str, hint: str
) -> None:
    """Every mistake says which key and what it takes, also in another system's table."""
    with pytest.raises(UsageMistake) as caught:
        read(tmp_path, text)

    assert caught.value.what == f"{tmp_path / 'where.toml'}: {what}"
    assert caught.value.hint == hint


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Nobody corrects the file twice."""
    with pytest.raises(UsageMistake) as caught:
        read(tmp_path, "[a]\ntimeout_s = -1\nconcurrency = 0\nx = 1\n")

    assert len(caught.value.problems) == 3


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Credentials belong into the environment; the message does not show them."""
    with pytest.raises(UsageMistake) as caught:
        read(tmp_path, "[a]\nendpoint = 'http://app:" + "pw" + "d7@host/v1'")

    assert "d7" not in str(caught.value)
    assert caught.value.hint == "name their variable in `key_variable` instead"


def test_a_key_in_the_place_of_a_variables_name_is_not_repeated(tmp_path: Path) -> None:
    """Whoever pastes the key itself does not find it in a log."""
    key = "sk" + "-proj-" + "a1B2" * 8

    with pytest.raises(UsageMistake) as caught:
        read(tmp_path, f"[a]\nkey_variable = '{key}'")

    assert key not in str(caught.value)
