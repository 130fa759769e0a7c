"""The registry: one SQLite file, opened safely, written in one kind of transaction.

- A write is one `BEGIN IMMEDIATE` transaction; waiting is jittered, so nobody starves.
- Whoever cannot get in is told who is inside.
- A registry of a newer release opens for looking only; one that lost a trigger is not written to.
- A reader without write rights can look at an idle registry.
- A full disk, a lock and damage are told apart, each with what helps.
"""

from __future__ import annotations

import contextlib
import random
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lockgate.errors import Busy, LockgateError, Refused, RegistryTrouble, Rejected, StaleGeneration
from lockgate.ports import Clock
from lockgate.storage import schema
from lockgate.storage.applied import Applied
from lockgate.storage.ledger import Ledger
from lockgate.storage.objects import Objects
from lockgate.storage.releases import Releases
from lockgate.storage.runs import Runs
from lockgate.storage.versions import Versions
from lockgate.storage.writer import Writer

FOLDER = ".lockgate"
FILE = "registry.db"
PATIENCE_S = 10.0
"""How long a write waits for another one before it gives up and names the holder."""

SCHEMA_DIGEST = "09cbb28f32d27bd4314996c33650cbe2d8f185d1882c2dd247c2c220c8357d86"
"""What `schema.schema_digest` says of a registry whose tables and triggers are all there."""

_SAYS = re.compile(r"lockgate: (.*)")
_STALE = ("attempt system and environment and generation exists", "an attempt takes the generation")


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


class Registry:
    """An open registry; it belongs to the thread that opened it.

    Attributes:
        root: The folder that holds `.lockgate/`, policy.toml, systems and suites.
        versions, runs, releases, applied, objects, ledger: The named queries, by subject.
        is_writable: False when only looking is possible; `why_not` then says why.
    """

    def __init__(
        self, root: Path, connection: sqlite3.Connection, clock: Clock, why_not: str | None
    ) -> None:
        """Use `open_registry` or `create_registry` instead."""
        self.root = root
        self.why_not = why_not
        self.clock = clock
        self._connection = connection
        self.objects = Objects(connection, root / FOLDER / "objects")
        self.versions = Versions(connection)
        self.runs = Runs(connection, self.objects)
        self.releases = Releases(connection, self.objects)
        self.applied = Applied(connection, self.objects)
        self.ledger = Ledger(connection)

    @property
    def is_writable(self) -> bool:
        """Whether records can be added."""
        return self.why_not is None

    @property
    def id(self) -> str:
        """The registry's own id, which receipts and approvals name."""
        row = self._connection.execute(
            "SELECT id FROM registry ORDER BY epoch DESC LIMIT 1"
        ).fetchone()
        return str(row[0])

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
                hint="looking still works; upgrade lockgate or get write rights to go on",
            )
        with _translated(self.root):
            # In WAL mode NORMAL never corrupts, but may lose the newest commits in a power cut.
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._begin()
            try:
                yield Writer(self._connection, self.objects, self.ledger, self.clock)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        pause = 0.0005
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    raise
                if time.monotonic() > deadline:
                    raise Busy(
                        f"the registry is being written by {lock_holder(self.root)}",
                        hint="wait and run it again; what you asked for was not begun",
                    ) from error
            time.sleep(random.uniform(0, pause))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 1.5, 0.01)

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Hold one consistent view for several queries."""
        with _translated(self.root):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def changed(self) -> int:
        """Return a number that differs when another connection has written since."""
        (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._connection.close()


def create_registry(root: Path, *, actor: str, clock: Clock | None = None) -> Registry:
    """Make a new registry in a folder.

    Raises:
        Refused: There is one already.
        RegistryTrouble: The folder cannot be written.
    """
    folder = root / FOLDER
    if (folder / FILE).exists():
        raise Refused(f"there is a registry in `{root}` already", hint="`lockgate status`")
    clock = clock or SystemClock()
    with _translated(root):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryTrouble(
                f"cannot make `{folder}`: {error.strerror}", hint="check the folder's rights"
            ) from error
        connection = _connect(folder / FILE)
        (folder / FILE).chmod(0o600)
        connection.execute("BEGIN IMMEDIATE")
        _migrate(connection)
        connection.execute("COMMIT")
        registry = Registry(root, connection, clock, None)
        with registry.write() as writing:
            writing.append_registry(secrets.token_hex(16), 1, actor)
    return registry


def _migrate(connection: sqlite3.Connection) -> None:
    from sqlite_utils import Database

    schema.migrate(Database(connection, recursive_triggers=False))


def open_registry(root: Path, *, clock: Clock | None = None, read_only: bool = False) -> Registry:
    """Open the registry of a folder, bringing an older schema up to date first.

    Raises:
        RegistryTrouble: There is none, it is damaged, or it is no registry.
    """
    path = root / FOLDER / FILE
    if not path.is_file():
        raise RegistryTrouble(f"there is no registry in `{root}`", hint="make one: `lockgate init`")
    why_not = "it was opened for looking only" if read_only else None
    with _translated(root):
        connection, cannot = _connect_as_allowed(path, read_only)
        why_not = why_not or cannot
        number, mark = (
            connection.execute("PRAGMA user_version").fetchone()[0],
            connection.execute("PRAGMA application_id").fetchone()[0],
        )
        if mark != schema.APPLICATION_ID:
            raise RegistryTrouble(
                f"`{path}` is not a Lockgate registry",
                hint="name another folder with --registry, or restore a backup",
            )
        if number > schema.SCHEMA_NUMBER:
            why_not = f"a newer release of lockgate wrote it (schema {number})"
        elif number < schema.SCHEMA_NUMBER and why_not is None:
            connection.execute("BEGIN IMMEDIATE")
            _migrate(connection)
            connection.execute("COMMIT")
        elif number == schema.SCHEMA_NUMBER and schema.schema_digest(connection) != SCHEMA_DIGEST:
            why_not = why_not or "tables or triggers are missing or changed; its rules are not safe"
    return Registry(root, connection, clock or SystemClock(), why_not)


def _connect_as_allowed(path: Path, read_only: bool) -> tuple[sqlite3.Connection, str | None]:
    if not read_only:
        try:
            connection = _connect(path)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return connection, None
        except sqlite3.OperationalError as error:
            text = str(error)
            if "locked" in text or "busy" in text:
                return connection, None
            if "readonly" not in text and "unable to open" not in text:
                raise
    for options in ("mode=ro", "mode=ro&immutable=1"):
        if "immutable" in options and _has_wal(path):
            break
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None
        )
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            connection.close()
            continue
        return connection, "you may not write to it"
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


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0, cached_statements=256)
    for pragma in (
        "busy_timeout = 0",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "recursive_triggers = ON",
        "trusted_schema = OFF",
    ):
        _patiently(connection, f"PRAGMA {pragma}")
    return connection


def _patiently(connection: sqlite3.Connection, sql: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute(sql)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, 0.005))  # noqa: S311 - jitter, not a secret


def lock_holder(root: Path) -> str:
    """Name the process that is writing to a registry, as far as this host can tell."""
    try:
        inode = (root / FOLDER / f"{FILE}-shm").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            parts = line.split()
            # 120 is WAL_WRITE_LOCK in SQLite's wal-index format.
            if len(parts) == 8 and parts[5].endswith(f":{inode}") and parts[6:] == ["120", "120"]:
                command = Path(f"/proc/{parts[4]}/cmdline").read_bytes().replace(b"\0", b" ")
                return f"process {parts[4]} ({command.decode(errors='replace').strip()[:80]})"
    except (OSError, ValueError):
        pass
    return "another process"


@contextlib.contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except LockgateError:
        raise
    except sqlite3.IntegrityError as error:
        raise _rejection(str(error)) from error
    except sqlite3.OperationalError as error:
        raise _trouble(root, error) from error
    except sqlite3.DatabaseError as error:
        raise RegistryTrouble(
            f"the registry in `{root}` is damaged: {error}",
            hint="restore a backup of `.lockgate/`; do not write to this one",
        ) from error


def _rejection(text: str) -> Rejected | StaleGeneration:
    match = _SAYS.search(text)
    says = match.group(1) if match else text
    if says.startswith(_STALE):
        return StaleGeneration(
            "somebody else took this generation first; nothing was changed",
            hint="`lockgate status` shows what is live now",
        )
    return Rejected(f"the registry refused it: {says}", hint="`lockgate status` shows what is next")


def _trouble(root: Path, error: sqlite3.OperationalError) -> RegistryTrouble:
    text = str(error)
    if "locked" in text or "busy" in text:
        return Busy(
            f"the registry is in use by {lock_holder(root)}", hint="wait a moment and run it again"
        )
    if "full" in text or "disk I/O" in text:
        return RegistryTrouble(
            f"the disk below `{root}` is full or failing ({text})",
            hint="make room, then run it again: nothing half-written remains",
        )
    if "readonly" in text or "unable to open" in text:
        return RegistryTrouble(
            f"the registry in `{root}` cannot be written ({text})",
            hint=f"check rights with `ls -ld {root / FOLDER}`",
        )
    return RegistryTrouble(f"the registry in `{root}` failed: {text}", hint="`lockgate status`")
