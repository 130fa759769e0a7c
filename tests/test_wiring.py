"""What is found from where one stands: the nearest folder, and the folder of a system."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.errors import UsageMistake
from lockgate.wiring import find_folder, near_system, system_folder


def written(folder: Path, text: str) -> Path:
    """Write a lockgate.toml and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lockgate.toml").write_text(text, encoding="utf-8")
    return folder


def of(folder: Path, system: str) -> Path:
    """Write the lockgate.toml of a system."""
    return written(folder, f'[system]\nname = "{system}"\n')


def test_the_nearest_folder_upward_is_found(tmp_path: Path) -> None:
    """The search goes upward and stops at the first folder that holds the file."""
    inner = of(tmp_path / "outer/inner", "inner")
    of(tmp_path / "outer", "outer")
    deep = inner / "a/b"
    deep.mkdir(parents=True)

    assert find_folder(deep) == inner
    assert find_folder(inner) == inner
    assert find_folder(inner.parent) == tmp_path / "outer"
    assert find_folder(tmp_path) is None


def test_a_system_is_found_below_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever one stands, a name is enough; in its own folder, or with one folder, none is."""
    desk = of(tmp_path / "systems/desk", "desk")
    monkeypatch.chdir(tmp_path)
    assert system_folder(tmp_path, None, None) == desk
    other = of(tmp_path / "systems/filter", "filter")
    assert system_folder(tmp_path, "desk", None) == desk
    assert system_folder(tmp_path, None, "systems/filter") == other
    monkeypatch.chdir(other)
    assert system_folder(tmp_path, None, None) == other
    assert system_folder(tmp_path, "desk", None) == desk


def test_a_broken_file_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that is not found because its file is no TOML: the line is told, not that."""
    broken = written(tmp_path / "systems/desk", "[system]\nname =\n")
    monkeypatch.chdir(tmp_path)
    for system, given in (("desk", None), ("desk", str(broken)), (None, None)):
        with pytest.raises(UsageMistake) as caught:
            system_folder(tmp_path, system, given)
        assert caught.value.what.startswith(f"{broken / 'lockgate.toml'} line 2 column 7")
    written(tmp_path / "systems/other", "[system\n")
    with pytest.raises(UsageMistake) as caught:
        system_folder(tmp_path, "desk", None)
    assert caught.value.what == "no folder of system `desk` was found, and 2 cannot be read"
    assert len(caught.value.problems) == 2


def test_a_broken_file_of_another_system_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system whose own file is right is found, also from within the broken folder."""
    desk = of(tmp_path / "systems/desk", "desk")
    broken = written(tmp_path / "systems/filter", "= nonsense\n")
    monkeypatch.chdir(broken)
    assert system_folder(tmp_path, "desk", None) == desk
    assert near_system() is None
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageMistake, match="several systems: desk") as caught:
        system_folder(tmp_path, None, None)
    assert "filter/lockgate.toml line 1" in caught.value.problems[0]


def test_two_folders_of_one_system_are_both_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody guesses which of two folders is meant; the one a person stands in is."""
    first, second = of(tmp_path / "copy", "desk"), of(tmp_path / "systems/desk", "desk")
    monkeypatch.chdir(tmp_path)
    for system in ("desk", None):
        with pytest.raises(UsageMistake) as caught:
            system_folder(tmp_path, system, None)
        assert caught.value.what == "system `desk` is written in 2 folders"
        assert caught.value.problems == (str(first), str(second))
        assert caught.value.hint == "say which with -C DIR, or go into it"
    monkeypatch.chdir(second)
    assert system_folder(tmp_path, "desk", None) == second


def test_one_folder_under_two_names_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to a system's folder is no second folder."""
    desk = of(tmp_path / "systems/desk", "desk")
    (tmp_path / "desk").symlink_to(desk)
    monkeypatch.chdir(tmp_path)
    assert system_folder(tmp_path, "desk", None).resolve() == desk
