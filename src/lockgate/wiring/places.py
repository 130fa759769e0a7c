"""Where things are: the registry's folder, and the folders that systems are written in."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import RegistryTrouble, UsageMistake

if TYPE_CHECKING:
    pass
from lockgate.wiring.people import REGISTRY_VARIABLE

FOLDER, FILE = ".lockgate", "registry.db"


def find_root(given: str | None, start: Path | None = None) -> Path:
    """Return the folder that holds the registry: as given, by the environment, or found upward.

    Raises:
        RegistryTrouble: There is none; the hint says how to make or name one.
    """
    named = given or os.environ.get(REGISTRY_VARIABLE)
    if named:
        root = _named_root(Path(named).expanduser().absolute())
        if (root / FOLDER / FILE).is_file():
            return root
        raise RegistryTrouble(
            f"there is no registry at `{named}`",
            hint=f"make one: `lockgate init {shlex.quote(named)}`",
        )
    here = (start or Path.cwd()).absolute()
    for root in (here, *here.parents):
        if (root / FOLDER / FILE).is_file():
            return root
    raise RegistryTrouble(
        f"there is no registry in `{here}` or above it",
        hint="make one with `lockgate init`, name one with --registry, or try `lockgate demo`",
    )


def find_place(given: str | None, start: Path | None = None) -> Path:
    """Return the folder a registry belongs in, also when the registry itself is gone or garbage.

    Raises:
        RegistryTrouble: There is no `.lockgate` folder.
    """
    named = given or os.environ.get(REGISTRY_VARIABLE)
    if named:
        root = _named_root(Path(named).expanduser().absolute())
        places = [root]
    else:
        here = (start or Path.cwd()).absolute()
        places = [here, *here.parents]
    for root in places:
        if (root / FOLDER).is_dir():
            return root
    where = f"in `{places[0]}`" if named else f"in `{places[0]}` or above it"
    raise RegistryTrouble(
        f"there is no `{FOLDER}` folder {where}, and the host's key is kept there",
        hint=f"bring `{FOLDER}/host_key` and `{FOLDER}/host_key.pub` back from a backup, "
        "or name the registry's folder: --registry DIR",
    )


def _named_root(path: Path) -> Path:
    """Return the folder that is meant by a path to it, to its `.lockgate`, or to the file there.

    Nothing else is taken for it: a mistyped folder below a registry must not mean that registry.
    """
    if path.name == FILE and path.parent.name == FOLDER:
        return path.parent.parent
    return path.parent if path.name == FOLDER else path


def find_folder(start: Path) -> Path | None:
    """Return the nearest folder upward that holds lockgate.toml."""
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / "lockgate.toml").is_file():
            return folder
    return None


def near_system() -> str | None:
    """Return the system of the nearest folder; `None` when there is none, or its file is broken."""
    near = find_folder(Path.cwd())
    if near is None:
        return None
    from lockgate.workspace.settings import read_system_name

    with contextlib.suppress(UsageMistake):  # who only looks is not stopped by what they edit
        return read_system_name(near)
    return None


def system_folder(root: Path, system: str | None, given: str | None) -> Path:
    """Return the folder a system is written in.

    Args:
        root: The registry's folder.
        system: Its name; `None` takes the nearest folder, else the only one below the registry's.
        given: A folder that was named; must hold lockgate.toml.

    Raises:
        UsageMistake: There is none, several could be meant, or the file of one that could be meant
            is not TOML.
    """
    if given is not None:
        return _given_folder(given, system)
    near = find_folder(Path.cwd())
    if near is not None and system is None:
        return near
    folders, mistakes = folders_by_system(root, near)
    found = folders.get(system or "", [])
    if near in found:
        return near
    if len(found) == 1:
        return found[0]
    if found:
        raise _several_folders(str(system), found)
    if system is not None:
        raise _no_folder(root, system, folders, mistakes)
    return _only_folder(root, folders, mistakes)


def folders_by_system(
    root: Path, near: Path | None = None
) -> tuple[dict[str, list[Path]], list[UsageMistake]]:
    """Return the folders that each system is written in, and what hides the names of others.

    Args:
        root: The registry's folder.
        near: A folder that counts wherever it is.
    """
    from lockgate.workspace.settings import read_system_name

    folders: dict[str, list[Path]] = {}
    mistakes: list[UsageMistake] = []
    places = {folder.resolve(): folder for folder in system_folders(root)}
    if near is not None:
        places[near.resolve()] = near
    for folder in places.values():
        try:
            name = read_system_name(folder)
        except UsageMistake as mistake:
            mistakes.append(mistake)
            continue
        # A file that names none is told what is wrong with it when the folder is read.
        folders.setdefault(name or "", []).append(folder)
    return folders, mistakes


def _several_folders(system: str, folders: Sequence[Path]) -> UsageMistake:
    return UsageMistake(
        f"system `{system}` is written in {len(folders)} folders",
        problems=[str(folder) for folder in folders],
        hint="say which with -C DIR, or go into it",
    )


def _no_folder(
    root: Path, system: str, folders: Mapping[str, list[Path]], mistakes: Sequence[UsageMistake]
) -> UsageMistake:
    if len(mistakes) == 1:
        return mistakes[0]
    if mistakes:
        return UsageMistake(
            f"no folder of system `{system}` was found, and {len(mistakes)} cannot be read",
            problems=[mistake.what for mistake in mistakes],
            hint="correct them, or name the folder: -C DIR",
        )
    names = ", ".join(sorted(filter(None, folders)))
    return UsageMistake(
        f"no folder of system `{system}` was found below `{root}`",
        hint=f"there are {names}; or name a folder: -C DIR" if names else "name it: -C DIR",
    )


def _only_folder(
    root: Path, folders: Mapping[str, list[Path]], mistakes: Sequence[UsageMistake]
) -> Path:
    every = [folder for found in folders.values() for folder in found]
    if not mistakes and len(every) == 1:
        return every[0]
    if not mistakes and len(folders) == 1 and every:
        raise _several_folders(next(iter(folders)), every)
    if len(mistakes) == 1 and not every:
        raise mistakes[0]
    if not mistakes and not every:
        raise UsageMistake(
            f"there is no lockgate.toml here, above, or in a folder of `{root / 'systems'}`",
            hint="`lockgate init` writes a first one, `lockgate checkout VERSION DIR` one that is "
            "registered",
        )
    several = several_systems(", ".join(sorted(filter(None, folders))) or "none can be read")
    unread = [mistake.what for mistake in mistakes]
    raise UsageMistake(several.what, problems=unread, hint=several.hint)


def _given_folder(given: str, system: str | None) -> Path:
    from lockgate.workspace.settings import read_system_name

    folder = Path(given).absolute()
    if not (folder / "lockgate.toml").exists():
        raise UsageMistake(
            f"there is no lockgate.toml in `{given}`", hint="name a system's folder: -C DIR"
        )
    named = read_system_name(folder)
    if system is not None and named is not None and named != system:
        raise UsageMistake(
            f"`{given}` holds system `{named}`, not `{system}`", hint="leave out -s or -C"
        )
    return folder


def system_folders(root: Path) -> list[Path]:
    """Return the folders of a registry that hold lockgate.toml, in the usual places."""
    found = [*root.glob("*/lockgate.toml"), *(root / "systems").glob("*/lockgate.toml")]
    return [path.parent for path in sorted(found)] + (
        [root] if (root / "lockgate.toml").exists() else []
    )


def several_systems(names: str) -> UsageMistake:
    """Return the refusal to guess which of several systems is meant."""
    return UsageMistake(
        f"this registry holds several systems: {names}",
        hint="say which with -s SYSTEM, or go into its folder",
    )
