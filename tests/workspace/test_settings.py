"""What `lockgate.toml` may say, and every way in which it can be wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from folders import BARE, MODEL, PROGRAM, SYSTEM, with_files
from hypothesis import given
from hypothesis import strategies as st

from lockgate.domain.components import Component, Definition
from lockgate.errors import UsageMistake
from lockgate.shown import shown
from lockgate.workspace.folder import read_folder
from lockgate.workspace.settings import (
    ComponentSettings,
    Settings,
    read_settings,
    read_system_name,
    settings_text,
)

FLOATS_HINT = (
    "pin it in `[model]` with `file`, `digest` or `revision`, or a name that ends in a "
    'dated snapshot; or accept it with `floating = "the reason"`'
)
WHOLE = """
[system]
name = "support-desk"
owner = "support-ml"

[model]
name = "smollm2-135m-instruct"
file = "weights/model [v2].gguf"
quantisation = "q8_0"

[prompt]
files = ["prompts/*.md", "./prompts/examples.jsonl"]

[generation]
temperature = 0.0
stop = ["\\n\\n"]
logit_bias = { "50256" = -100 }

[retrieval]
embedding_model = "fts5-porter"
files = ["handbook/*.md"]
top_k = 5

[tools]
file = "tools/route.json"

[code]
files = ["assistant.py"]
warm = true

[run]
kind = "python"
target = "assistant:answer"

[ignore]
files = ["tuning/**"]
"""


def read(root: Path, text: str) -> Settings:
    return read_settings(with_files(root, text, {}))


def refused(root: Path, text: str) -> UsageMistake:
    with pytest.raises(UsageMistake) as caught:
        read(root, text)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def only(root: Path, text: str) -> tuple[str, str]:
    """Return what is wrong and the hint, for a file with exactly one mistake."""
    mistake = refused(root, text)
    assert mistake.problems == ()
    return mistake.what.removeprefix(f"{root / 'lockgate.toml'}: "), mistake.hint


def test_a_whole_file_becomes_settings_and_patterns(tmp_path: Path) -> None:
    """Names of files become patterns, what is run stands in `code`, the rest are settings."""
    run = {"kind": "python", "target": "assistant:answer"}

    assert read(tmp_path, WHOLE) == Settings(
        system="support-desk",
        owner="support-ml",
        run=run,
        components={
            "model": ComponentSettings(
                {"name": "smollm2-135m-instruct", "quantisation": "q8_0"},
                ("weights/model [[]v2].gguf",),
            ),
            "prompt": ComponentSettings({}, ("prompts/*.md", "./prompts/examples.jsonl")),
            "generation": ComponentSettings(
                {"temperature": 0.0, "stop": ["\n\n"], "logit_bias": {"50256": -100}}
            ),
            "tools": ComponentSettings({}, ("tools/route.json",)),
            "retrieval": ComponentSettings(
                {"embedding_model": "fts5-porter", "top_k": 5}, ("handbook/*.md",)
            ),
            "code": ComponentSettings({"warm": True, "run": run}, ("assistant.py",)),
        },
        ignore=("tuning/**",),
    )


def test_system_model_and_run_are_enough(tmp_path: Path) -> None:
    """Every other section is optional; `code` is always there, because it holds what is run."""
    settings = read(tmp_path, PROGRAM)

    assert list(settings.components) == ["model", "code"]
    assert settings.components["code"].settings == {"run": {"kind": "command", "command": ["cat"]}}


def test_the_owner_may_be_given_later(tmp_path: Path) -> None:
    """A file without an owner is whole; registration asks for one."""
    assert read(tmp_path, PROGRAM.replace('owner = "support-ml"\n', "")).owner is None


def test_a_command_keeps_its_arguments(tmp_path: Path) -> None:
    """A command is a list of words that no shell ever sees."""
    text = SYSTEM + MODEL + '[run]\nkind = "command"\ncommand = ["./answer.sh", "a b", "$HOME"]\n'

    assert read(tmp_path, text).run == {
        "kind": "command",
        "command": ["./answer.sh", "a b", "$HOME"],
    }


def test_all_missing_sections_are_told_at_once(tmp_path: Path) -> None:
    """An empty file is told everything it needs, each with an example."""
    mistake = refused(tmp_path, "")

    assert mistake.what == f"{tmp_path / 'lockgate.toml'} has 3 mistakes"
    assert mistake.problems == (
        'there is no `[system]` section; add `[system]` with `name = "support-desk"`',
        "there is no `[model]` section; add `[model]` with `name` and what pins it: "
        "`file`, `digest` or `revision`",
        'there is no `[run]` section; add `[run]` with `kind = "python"` and '
        '`target = "assistant:answer"`',
    )


def test_mistakes_of_every_kind_are_told_at_once(tmp_path: Path) -> None:
    """Shape, values and pins are told together, so that nobody corrects a file twice."""
    mistake = refused(
        tmp_path,
        '[system]\nname = "Support Desk"\n[model]\nname = "gpt-4o"\nn = nan\n'
        '[prompt]\nfiles = ["../x"]\n[run]\nkind = "pyton"\n',
    )

    assert [problem.partition(";")[0] for problem in mistake.problems] == [
        "`[system] name`: `Support Desk` needs 1 to 40 of a-z, 0-9 and `-`, with a letter or "
        "digit at both ends",
        "`[run] kind`: `pyton` is not allowed",
        "`[prompt] files`, entry 1: `../x` leads out of the folder with `..`",
        "`[model] n`: `nan` is not a number JSON knows",
        "model `gpt-4o` floats: nothing says which weights answer",
    ]
    assert mistake.hint == ("correct every line above, then run the command again")


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            BARE.replace("owner", "ownr"),
            "unknown key `[system] ownr`",
            "did you mean `owner`?",
        ),
        (BARE + "[modle]\nx = 1\n", "unknown section `[modle]`", "did you mean `[model]`?"),
        (
            "seed = 1\n" + BARE,
            "`seed` stands outside any section",
            "move it below one of `[system]`, `[model]`, `[run]`, `[prompt]`, `[generation]`, "
            "`[tools]`, `[retrieval]`, `[code]`, `[ignore]`",
        ),
        (
            BARE + "[[prompt]]\n",
            "`prompt` is a section: write it as `[prompt]`",
            "correct it, or remove it",
        ),
        (
            SYSTEM + MODEL + '[run]\nkind = "python"\n',
            "`[run] target` is missing",
            'add `target = "assistant:answer"`',
        ),
        (
            BARE.replace("assistant:answer", "assistant.answer"),
            "`[run] target`: `assistant.answer` is not `module:function`",
            'write `target = "assistant:answer"`',
        ),
        (
            BARE.replace("assistant:answer", "../assistant:answer"),
            "`[run] target`: `../assistant:answer` is not `module:function`",
            'write `target = "assistant:answer"`',
        ),
        (BARE + "tarket = 1\n", "unknown key `[run] tarket`", "did you mean `target`?"),
        (
            BARE.replace("python", "pyton"),
            "`[run] kind`: `pyton` is not allowed",
            "did you mean `python`?",
        ),
        (
            SYSTEM + MODEL + "[run]\n",
            "`[run] kind` is missing",
            'add `kind = "python"` or `kind = "command"`',
        ),
        (
            BARE.replace('"python"', '"openai"'),
            "`[run] kind`: `openai` is not allowed",
            "allowed are `python`, `command`",
        ),
        (
            SYSTEM + MODEL + '[run]\nkind = "command"\ncommand = []\n',
            "`[run] command` is an empty list",
            'write `command = ["./answer.sh"]`',
        ),
        (
            SYSTEM + MODEL + '[run]\nkind = "command"\ncommand = "./answer.sh"\n',
            "`[run] command` wants a list of texts",
            'write `command = ["./answer.sh"]`',
        ),
        (
            SYSTEM + MODEL + '[run]\nkind = "command"\ncommand = ["./a", " "]\n',
            "`[run] command`, entry 2: ` ` is empty",
            'write `command = ["./answer.sh"]`',
        ),
        (
            BARE.replace("support-ml", "Zo\u00eb"),
            "`[system] owner`: `Zo\u00eb` needs 1 to 64 of A-Z, a-z, 0-9 and `._@+-`, with a "
            "letter or digit at both ends",
            "correct it, or remove it",
        ),
        (BARE + "[ignore]\n", "`[ignore] files` is missing", 'add `files = ["notes/*.md"]`'),
        (
            BARE + "[prompt]\nfiles = []\n",
            "`[prompt] files` is an empty list",
            "name files by their path inside the folder, such as `prompts/*.md`",
        ),
        (
            BARE + "[prompt]\nfiles = [3]\n",
            "`[prompt] files`, entry 1 wants text in double quotes",
            'write `"3"`',
        ),
        (
            BARE + '[prompt]\nfile = "/etc/passwd"\n',
            "`[prompt] file`: `/etc/passwd` is not a relative POSIX path",
            "name files by their path inside the folder, such as `prompts/*.md`",
        ),
        (
            BARE + '[prompt]\nflies = ["prompts/*.md"]\n',
            "`[prompt] flies` looks like a list of files",
            "did you mean `files`?",
        ),
        (
            BARE + '[code]\nrun = "x"\n',
            "`[code] run` is taken",
            "what is run stands in the section `[run]`",
        ),
        (
            BARE + '[generation]\n"a\\u200bb" = 1\n',
            "`[generation] a\\u200bb`: the name is empty or has characters one cannot see",
            "name settings with visible characters in Unicode normal form C",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_helps(
    tmp_path: Path, text: str, what: str, hint: str
) -> None:
    """Every mistake says which key, what is wrong with it, and what to write instead."""
    assert only(tmp_path, text) == (what, hint)


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("endpoint", "endpoint"),
        ("base_url", "endpoint"),
        ("api_key", "key_variable"),
        ("timeout", "timeout_s"),
        ("concurrency", "concurrency"),
    ],
)
def test_where_a_version_runs_is_no_part_of_it(tmp_path: Path, key: str, where: str) -> None:
    """Endpoint, key and time limit are refused in `[run]`, with the file they belong in."""
    assert only(tmp_path, f'{PROGRAM}{key} = "x"\n') == (
        f"`[run] {key}` says where the version runs, not what it is",
        f"write `{where}` below `[support-desk]` in `where.toml` at the registry's root",
    )


def test_an_endpoint_in_the_model_is_refused_as_well(tmp_path: Path) -> None:
    """The most common wrong place for an endpoint gets the same answer."""
    what, hint = only(tmp_path, PROGRAM.replace("[run]", 'base_url = "http://x"\n[run]'))

    assert what == "`[model] base_url` says where the version runs, not what it is"
    assert hint == "write `endpoint` below `[support-desk]` in `where.toml` at the registry's root"


@pytest.mark.parametrize(
    ("value", "what", "hint"),
    [
        ("2026-08-06", "a date is not a JSON value", 'write it in double quotes: "2026-08-06"'),
        ("07:08:09", "a time is not a JSON value", 'write it in double quotes: "07:08:09"'),
        ("nan", "`nan` is not a number JSON knows", "leave the key out, or write a finite number"),
        (
            "-inf",
            "`-inf` is not a number JSON knows",
            "leave the key out, or write a finite number",
        ),
        (
            "9007199254740992",
            "an integer beyond 2^53 - 1 is not the same everywhere",
            "write it in double quotes",
        ),
        (
            "-9007199254740992",
            "an integer beyond 2^53 - 1 is not the same everywhere",
            "write it in double quotes",
        ),
    ],
)
def test_values_that_have_no_digest_are_refused_by_key(
    tmp_path: Path, value: str, what: str, hint: str
) -> None:
    """Dates, NaN, infinities and large integers are refused wherever they stand."""
    assert only(tmp_path, f"{BARE}[generation]\nx = {value}\n") == (
        f"`[generation] x`: {what}",
        hint,
    )
    assert only(tmp_path, f"{BARE}[generation.deep]\nx = [0, {{ y = {value} }}]\n") == (
        f"`[generation] deep.x, entry 2.y`: {what}",
        hint,
    )


def test_the_largest_safe_integers_are_settings(tmp_path: Path) -> None:
    """Both ends of the range that every JSON reader agrees on are allowed."""
    text = f"{BARE}[generation]\na = {2**53 - 1}\nb = {-(2**53) + 1}\n"

    assert read(tmp_path, text).components["generation"].settings == {
        "a": 9007199254740991,
        "b": -9007199254740991,
    }


def test_values_may_nest_only_so_deep(tmp_path: Path) -> None:
    """A setting of more than 32 levels belongs into a file."""
    assert read(tmp_path, f"{BARE}[generation]\nx = {'[' * 32}{']' * 32}\n")

    what, hint = only(tmp_path, f"{BARE}[generation]\nx = {'[' * 40}{']' * 40}\n")

    assert what.endswith("nests more than 32 levels")
    assert hint == "put the value into a file instead"


def model(*lines: str) -> str:
    return (
        SYSTEM + "[model]\n" + "\n".join(lines) + '\n[run]\nkind = "command"\ncommand = ["cat"]\n'
    )


@pytest.mark.parametrize(
    "lines",
    [
        ('name = "m"', 'file = "weights/model.gguf"'),
        ('name = "m"', 'files = ["weights/*"]'),
        ('name = "m"', f'digest = "sha256:{"ab" * 32}"'),
        ('name = "m"', 'revision = "3f1c2d9"'),
        ('name = "gpt-4o-2024-08-06"',),
        ('name = "claude-sonnet-4-20250514"',),
        ('name = "vendor/model@2024-08-06"',),
    ],
)
def test_a_pinned_model_is_accepted(tmp_path: Path, lines: tuple[str, ...]) -> None:
    """A file, a digest, a revision or a dated name says which weights answer."""
    assert "model" in read(tmp_path, model(*lines)).components


@pytest.mark.parametrize(
    "name", ["gpt-4o", "gpt-4o-latest", "m-2024-13-06", "m-20240231", "m-19990101", "2024-08-06-m"]
)
def test_a_floating_model_is_refused(tmp_path: Path, name: str) -> None:
    """A name alone, or one that ends in something that is no date, floats."""
    assert only(tmp_path, model(f'name = "{name}"')) == (
        f"model `{name}` floats: nothing says which weights answer",
        FLOATS_HINT,
    )


def test_a_model_may_float_on_purpose_and_that_is_recorded(tmp_path: Path) -> None:
    """The override needs a reason, and the reason stays in the version's settings."""
    settings = read(tmp_path, model('name = "gpt-4o"', 'floating = "the vendor pins nothing"'))

    assert settings.components["model"].settings == {
        "name": "gpt-4o",
        "floating": "the vendor pins nothing",
    }


@pytest.mark.parametrize(
    ("lines", "what", "hint"),
    [
        (
            ('name = "m"', 'floating = ""'),
            "`[model] floating`: is empty",
            "correct it, or remove it",
        ),
        (
            ('name = "m"', 'revision = "3"', 'floating = "why"'),
            "model `m` is pinned by `revision` and says that it floats",
            "remove `floating`, or the pin",
        ),
        (
            ('name = "m"', 'revision = "main"'),
            "model `m` floats: revision `main` moves",
            "write the commit or the date that it stands for today",
        ),
        (
            ('name = "m"', "revision = 2026-08-06"),
            "`[model] revision` wants text in double quotes",
            'write `revision = "2026-08-06"`',
        ),
        (
            ('name = "m"', 'digest = "sha256:abc"'),
            "`[model] digest`: `sha256:abc` is not a SHA-256",
            'write `digest = "sha256:<64 hexadecimal digits>"`, as `sha256sum` prints them',
        ),
        (
            ('name = "m"', f'digest = "{"ab" * 32}"'),
            "`[model] digest` does not say which hash it is",
            f'write `digest = "sha256:{"ab" * 32}"`',
        ),
    ],
)
def test_a_pin_that_does_not_hold_is_refused(
    tmp_path: Path, lines: tuple[str, ...], what: str, hint: str
) -> None:
    """A pin that moves, contradicts itself or cannot be checked is none."""
    assert only(tmp_path, model(*lines)) == (what, hint)


def test_a_folder_without_the_file_says_how_to_begin(tmp_path: Path) -> None:
    """Where there is no `lockgate.toml`, the hint is the command that writes one."""
    with pytest.raises(UsageMistake) as caught:
        read_settings(tmp_path)

    assert caught.value.what == f"there is no `lockgate.toml` in {tmp_path}"
    assert caught.value.hint == ("run `lockgate init` in the system's folder to write a first one")


def test_the_systems_name_can_be_read_from_a_file_with_mistakes(tmp_path: Path) -> None:
    """Which system a folder is can be told even when the rest is wrong."""
    assert read_system_name(with_files(tmp_path, SYSTEM + "[nonsense]\n", {})) == "support-desk"
    assert read_system_name(with_files(tmp_path, "system = 3\n", {})) is None
    assert read_system_name(tmp_path / "nowhere") is None


def test_finding_the_folder_imports_nothing_slow() -> None:
    """Commands that only look find their folder without pydantic."""
    code = (
        "import sys; from pathlib import Path; import lockgate.workspace.settings as s\n"
        "from lockgate.wiring import find_folder\n"
        "find_folder(Path.cwd()); s.read_system_name(Path.cwd())\n"
        "print([m for m in ('pydantic', 'rfc8785', 'jsonschema', 'tomli_w') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_written_settings_read_back_as_the_same_definition(tmp_path: Path) -> None:
    """A checked-out folder has the digest of the version it came from."""
    files: dict[str, str | bytes] = {
        "weights/model [v2].gguf": "w",
        "prompts/system.md": "p",
        "prompts/examples.jsonl": "{}",
        "handbook/1.md": "h",
        "tools/route.json": "{}",
        "assistant.py": "",
        "tuning/notes.md": "",
    }
    draft = read_folder(with_files(tmp_path / "a", WHOLE, files))
    text = settings_text("support-desk", "support-ml", draft.definition)

    again = read_folder(with_files(tmp_path / "b", text, files))

    assert again.definition.digest == draft.definition.digest
    assert again.settings.owner == "support-ml"
    assert again.settings.run == draft.settings.run


KEYS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8).filter(
    lambda key: shown(key) == key and key not in ("file", "files", "run")
)
VALUES: Any = st.recursive(
    st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(settings=st.dictionaries(KEYS, VALUES, max_size=4), owner=st.none() | st.just("support-ml"))
def test_any_settings_survive_being_written(settings: dict[str, Any], owner: str | None) -> None:
    """Whatever settings a definition holds, the file written from them means the same."""
    import tomllib
    import unicodedata

    from lockgate.workspace.settings import settings_from

    settings = {unicodedata.normalize("NFC", key): value for key, value in settings.items()}
    run = {"kind": "command", "command": ["cat"]}
    definition = Definition(
        {
            "model": Component({"name": "m", "revision": "3"}),
            "generation": Component(settings),
            "code": Component({"run": run}),
        }
    )
    document = tomllib.loads(settings_text("support-desk", owner, definition))

    read_back = settings_from(Path("lockgate.toml"), document)

    parts = {name: Component(part.settings) for name, part in read_back.components.items()}
    assert Definition(parts).digest == definition.digest
    assert read_back.owner == owner
