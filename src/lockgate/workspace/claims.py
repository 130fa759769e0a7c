"""Decide which component each file of a folder belongs to.

- A file belongs to at most one component; one that two claim is refused, naming both.
- A pattern that matches nothing is refused by name.
- `[ignore]` wins over every pattern.
- A link, a FIFO, a device or a folder that cannot be read is refused where a pattern wants it.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lockgate.domain.components import MAX_PATH_CHARACTERS, path_problem
from lockgate.shown import shown
from lockgate.workspace.globs import Pattern
from lockgate.workspace.hashing import Group, not_a_file, trouble_of
from lockgate.workspace.listing import Listed, joined, normal, walk
from lockgate.workspace.lock import LOCK_FILE
from lockgate.workspace.settings import SETTINGS_FILE, Settings
from lockgate.workspace.tomlfile import Mistake, nearest

MAX_UNCLAIMED = 10_000


@dataclass
class Claims:
    """Which component claims which file, and what speaks against it."""

    owners: dict[str, str] = field(default_factory=dict)
    """Path to component."""
    groups: list[Group] = field(default_factory=list)
    """The claimed files, folder by folder, as they are to be hashed."""
    unclaimed: list[str] = field(default_factory=list)
    """At most 10,000 other files, safe to print."""
    is_complete: bool = True
    """Whether `unclaimed` names all of them."""
    mistakes: list[Mistake] = field(default_factory=list)


def claim_files(root: int, base: Path, settings: Settings) -> Claims:
    """Return which component claims which file below a folder.

    Args:
        root: The folder's descriptor.
        base: Its path, to say where a link leads.
        settings: Whose patterns claim.
    """
    claiming = _Claiming(base, settings)
    for listed in walk(root, claiming.enters):
        claiming.take(listed)
    claiming.refuse_idle_patterns()
    return claiming.claims


_Claim = tuple[str, str]
"""A component and one of its patterns."""
_Match = Callable[[str], object]
"""What tells whether a file's own name matches."""


class _Claiming:
    """One walk over a folder."""

    def __init__(self, base: Path, settings: Settings) -> None:
        self.claims = Claims()
        self._base = base
        self._patterns = [
            (name, Pattern(text))
            for name, part in settings.components.items()
            for text in part.patterns
        ]
        self._ignored = [Pattern(text) for text in settings.ignore]
        self._matched: set[_Claim] = set()

    def enters(self, folder: str) -> bool:
        """Tell whether a folder is worth reading: for a pattern, or to list what nobody claims."""
        return self.claims.is_complete or self._reach(folder) != []

    def take(self, listed: Listed) -> None:
        """Find an owner for every file that lies directly in a folder."""
        if listed.problem is not None:
            self._refuse_folder(listed.path, listed.problem)
        # A pattern's folders are matched once here, so that each file costs one look at its name.
        held = [
            ((owner, pattern.text), pattern.name.fullmatch)
            for owner, pattern in self._patterns
            if pattern.holds(listed.path)
        ]
        skip = [p.name.fullmatch for p in self._ignored if p.holds(listed.path)]
        if len(held) == 1 and not skip and _are_plain(listed):
            self._take_plain(listed, *held[0])
        else:
            self._take_each(listed, held, skip)
        for name, is_folder in listed.odd:
            self._refuse_odd(joined(listed.path, name), "/".join((*listed.names, name)), is_folder)

    def _take_plain(self, listed: Listed, claim: _Claim, match: _Match) -> None:
        """Give one pattern its files, where no name can be a problem: the folder of thousands."""
        above = f"{listed.path}/" if listed.path else ""
        names = list(filter(match, listed.files))
        if names:
            paths = [above + name for name in names]
            self._matched.add(claim)
            self.claims.owners.update(dict.fromkeys(paths, claim[0]))
            self.claims.groups.append(Group(listed.names, names, paths))
        for name in set(listed.files).difference(names):
            self._leave(above + name)

    def _take_each(
        self, listed: Listed, held: Sequence[tuple[_Claim, _Match]], skip: Sequence[_Match]
    ) -> None:
        above = f"{listed.path}/" if listed.path else ""
        names: list[str] = []
        paths: list[str] = []
        for name in listed.files:
            tail = normal(name)
            if any(match(tail) for match in skip):
                continue
            owners = [claim for claim, match in held if match(tail)]
            if not owners:
                self._leave(above + tail)
            elif self._own(above + tail, owners):
                names.append(name)
                paths.append(above + tail)
        if names:
            self.claims.groups.append(Group(listed.names, names, paths))

    def refuse_idle_patterns(self) -> None:
        """Tell every pattern that matched nothing, and what was probably meant."""
        for owner, pattern in self._patterns:
            if (owner, pattern.text) not in self._matched:
                self.claims.mistakes.append(self._idle(owner, pattern))

    def _reach(self, folder: str) -> list[_Claim]:
        return [(owner, p.text) for owner, p in self._patterns if p.reaches(folder)]

    def _leave(self, path: str) -> None:
        if len(self.claims.unclaimed) < MAX_UNCLAIMED:
            self.claims.unclaimed.append(shown(path))
        else:
            self.claims.is_complete = False

    def _own(self, path: str, owners: list[_Claim]) -> bool:
        """Note the owner of a file; tell what speaks against it."""
        self._matched.update(owners)
        owner = owners[0][0]
        problem = _name_problem(path)
        if problem:
            self._refuse(f"`{shown(path)}` {problem}", "rename the file")
        elif path in self.claims.owners:
            self._refuse(
                f"two files are called `{shown(path)}` once their names are normalised",
                "rename or remove one of them",
            )
        elif len(owners) > 1 and len(names := list(dict.fromkeys(name for name, _ in owners))) > 1:
            self._refuse(
                f"`{shown(path)}` is claimed by {' and '.join(f'`[{name}]`' for name in names)}",
                "narrow `files` in all but one of them",
            )
        else:
            self.claims.owners[path] = owner
            return True
        return False

    def _refuse(self, what: str, hint: str) -> None:
        self.claims.mistakes.append(Mistake(what, hint))

    def _is_ignored(self, path: str) -> bool:
        return any(p.matches(path) or p.matches(f"{path}/x") for p in self._ignored)

    def _refuse_odd(self, path: str, raw: str, is_folder: bool) -> None:
        """Refuse a link or special file if a pattern wants it, or could want what it leads to."""
        wanted = [(owner, p.text) for owner, p in self._patterns if p.matches(path)]
        if is_folder:
            wanted += self._reach(path)
        if self._is_ignored(path):
            return
        if not wanted:
            self._leave(path)
            return
        self._matched.update(wanted)
        whole = self._base / raw
        try:
            mode = whole.lstat().st_mode
        except OSError as error:
            trouble = trouble_of(error)
            self._refuse(f"`{shown(path)}` {trouble.what}", trouble.hint)
            return
        if stat.S_ISLNK(mode):
            inside = whole.resolve().is_relative_to(self._base.resolve())
            leads = "" if inside else " that leads outside the folder"
            self._refuse(
                f"`{shown(path)}` is a symbolic link{leads}",
                "copy what it leads to into the folder, or name the link in `[ignore] files`",
            )
        else:
            trouble = not_a_file(mode)
            self._refuse(f"`{shown(path)}` {trouble.what}", trouble.hint)

    def _refuse_folder(self, folder: str, error: OSError) -> None:
        wanted = self._reach(folder)
        if not wanted or self._is_ignored(folder):
            return
        self._matched.update(wanted)
        path = shown(folder) or "."
        self._refuse(
            f"folder `{path}` cannot be read: {(error.strerror or 'unknown error').lower()}",
            f"make it readable: `chmod u+rx {path}`"
            if error.errno == errno.EACCES
            else "move it, or name it in `[ignore] files`",
        )

    def _idle(self, owner: str, pattern: Pattern) -> Mistake:
        text = shown(pattern.text)
        what = f"`[{owner}] files`: `{text}` matches no file"
        name = "/".join(pattern.segments)
        if any(part.startswith(".") for part in pattern.segments):
            return Mistake(
                f"{what}: hidden files never belong to a component",
                "rename it without the leading dot",
            )
        if name in (SETTINGS_FILE, LOCK_FILE):
            return Mistake(f"{what}: it describes the version and is not part of it", "remove it")
        if not pattern.is_literal:
            return Mistake(what, "create such a file, or remove the pattern")
        path = pattern.path
        if self._is_ignored(path):
            return Mistake(f"{what}: `[ignore]` names it", f"take it out of `files` of `[{owner}]`")
        if (self._base / path).is_dir():
            return Mistake(f"{what}: it is a folder", f'write "{text.rstrip("/")}/**"')
        close = nearest(path, self.claims.unclaimed[:1000])
        return Mistake(what, f"did you mean `{close}`?" if close else "create it, or remove it")


def _are_plain(listed: Listed) -> bool:
    return len(listed.path) < MAX_PATH_CHARACTERS - 256 and _is_plain(
        listed.path + "".join(listed.files)
    )


def _is_plain(path: str) -> bool:
    return path.isascii() and path.isprintable() and "\\" not in path


def _name_problem(path: str) -> str | None:
    if _is_plain(path) and len(path) <= MAX_PATH_CHARACTERS:
        return None
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return path_problem(path)
