"""The published identity vectors: a folder, what it means, and the digest anyone can recompute."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import recompute
from folders import BARE, CODE, with_files

from lockgate.workspace.folder import read_folder

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.json"))


def _vector(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _read(root: Path, vector: dict[str, Any]) -> Any:
    with_files(root, vector["lockgate.toml"], vector["files"])
    for path in vector.get("executable", ()):
        (root / path).chmod(0o755)
    return read_folder(root)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_folder_has_the_published_digest(path: Path, tmp_path: Path) -> None:
    """A folder has the digest that its vector publishes."""
    vector = _vector(path)

    assert _read(tmp_path, vector).definition.digest == vector["digest"]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_published_digest_can_be_recomputed_by_a_stranger(path: Path) -> None:
    """Thirty lines with hashlib and json find the published digest from the components alone."""
    vector = _vector(path)

    assert recompute.definition_digest(vector["components"]) == vector["digest"]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_components_are_what_the_vector_says(path: Path, tmp_path: Path) -> None:
    """Settings and files stand in the component, and under the kind, that the vector names."""
    vector = _vector(path)

    definition = _read(tmp_path, vector).definition

    assert {
        name: (dict(part.settings), sorted(part.files), sorted(part.executables))
        for name, part in definition.components.items()
    } == {
        name: (
            part.get("settings", {}),
            sorted(part.get("files", {})),
            sorted(part.get("executables", {})),
        )
        for name, part in vector["components"].items()
    }


def test_there_are_vectors() -> None:
    """Vectors are published for every case in which two programs could disagree."""
    assert [path.stem for path in VECTORS] == [
        "executable",
        "minimal",
        "numbers",
        "settings-like-files",
        "unicode-keys",
        "unicode-paths",
    ]


def _digest(root: Path, settings: str, files: dict[str, str | bytes] | None = None) -> str:
    whole = with_files(root, settings, {"assistant.py": "", **(files or {})})
    return read_folder(whole).definition.digest


def test_equal_numbers_are_one_definition(tmp_path: Path) -> None:
    """`1.0` and `1` are one JSON number, so they are one definition."""
    one = _digest(tmp_path / "a", BARE + CODE + "[generation]\ntemperature = 1\n")
    same = _digest(tmp_path / "b", BARE + CODE + "[generation]\ntemperature = 1.0\n")
    other = _digest(tmp_path / "c", BARE + CODE + "[generation]\ntemperature = 1.1\n")

    assert one == same != other


def test_how_files_are_named_is_not_part_of_the_identity(tmp_path: Path) -> None:
    """A glob, a list and a single `file` that claim the same file are one definition."""
    files: dict[str, str | bytes] = {"prompts/system.md": "Be brief."}
    forms = ('files = ["prompts/*.md"]', 'files = ["./prompts/**"]', 'file = "prompts/system.md"')
    digests = {
        _digest(tmp_path / str(index), f"{BARE}{CODE}[prompt]\n{form}\n", files)
        for index, form in enumerate(forms)
    }

    assert len(digests) == 1


def test_owner_and_ignored_files_are_not_part_of_the_identity(tmp_path: Path) -> None:
    """Who answers for a system, its name and its other files do not change its definition."""
    one = _digest(tmp_path / "a", BARE + CODE)
    renamed = BARE.replace("support-ml", "other-team").replace("support-desk", "other-desk")
    other = _digest(tmp_path / "b", f'{renamed}{CODE}[ignore]\nfiles = ["n.md"]\n', {"n.md": "x"})

    assert one == other


def test_the_executable_bit_is_part_of_the_identity(tmp_path: Path) -> None:
    """A file that its owner may execute is another definition; group and others do not count."""
    plain = _digest(tmp_path / "a", BARE + CODE)
    (tmp_path / "a/assistant.py").chmod(0o655)
    same = read_folder(tmp_path / "a").definition.digest
    (tmp_path / "a/assistant.py").chmod(0o744)
    executable = read_folder(tmp_path / "a").definition.digest

    assert plain == same != executable


def test_an_empty_component_is_not_a_missing_one(tmp_path: Path) -> None:
    """A section without a key says that the component is there and empty."""
    assert _digest(tmp_path / "a", BARE + CODE) != _digest(
        tmp_path / "b", BARE + CODE + "[tools]\n"
    )


def test_touching_a_file_changes_nothing(tmp_path: Path) -> None:
    """Times of files are not part of the identity."""
    before = _digest(tmp_path, BARE + CODE)
    os.utime(tmp_path / "assistant.py", (1, 1))

    assert read_folder(tmp_path).definition.digest == before
