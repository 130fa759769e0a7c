"""The registry: one SQLite file, opened safely, written in one kind of transaction.

- A write is one `BEGIN IMMEDIATE` transaction; waiting is jittered and ages, so nobody starves.
- Whoever cannot get in is told who is inside.
- A registry is there whole or not at all; an interrupted beginning leaves none.
- A registry of a newer release opens for looking only; one that lost a trigger is not written to.
- A file that is no registry is not touched.
- A reader without write rights can look at an idle registry.
- A network filesystem is refused.
- A full disk, a lock and damage are told apart, each with what helps.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import Busy, Refused, RegistryTrouble
from lockgate.storage import schema
from lockgate.storage.applied import Applied
from lockgate.storage.faults import code_of, is_lock, is_missing_right, lock_holder, told_as_ours
from lockgate.storage.ledger import Ledger
from lockgate.storage.mounts import network_filesystem
from lockgate.storage.objects import Objects
from lockgate.storage.releases import Releases
from lockgate.storage.runs import Runs
from lockgate.storage.versions import Versions

if TYPE_CHECKING:
    from lockgate.ports import Clock
    from lockgate.storage.upkeep import Upkeep
    from lockgate.storage.writer import Writer

FOLDER = ".lockgate"
FILE = "registry.db"
_SCRATCH = "tmp"
PATIENCE_S = 10.0
"""How long a write waits for another one before it gives up and names the holder."""
CACHE_KIB = 16 * 1024
"""How much of the file a connection keeps in memory at most."""

SCHEMA_DIGEST = "1e0902fa08c0e7c37b9376b2e160e7e8e80a46ad5d5b286a987e2025b3ec9769"
"""What `schema.schema_digest` says of a registry whose tables and triggers are all there."""

_LOOKING = "it was opened for looking only"
_NO_RIGHT = "you may not write to it"
_TAMPERED = "tables or triggers are missing or changed; its rules are not safe"
_WAYS_OUT = {
    _LOOKING: "leave --read-only away",
    _NO_RIGHT: "looking still works; ask its owner for write rights to go on",
    _TAMPERED: "looking still works; restore a backup of `.lockgate/` to go on",
}
_NEWER_WAY_OUT = "looking still works; upgrade lockgate to go on"


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


class Registry:
    """An open registry; it belongs to the thread that opened it.

    Attributes:
        root: The folder that holds `.lockgate/`, policy.toml, systems and suites.
        versions, runs, releases, applied, upkeep, objects, ledger: The named queries, by subject.
        is_writable: False when only looking is possible; `why_not` then says why.
    """

    def __init__(
        self, root: Path, connection: sqlite3.Connection, clock: Clock, why_not: str | None
    ) -> None:
        """Use `open_registry` or `create_registry` instead."""
        self.root = root
        self.why_not = why_not
        self.clock = clock
        self._path = root / FOLDER / FILE
        self._connection = connection
        self._is_durable = True
        self.objects = Objects(connection, root / FOLDER / "objects")
        self.versions = Versions(connection)
        self.runs = Runs(connection, self.objects)
        self.releases = Releases(connection, self.objects)
        self.applied = Applied(connection, self.objects)
        self.ledger = Ledger(connection)
        self._upkeep: Upkeep | None = None

    @property
    def is_writable(self) -> bool:
        """Whether records can be added."""
        return self.why_not is None

    @property
    def upkeep(self) -> Upkeep:
        """Notes, break-glass, rehearsals, reviews, rechecks and removals."""
        if self._upkeep is None:
            from lockgate.storage.upkeep import Upkeep  # most commands never ask

            self._upkeep = Upkeep(self._connection, self.objects)
        return self._upkeep

    @property
    def epoch(self) -> int:
        """Counts the lives of this registry: `restore` begins a new one."""
        row = self._connection.execute("SELECT max(epoch) FROM registry").fetchone()
        return int(row[0])

    @property
    def id(self) -> str:
        """The registry's own id, which receipts and approvals name."""
        with told_as_ours(self._path):
            row = self._connection.execute(
                "SELECT id FROM registry ORDER BY epoch DESC LIMIT 1"
            ).fetchone()
        return str(row[0])

    def now(self) -> datetime:
        """Return the time that rules are judged at: never before what is recorded already."""
        newest = self.ledger.newest_time()
        now = self.clock.now()
        return max(now, newest) if newest is not None else now

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Writer]:
        """Open one write transaction; it is committed at the end of the block.

        Args:
            durable: False for batches of answers, which may be lost in a power cut together with
                everything after them; a record never is.

        Raises:
            Busy: Somebody else kept writing for longer than `PATIENCE_S`.
            Rejected: A rule of the registry refused a record; nothing was written.
            StaleGeneration: Somebody else took the generation first; nothing was written.
            RegistryTrouble: The disk or the file cannot be written.
        """
        if self.why_not is not None:
            raise RegistryTrouble(
                f"the registry cannot be written: {self.why_not}",
                hint=_WAYS_OUT.get(self.why_not, _NEWER_WAY_OUT),
            )
        from lockgate.storage.writer import Writer  # who only looks need not load it

        with told_as_ours(self._path):
            self._sync(durable)
            _begin(self._connection, self._path)
            try:
                yield Writer(self._connection, self.objects, self.ledger, self.clock)
                self._connection.execute("COMMIT")
            except BaseException:
                _undo(self._connection)
                raise

    def _sync(self, durable: bool) -> None:
        # In WAL mode NORMAL never corrupts, but may lose the newest commits in a power cut.
        if durable != self._is_durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Hold one consistent view for several queries."""
        with told_as_ours(self._path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                _undo(self._connection)

    def changed(self) -> int:
        """Return a number that differs when another connection has written since."""
        with told_as_ours(self._path):
            (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder of this process's own; it goes at the end of the block.

        When the process is killed it goes with the next one that is given.

        Raises:
            RegistryTrouble: It cannot be made.
        """
        from lockgate.storage.scratch import Scratch

        folder = self._path.parent / _SCRATCH
        try:
            made = Scratch(folder)
        except OSError as error:
            raise RegistryTrouble(
                f"cannot make a folder in `{folder}`: {error.strerror or error}",
                hint=f"check free space and rights with `df -h` and `ls -ld {folder.parent}`",
            ) from error
        try:
            yield made.path
        finally:
            made.drop()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.objects.close()
        self._connection.close()


def create_registry(root: Path, *, actor: str, clock: Clock | None = None) -> Registry:
    """Make a new registry in a folder.

    Raises:
        Refused: There is one already.
        RegistryTrouble: The folder cannot be written, or lies on a network filesystem.
    """
    _check_place(root)
    folder = root / FOLDER
    path = folder / FILE
    taken = Refused(f"there is a registry in `{root}` already", hint="`lockgate status`")
    if path.exists():
        raise taken
    clock = clock or SystemClock()
    new = folder / f".new-{secrets.token_hex(6)}"
    with told_as_ours(path):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _build(root, new, actor, clock)
            _put_in_place(new, path)
        except FileExistsError as error:
            raise taken from error
        except OSError as error:
            raise RegistryTrouble(
                f"cannot make `{folder}`: {error.strerror}",
                hint=f"check the folder's rights with `ls -ld {root}`",
            ) from error
        finally:
            new.unlink(missing_ok=True)
        return Registry(root, _connect(path), clock, None)


def _build(root: Path, new: Path, actor: str, clock: Clock) -> None:
    """Write a whole registry under a name where nobody looks."""
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        new.chmod(0o600)
        connection.execute("PRAGMA foreign_keys = ON")
        _migrate(connection, new)
        with Registry(root, connection, clock, None).write() as writing:
            writing.append_registry(secrets.token_hex(16), 1, actor)
    finally:
        connection.close()


def _put_in_place(new: Path, path: Path) -> None:
    """Give a finished registry its name, unless somebody else was first."""
    try:
        path.hardlink_to(new)
    except FileExistsError:
        raise
    except OSError:  # a filesystem without links
        new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    from sqlite_utils import Database

    _begin(connection, path)
    try:
        schema.migrate(Database(connection, recursive_triggers=False))
        connection.execute("COMMIT")
    except BaseException:
        _undo(connection)
        raise


def open_registry(root: Path, *, clock: Clock | None = None, read_only: bool = False) -> Registry:
    """Open the registry of a folder, bringing an older schema up to date first.

    Raises:
        RegistryTrouble: There is none, it is damaged, it is no registry, or it lies on a network
            filesystem.
    """
    path = root / FOLDER / FILE
    if not path.is_file():
        raise RegistryTrouble(f"there is no registry in `{root}`", hint="make one: `lockgate init`")
    _check_place(root)
    with told_as_ours(path):
        connection, cannot = _connect_as_allowed(path, read_only)
        try:
            why_not = _why_not(connection, path, _LOOKING if read_only else cannot)
        except BaseException:
            connection.close()
            raise
    return Registry(root, connection, clock or SystemClock(), why_not)


def _check_place(root: Path) -> None:
    kind = network_filesystem(root)
    if kind is not None:
        raise RegistryTrouble(
            f"`{root}` lies on a network filesystem ({kind}), where locks cannot be trusted",
            hint="keep the registry on a disk of one host, and work with it there over ssh",
        )


def _why_not(connection: sqlite3.Connection, path: Path, cannot: str | None) -> str | None:
    """Say why a registry cannot be written to; an older one is brought up to date if it can."""
    number = _schema_number(connection)
    if number < schema.SCHEMA_NUMBER and cannot is None:
        _migrate(connection, path)
        number = _schema_number(connection)
    if number < schema.SCHEMA_NUMBER:
        schema.stand_in(connection, number)
    if number > schema.SCHEMA_NUMBER:
        return f"a newer release of lockgate wrote it (schema {number})"
    if number == schema.SCHEMA_NUMBER and schema.schema_digest(connection) != SCHEMA_DIGEST:
        return _TAMPERED
    return cannot


def _schema_number(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _connect_as_allowed(path: Path, read_only: bool) -> tuple[sqlite3.Connection, str | None]:
    if not read_only:
        try:
            return _connect(path), None
        except sqlite3.OperationalError as error:
            if not is_missing_right(error):
                raise
    for options in ("mode=ro", "mode=ro&immutable=1"):
        # Without write rights SQLite cannot make the index of a write-ahead log. A log with
        # something in it has to be read; an empty one can be left out.
        if "immutable" in options and _has_wal(path):
            break
        connection = _open(path, options)
        try:
            _check_mark(connection, path)
            connection.execute("SELECT count(*) FROM sqlite_master")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except sqlite3.OperationalError as error:
            connection.close()
            if is_missing_right(error):
                continue
            raise
        except BaseException:
            connection.close()
            raise
        return connection, _NO_RIGHT
    raise RegistryTrouble(
        f"`{path}` cannot be read without write rights while it is in use",
        hint="ask its owner to add you to the registry's group",
    )


def _has_wal(path: Path) -> bool:
    wal = path.with_name(path.name + "-wal")
    try:
        return wal.stat().st_size > 0
    except OSError:
        return False


def _open(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        isolation_level=None,
        timeout=0,
        cached_statements=256,
    )


def _connect(path: Path) -> sqlite3.Connection:
    """Open for writing, and see that writing is allowed."""
    connection = _open(path, "mode=rw")
    try:
        _check_mark(connection, path)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "recursive_triggers = ON",
            "trusted_schema = OFF",
            f"cache_size = -{CACHE_KIB}",
        ):
            _patiently(connection, f"PRAGMA {pragma}")
        with contextlib.suppress(Busy):  # whoever is writing has the right to
            _begin(connection, path, patience_s=0)
            connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_mark(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is not ours before anything is written to it."""
    try:
        (mark,) = _patiently(connection, "PRAGMA application_id").fetchone()
    except sqlite3.DatabaseError as error:
        if code_of(error) != sqlite3.SQLITE_NOTADB:
            raise
        mark = None
    if mark != schema.APPLICATION_ID:
        raise RegistryTrouble(
            f"`{path}` is not a Lockgate registry",
            hint="name another folder with --registry, or restore a backup of `.lockgate/`",
        )


def _begin(connection: sqlite3.Connection, path: Path, *, patience_s: float = PATIENCE_S) -> None:
    """Begin to write; waiting is jittered, as SQLite's own way of waiting lets writers starve."""
    began = time.monotonic()
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if not is_lock(error):
                raise
            waited = time.monotonic() - began
            if waited >= patience_s:
                raise Busy(
                    f"the registry is being written by {lock_holder(path)}",
                    hint="wait and run it again; what you asked for was not begun",
                ) from error
        # Whoever has waited longer asks more often, and so is next more often.
        longest = max(0.01 / (1 + waited / 0.02), 0.0005)
        time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, not a secret


def _undo(connection: sqlite3.Connection) -> None:
    """End a transaction that wrote nothing or has to leave nothing."""
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _patiently(connection: sqlite3.Connection, sql: str) -> sqlite3.Cursor:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return connection.execute(sql)
        except sqlite3.OperationalError as error:
            if not is_lock(error) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, 0.005))  # noqa: S311 - jitter, not a secret
