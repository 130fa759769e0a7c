"""A system's folder: which component each file belongs to, and what is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from folders import BARE, CODE, MODEL, PROGRAM, SYSTEM, with_files

from lockgate.canonical import digest_bytes
from lockgate.errors import UsageMistake
from lockgate.workspace import claims
from lockgate.workspace.folder import Draft, read_folder
from lockgate.workspace.lock import Lock, write_lock

PROMPT = PROGRAM + '[prompt]\nfiles = ["prompts/**"]\n'


def refused(root: Path) -> UsageMistake:
    with pytest.raises(UsageMistake) as caught:
        read_folder(root)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def only(root: Path) -> tuple[str, str]:
    """Return what is wrong and the hint, for a folder with exactly one mistake."""
    mistake = refused(root)
    assert mistake.problems == ()
    return mistake.what.removeprefix(f"{root}: "), mistake.hint


def paths(draft: Draft) -> list[str]:
    return sorted(draft.sources)


def test_a_folder_becomes_a_definition_with_its_sources(tmp_path: Path) -> None:
    """Every claimed file stands in its component under its digest, and can be opened."""
    settings = BARE + CODE + '[prompt]\nfiles = ["prompts/*.md"]\n[generation]\ntemperature = 0.0\n'
    root = with_files(
        tmp_path, settings, {"assistant.py": "pass", "prompts/system.md": "Be brief."}
    )

    draft = read_folder(root)

    assert draft.root == root
    assert draft.definition.files() == {
        "assistant.py": digest_bytes(b"pass"),
        "prompts/system.md": digest_bytes(b"Be brief."),
    }
    assert draft.definition.components["prompt"].files == {
        "prompts/system.md": digest_bytes(b"Be brief.")
    }
    assert draft.definition.settings()["generation"] == {"temperature": 0.0}
    assert draft.sources["prompts/system.md"].path == f"{root}/prompts/system.md"
    assert draft.sources["prompts/system.md"].size == 9
    assert draft.unclaimed == ()
    assert draft.lock is None
    with draft.open("prompts/system.md") as file:
        assert file.read() == b"Be brief."


def test_bytes_are_hashed_as_they_are(tmp_path: Path) -> None:
    """Content need not be text: line ends, byte order marks and NULs all count."""
    data = b"\xff\xfe\0\r\nna\xefve\n"
    root = with_files(tmp_path, PROMPT, {"prompts/x.bin": data, "prompts/y.bin": data[:-1]})

    files = read_folder(root).definition.files()

    assert files["prompts/x.bin"] == digest_bytes(data)
    assert files["prompts/x.bin"] != files["prompts/y.bin"]


def test_a_prompt_of_ten_megabytes_is_a_file_like_any_other(tmp_path: Path) -> None:
    """Size alone is no reason to refuse."""
    data = b"All work and no play.\n" * 500_000
    root = with_files(tmp_path, PROMPT, {"prompts/long.md": data})

    assert read_folder(root).definition.files() == {"prompts/long.md": digest_bytes(data)}


def test_files_that_nobody_claims_are_listed(tmp_path: Path) -> None:
    """What no component claims and `[ignore]` does not name is shown, so nothing is forgotten."""
    root = with_files(
        tmp_path,
        PROMPT + '[ignore]\nfiles = ["notes/**", "*.log"]\n',
        {"prompts/a.md": "", "helper.py": "", "docs/b.md": "", "notes/x/y.md": "", "run.log": ""},
    )

    draft = read_folder(root)

    assert draft.unclaimed == ("docs/b.md", "helper.py")
    assert draft.is_unclaimed_complete


def test_the_list_of_unclaimed_files_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder full of other files stops the listing, not the reading of what is claimed."""
    monkeypatch.setattr(claims, "MAX_UNCLAIMED", 3)
    files: dict[str, str | bytes] = {f"cache/{name}": "" for name in "abcde"}
    root = with_files(tmp_path, PROMPT, {**files, "other/a": "", "prompts/deep/a.md": ""})

    draft = read_folder(root)

    assert draft.unclaimed == ("cache/a", "cache/b", "cache/c")
    assert not draft.is_unclaimed_complete
    assert paths(draft) == ["prompts/deep/a.md"]


def test_bookkeeping_caches_backups_and_hidden_files_are_never_there(tmp_path: Path) -> None:
    """No glob claims them, and nobody is told that they are unclaimed."""
    hidden = [
        ".env",
        ".git/config",
        ".lockgate/registry.db",
        ".hidden/a.md",
        "lockgate.lock",
        "__pycache__/a.cpython-311.pyc",
        "prompts/.swp",
        "prompts/a.md~",
        "prompts/#a.md#",
        "prompts/.a.md.swp",
        "prompts/a.pyc",
    ]
    files: dict[str, str | bytes] = dict.fromkeys(hidden, "")
    root = with_files(
        tmp_path, PROGRAM + '[prompt]\nfiles = ["**"]\n', {**files, "prompts/a.md": ""}
    )
    (root / "lockgate.lock").unlink()

    draft = read_folder(root)

    assert paths(draft) == ["prompts/a.md"]
    assert draft.unclaimed == ()


def test_the_registrys_own_files_are_not_the_systems(tmp_path: Path) -> None:
    """Where a system lives at the registry's root, policy and suites are not unclaimed files."""
    files: dict[str, str | bytes] = dict.fromkeys(
        ["policy.toml", "where.toml", "suites/triage.toml", "published/a", "prompts/a.md"], ""
    )
    root = with_files(tmp_path, PROMPT, files)
    assert read_folder(root).unclaimed == (
        "policy.toml",
        "published/a",
        "suites/triage.toml",
        "where.toml",
    )

    (root / ".lockgate").mkdir()

    assert read_folder(root).unclaimed == ()


def test_another_systems_folder_is_not_entered(tmp_path: Path) -> None:
    """A folder with a `lockgate.toml` of its own belongs to that system."""
    root = with_files(tmp_path, PROGRAM + '[prompt]\nfiles = ["**/*.md"]\n', {"a/b/x.md": ""})
    with_files(root / "a/other", PROGRAM, {"y.md": ""})

    assert paths(read_folder(root)) == ["a/b/x.md"]


def test_a_pattern_that_matches_nothing_is_refused_by_name(tmp_path: Path) -> None:
    """A slip in a pattern never makes a smaller version in silence."""
    root = with_files(
        tmp_path, PROGRAM + '[prompt]\nfiles = ["prompt/*.md"]\n', {"prompts/a.md": ""}
    )

    assert only(root) == (
        "`[prompt] files`: `prompt/*.md` matches no file",
        "create such a file, or remove the pattern",
    )


@pytest.mark.parametrize(
    ("pattern", "why", "hint"),
    [
        ("prompts/sytem.md", "", "did you mean `prompts/system.md`?"),
        ("nothing.xyz", "", "create it, or remove it"),
        ("prompts", ": it is a folder", 'write "prompts/**"'),
        ("prompts/", ": it is a folder", 'write "prompts/**"'),
        (".env", ": hidden files never belong to a component", "rename it without the leading dot"),
        ("lockgate.toml", ": it describes the version and is not part of it", "remove it"),
        ("notes.md", ": `[ignore]` names it", "take it out of `files` of `[prompt]`"),
    ],
)
def test_the_hint_knows_what_was_probably_meant(
    tmp_path: Path, pattern: str, why: str, hint: str
) -> None:
    """A near miss, a folder, a hidden or an ignored file each get the hint that helps."""
    settings = f'{PROGRAM}[prompt]\nfiles = ["{pattern}"]\n[ignore]\nfiles = ["notes.md"]\n'
    root = with_files(tmp_path, settings, {"prompts/system.md": "", ".env": "", "notes.md": ""})

    assert only(root) == (f"`[prompt] files`: `{pattern}` matches no file{why}", hint)


def test_a_file_that_two_components_claim_is_refused(tmp_path: Path) -> None:
    """Every file belongs to exactly one component; the message names both that want it."""
    settings = PROMPT + '[retrieval]\nfiles = ["**/*.md"]\n'
    root = with_files(tmp_path, settings, {"prompts/a.md": "", "b.md": ""})

    assert only(root) == (
        "`prompts/a.md` is claimed by `[prompt]` and `[retrieval]`",
        "narrow `files` in all but one of them",
    )


def test_two_patterns_of_one_component_may_overlap(tmp_path: Path) -> None:
    """Naming a file twice in the same component is no mistake."""
    settings = PROGRAM + '[prompt]\nfiles = ["prompts/*.md", "prompts/system.md", "**/*.md"]\n'
    root = with_files(tmp_path, settings, {"prompts/system.md": ""})

    assert paths(read_folder(root)) == ["prompts/system.md"]


def test_everything_wrong_with_the_files_is_told_at_once(tmp_path: Path) -> None:
    """Nobody corrects a folder twice."""
    settings = PROMPT + '[retrieval]\nfiles = ["prompts/a.md", "gone/*"]\n'
    root = with_files(tmp_path, settings, {"prompts/a.md": ""})
    (root / "prompts/out.md").symlink_to("/etc/hostname")

    mistake = refused(root)

    assert mistake.what == f"{root} has 3 mistakes"
    assert [problem.partition(";")[0] for problem in mistake.problems] == [
        "`prompts/a.md` is claimed by `[prompt]` and `[retrieval]`",
        "`prompts/out.md` is a symbolic link that leads outside the folder",
        "`[retrieval] files`: `gone/*` matches no file",
    ]


LINK_HINT = "copy what it leads to into the folder, or name the link in `[ignore] files`"


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """No version ever holds bytes from outside its folder."""
    root = with_files(tmp_path / "system", PROMPT, {})
    (tmp_path / "secret").write_text("x")
    (root / "prompts").mkdir()
    (root / "prompts/a.md").symlink_to("../../secret")

    assert only(root) == (
        "`prompts/a.md` is a symbolic link that leads outside the folder",
        LINK_HINT,
    )


def test_a_link_inside_the_folder_is_refused_as_well(tmp_path: Path) -> None:
    """A link would be two names for one file, and no link on another machine."""
    root = with_files(tmp_path, PROMPT, {"prompts/a.md": ""})
    (root / "prompts/b.md").symlink_to("a.md")

    assert only(root) == ("`prompts/b.md` is a symbolic link", LINK_HINT)


def test_a_linked_folder_that_a_pattern_reaches_is_refused(tmp_path: Path) -> None:
    """What lies behind a linked folder is neither followed nor left out in silence."""
    root = with_files(tmp_path / "system", PROMPT, {"prompts/a.md": ""})
    with_files(tmp_path / "shared", "", {"b.md": ""})
    (root / "prompts/shared").symlink_to(tmp_path / "shared")

    assert only(root) == (
        "`prompts/shared` is a symbolic link that leads outside the folder",
        LINK_HINT,
    )


def test_a_linked_root_of_a_pattern_is_refused(tmp_path: Path) -> None:
    """The first folder of a pattern may not be a link either."""
    root = with_files(tmp_path / "system", PROMPT, {})
    with_files(tmp_path / "shared", "", {"b.md": ""})
    (root / "prompts").symlink_to("../shared")

    assert only(root) == (
        "`prompts` is a symbolic link that leads outside the folder",
        LINK_HINT,
    )


def test_links_that_no_pattern_wants_are_only_unclaimed(tmp_path: Path) -> None:
    """A link elsewhere is listed like any other file; an ignored one is not."""
    settings = PROMPT + '[ignore]\nfiles = ["venv/**"]\n'
    root = with_files(tmp_path, settings, {"prompts/a.md": "", "venv/x": ""})
    (root / "latest").symlink_to("prompts")
    (root / "venv/lib64").symlink_to("/usr/lib")

    assert read_folder(root).unclaimed == ("latest",)


def test_a_fifo_or_socket_is_refused_without_waiting(tmp_path: Path) -> None:
    """A FIFO among the prompts does not make the command hang."""
    root = with_files(tmp_path, PROMPT, {"prompts/a.md": ""})
    os.mkfifo(root / "prompts/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root / "prompts")  # the path of a socket has to be short
        server.bind("socket")
        os.chdir(here)

        mistake = refused(root)

    assert mistake.problems == (
        "`prompts/fifo` is a FIFO, not a file; replace it by an ordinary file, or ignore it",
        "`prompts/socket` is a socket, not a file; replace it by an ordinary file, or ignore it",
    )


def test_names_that_are_equal_after_normalising_are_refused(tmp_path: Path) -> None:
    """Two spellings of one name would be one path on another machine."""
    root = with_files(tmp_path, PROMPT, {"prompts/caf\u00e9.md": "1", "prompts/cafe\u0301.md": "2"})

    assert only(root) == (
        "two files are called `prompts/caf\u00e9.md` once their names are normalised",
        "rename or remove one of them",
    )


def test_folders_that_are_equal_after_normalising_are_refused(tmp_path: Path) -> None:
    """The same holds for the folders on the way."""
    settings = PROGRAM + '[prompt]\nfiles = ["caf\u00e9/*"]\n'
    root = with_files(tmp_path, settings, {"caf\u00e9/a.md": "1", "cafe\u0301/a.md": "2"})

    assert only(root)[0] == "two files are called `caf\u00e9/a.md` once their names are normalised"


def test_a_decomposed_name_is_one_in_normal_form(tmp_path: Path) -> None:
    """A file that macOS named is claimed by what people type, and opened as the disk spells it."""
    settings = PROGRAM + '[prompt]\nfiles = ["prompts/caf\u00e9.md"]\n'
    root = with_files(tmp_path, settings, {"prompts/cafe\u0301.md": "x"})

    draft = read_folder(root)

    assert paths(draft) == ["prompts/caf\u00e9.md"]
    assert draft.sources["prompts/caf\u00e9.md"].path == f"{root}/prompts/cafe\u0301.md"
    with draft.open("prompts/caf\u00e9.md") as file:
        assert file.read() == b"x"


def test_upper_and_lower_case_are_different_files(tmp_path: Path) -> None:
    """Case is kept, never folded."""
    root = with_files(tmp_path, PROMPT, {"prompts/A.md": "1", "prompts/a.md": "2"})

    assert paths(read_folder(root)) == ["prompts/A.md", "prompts/a.md"]


def test_a_name_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    """A claimed file needs a name that everybody can write; another one is only listed."""
    root = with_files(tmp_path, PROMPT, {"prompts/a.md": ""})
    Path(os.fsdecode(os.fsencode(root) + b"/na\xefve.md")).write_text("x")
    assert read_folder(root).unclaimed == ("na\\udcefve.md",)

    Path(os.fsdecode(os.fsencode(root) + b"/prompts/na\xefve.md")).write_text("x")

    assert only(root) == (
        "`prompts/na\\udcefve.md` has a name that is not UTF-8",
        "rename the file",
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a\nb.md", "`prompts/a\\x0ab.md` has a control character"),
        ("a\x1b[31m.md", "`prompts/a\\x1b[31m.md` has a control character"),
        ("a\\b.md", "`prompts/a\\b.md` is not a relative POSIX path"),
    ],
)
def test_names_that_could_steer_a_terminal_are_refused(
    tmp_path: Path, name: str, problem: str
) -> None:
    """Control characters and backslashes in a claimed name are refused, spelled out."""
    root = with_files(tmp_path, PROMPT, {f"prompts/{name}": ""})

    assert only(root) == (problem, "rename the file")


def test_names_with_other_special_characters_are_fine(tmp_path: Path) -> None:
    """Spaces, quotes, brackets, stars and emoji are part of a name like any letter."""
    names = ["a b.md", "it's.md", "[x]*?.md", "\U0001f600.md", "-rf.md", "$HOME.md"]
    files: dict[str, str | bytes] = {f"prompts/{name}": name for name in names}

    assert paths(read_folder(with_files(tmp_path, PROMPT, files))) == sorted(files)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try files with somebody else's rights")
def test_a_folder_that_may_not_be_read_is_named_where_a_pattern_wants_it() -> None:
    """What cannot be looked into is refused, unless nobody needs it."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = with_files(Path(name), PROMPT, {"prompts/a.md": "", "other/b": ""})
        root.chmod(0o755)
        (root / "other").chmod(0)
        os.seteuid(65534)
        try:
            assert paths(read_folder(root)) == ["prompts/a.md"]
        finally:
            os.seteuid(0)
        (root / "prompts").chmod(0)
        os.seteuid(65534)
        try:
            said = only(root)
        finally:
            os.seteuid(0)

    assert said == (
        "folder `prompts` cannot be read: permission denied",
        "make it readable: `chmod u+rx prompts`",
    )


def test_what_python_runs_has_to_be_part_of_the_version(tmp_path: Path) -> None:
    """A module that no component claims would not be there when the version runs."""
    root = with_files(tmp_path, BARE, {"assistant.py": ""})

    assert only(root) == (
        "`[run] target`: module `assistant` is in no file of a component",
        'add "assistant.py" to `files` in `[code]`',
    )


def test_a_package_can_be_what_runs(tmp_path: Path) -> None:
    """The target's module may be a package, or lie inside one."""
    settings = BARE.replace("assistant:", "desk.assistant:") + '[code]\nfiles = ["desk/**"]\n'
    root = with_files(tmp_path, settings, {"desk/assistant/__init__.py": ""})

    assert paths(read_folder(root)) == ["desk/assistant/__init__.py"]


COMMAND = SYSTEM + MODEL + '[run]\nkind = "command"\ncommand = ["./answer.sh", "words.txt", "-q"]\n'


def test_the_programs_of_a_command_have_to_be_part_of_the_version(tmp_path: Path) -> None:
    """The program, and every argument that is a file of the folder, has to be claimed."""
    root = with_files(tmp_path, COMMAND, {"answer.sh": "", "words.txt": ""})

    assert refused(root).problems == (
        "`[run] command`: `./answer.sh` is in no file of a component; "
        'add "answer.sh" to `files` in `[code]`',
        "`[run] command`: `words.txt` is in no file of a component; "
        'add "words.txt" to `files` in `[code]`',
    )


def test_the_program_of_a_command_has_to_be_executable(tmp_path: Path) -> None:
    """A program without the executable bit is found out before it is registered."""
    settings = COMMAND + '[code]\nfiles = ["answer.sh", "words.txt"]\n'
    root = with_files(tmp_path, settings, {"answer.sh": "", "words.txt": ""})

    assert only(root) == (
        "`[run] command`: `answer.sh` is not executable",
        "make it executable: `chmod u+x answer.sh`",
    )
    (root / "answer.sh").chmod(0o755)
    assert read_folder(root).definition.is_executable("answer.sh")


def test_a_program_of_the_system_needs_no_file(tmp_path: Path) -> None:
    """A name that PATH finds is a matter of the machine."""
    settings = SYSTEM + MODEL + '[run]\nkind = "command"\ncommand = ["python3", "-c", "0"]\n'

    assert paths(read_folder(with_files(tmp_path, settings, {}))) == []


def test_tools_that_are_no_schema_are_refused(tmp_path: Path) -> None:
    """A broken tool is found out before it is registered, with file and place."""
    settings = PROGRAM + '[tools]\nfiles = ["tools/*.json"]\n'
    root = with_files(
        tmp_path, settings, {"tools/a.json": '{"type": "object"}', "tools/b.json": '{"type": "x"}'}
    )

    what, hint = only(root)

    assert what.startswith("`tools/b.json` at $.type: not JSON Schema")
    assert hint == "correct it, or move a file that is no schema into another component"


def with_digest(root: Path, digest: str, *names: str) -> Path:
    model = SYSTEM + f'[model]\nname = "m"\nfiles = ["w/*"]\ndigest = "sha256:{digest}"\n'
    return with_files(
        root,
        model + '[run]\nkind = "command"\ncommand = ["cat"]\n',
        {f"w/{n}": "weights" for n in names},
    )


def test_a_models_file_has_to_have_the_digest_that_is_stated(tmp_path: Path) -> None:
    """Weights that are not those that the file names are refused with both digests."""
    right = digest_bytes(b"weights")
    assert read_folder(with_digest(tmp_path, right, "a")).definition.files() == {"w/a": right}

    root = with_digest(tmp_path, "ab" * 32, "a")

    assert only(root) == (
        f"`[model] digest` is `sha256:{'ab' * 32}`, but `w/a` is `sha256:{right}`",
        "fetch the file again, or write the digest that it has",
    )


def test_one_digest_cannot_speak_for_several_files(tmp_path: Path) -> None:
    """With several files of weights the stated digest would be ambiguous."""
    assert only(with_digest(tmp_path, digest_bytes(b"weights"), "a", "b")) == (
        "`[model] digest` is of one file, but 2 belong to `[model]`",
        "remove `digest`: every file's own digest is part of the version anyway",
    )


LOCK = Lock("support-desk", "a1" * 32, "v3", "b2" * 32, {})


def test_a_draft_knows_which_version_its_folder_was(tmp_path: Path) -> None:
    """The lock beside the settings comes with the draft."""
    root = with_files(tmp_path, PROGRAM, {})
    write_lock(root, LOCK)

    assert read_folder(root).lock == LOCK


def test_the_lock_of_another_system_is_refused(tmp_path: Path) -> None:
    """A copied folder does not continue the history it was copied from by accident."""
    root = with_files(tmp_path, PROGRAM.replace("support-desk", "other-desk"), {})
    write_lock(root, LOCK)

    mistake = refused(root)

    assert mistake.what == (
        "`lockgate.lock` is of system `support-desk`, `lockgate.toml` of `other-desk`"
    )
    assert mistake.hint == ("to start a history of `other-desk` from here: `rm lockgate.lock`")


def test_a_source_that_became_a_link_is_not_opened(tmp_path: Path) -> None:
    """Between reading and copying nobody can slip another file in."""
    root = with_files(tmp_path, PROMPT, {"prompts/a.md": "", "other.md": ""})
    draft = read_folder(root)
    (root / "prompts/a.md").unlink()
    (root / "prompts/a.md").symlink_to("../other.md")

    with pytest.raises(UsageMistake) as caught:
        draft.open("prompts/a.md")

    assert caught.value.what == "`prompts/a.md` is a symbolic link"
    assert caught.value.hint == "copy the file it leads to into the folder"


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    """A file deleted since then is a mistake of the folder, not a crash."""
    root = with_files(tmp_path, PROMPT, {"prompts/a.md": ""})
    draft = read_folder(root)
    (root / "prompts/a.md").unlink()

    with pytest.raises(UsageMistake, match="`prompts/a.md` disappeared"):
        draft.open("prompts/a.md")


def test_a_tree_without_end_is_refused_where_a_pattern_wants_it(tmp_path: Path) -> None:
    """Folders are read to a depth of 64; what lies deeper is never left out in silence."""
    root = with_files(tmp_path, PROMPT, {"prompts/a.md": "", "other/a": ""})
    for name in ("prompts", "other"):
        (root / name / "/".join("d" * 63)).mkdir(parents=True)
    assert paths(read_folder(root)) == ["prompts/a.md"]

    for name in ("prompts", "other"):
        (root / name / "/".join("d" * 64)).mkdir()

    assert only(root) == (
        f"folder `prompts/{'/'.join('d' * 64)}` cannot be read: too many folders deep",
        "move it, or name it in `[ignore] files`",
    )
