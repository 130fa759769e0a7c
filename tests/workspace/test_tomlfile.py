"""How a TOML file that a person wrote is read, and what is said about one that is broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lockgate.errors import UsageMistake
from lockgate.workspace.tomlfile import MAX_TOML_BYTES, parse_toml, read_toml, suggestion

FILE = Path("lockgate.toml")
TOML_HINT = "TOML wants `[section]` or `key = value`, and text in double quotes"


def test_a_missing_file_is_not_a_mistake(tmp_path: Path) -> None:
    """Where there is no file there are no tables, and the caller decides what that means."""
    assert read_toml(tmp_path / "where.toml") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[system]\ntemperature 0.7\n",
            "line 2 column 13: expected '=' after a key in a key/value pair, in `temperature 0.7`",
        ),
        ("a = 1\nb = \n", "line 2 column 5: invalid value, in `b =`"),
        ('a = """x\ny', "line 2 column 2: unterminated string, in `y`"),
        ("[a]\n[a]\n", "line 2 column 3: cannot declare ('a',) twice, in `[a]`"),
        ("a = 1\na = 2\n", "line 2 column 6: cannot overwrite a value, in `a = 2`"),
    ],
)
def test_broken_toml_is_told_with_line_and_column(text: str, said: str) -> None:
    """What is not TOML is named with file, line, column and the line itself."""
    with pytest.raises(UsageMistake) as caught:
        parse_toml(FILE, text.encode())

    assert (caught.value.what, caught.value.hint) == (f"lockgate.toml {said}", TOML_HINT)


def test_a_merge_conflict_is_called_one() -> None:
    """Conflict markers get the hint that helps with them."""
    with pytest.raises(UsageMistake) as caught:
        parse_toml(FILE, b"a = 1\n<<<<<<< HEAD\nb = 1\n=======\nb = 2\n>>>>>>> other\n")

    assert caught.value.what == "lockgate.toml line 2 column 1: invalid statement"
    assert caught.value.hint == "resolve the merge conflict, then run the command again"


def test_text_that_is_not_utf8_is_told_with_its_place() -> None:
    """A file in another encoding is named with the line of the first wrong byte."""
    with pytest.raises(UsageMistake) as caught:
        parse_toml(FILE, "[system]\nna\u00efve = 1\n".encode("latin-1"))

    assert caught.value.what == "lockgate.toml line 2 column 3: not UTF-8 text"
    assert caught.value.hint == "save the file as UTF-8: `iconv -t utf-8 lockgate.toml`"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a = " + "[" * 5000, "lockgate.toml nests values too deeply"),
        ("a = " + "9" * 5000, "lockgate.toml has a number of thousands of digits"),
    ],
)
def test_a_hostile_file_is_refused_and_not_a_crash(text: str, what: str) -> None:
    """Deep nesting and endless numbers are mistakes like any other."""
    with pytest.raises(UsageMistake) as caught:
        parse_toml(FILE, text.encode())

    assert caught.value.what == what
    assert caught.value.hint


def test_control_characters_of_a_broken_line_are_spelled_out() -> None:
    """The line that is shown cannot steer a terminal."""
    with pytest.raises(UsageMistake) as caught:
        parse_toml(FILE, b"a = \x1b[31m\n")

    assert "\x1b" not in str(caught.value)
    assert "\\x1b[31m" in caught.value.what


def test_a_link_is_refused_where_the_file_is_part_of_a_version(tmp_path: Path) -> None:
    """A linked `lockgate.toml` is refused; a linked `where.toml` belongs to the machine."""
    (tmp_path / "real.toml").write_text("a = 1\n")
    link = tmp_path / "lockgate.toml"
    link.symlink_to("real.toml")

    assert read_toml(link, follow_links=True) == {"a": 1}
    with pytest.raises(UsageMistake) as caught:
        read_toml(link)
    assert caught.value.what == f"{link} is a symbolic link"
    assert caught.value.hint == "copy the file it leads to into the folder"


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    """A FIFO in the place of the file does not make the command hang."""
    os.mkfifo(tmp_path / "lockgate.toml")

    with pytest.raises(UsageMistake, match="is not an ordinary file"):
        read_toml(tmp_path / "lockgate.toml")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    """A folder called like the file is no file."""
    (tmp_path / "lockgate.toml").mkdir()

    with pytest.raises(UsageMistake, match="is not an ordinary file"):
        read_toml(tmp_path / "lockgate.toml")


def test_a_file_beyond_any_sane_size_is_refused(tmp_path: Path) -> None:
    """Settings are bounded; text of that size belongs into files of its own."""
    whole = tmp_path / "lockgate.toml"
    whole.write_bytes(b"#" * MAX_TOML_BYTES)
    assert read_toml(whole) == {}
    whole.write_bytes(b"#" * (MAX_TOML_BYTES + 1))

    with pytest.raises(UsageMistake) as caught:
        read_toml(whole)

    assert caught.value.what == f"{whole} is larger than 1 MiB"
    assert "files" in caught.value.hint


def test_an_unknown_word_gets_the_nearest_one_else_all() -> None:
    """The hint is the word that was probably meant, or the list to choose from."""
    assert suggestion("Onwer", ("name", "owner")) == "did you mean `owner`?"
    assert suggestion("zzz", ("name", "owner")) == "allowed are `name`, `owner`"
