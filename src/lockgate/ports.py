"""What the steps need from the outside, as protocols; adapters implement them without importing.

- The registry is the only thing that may refuse a record; a step that was refused changed nothing.
- A runner answers questions; a question that could not be asked is an error, never a score.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

if TYPE_CHECKING:
    from lockgate.domain.components import Definition
    from lockgate.domain.evidence import (
        Answer,
        Answered,
        CaseScores,
        MetricSummary,
        Run,
        RunEnd,
        RunRecord,
    )
    from lockgate.domain.offline import OfflineNote
    from lockgate.domain.receipt import Receipt
    from lockgate.domain.release import (
        Approval,
        Decision,
        Deployment,
        Hold,
        Lift,
        PolicyApplied,
        Proposal,
        Quarantine,
        SuiteApplied,
        SuiteInfo,
    )
    from lockgate.domain.suite import Suite
    from lockgate.domain.upkeep import (
        Closing,
        FullCheck,
        LedgerCheck,
        Note,
        Recheck,
        Rehearsal,
        Removal,
        Review,
    )
    from lockgate.domain.version import Relative, Version

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Question:
    """One case to ask, in one repeat."""

    case: str
    repeat: int
    """From 1."""
    asking: int
    """From 1; above 1 when earlier askings of this case failed."""
    input: Any
    seed: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a version answered to one question."""

    output: Any
    latency_ms: float
    tokens_in: int | None = None
    tokens_out: int | None = None


class CaseFailed(Exception):  # noqa: N818 - named for what happened
    """A question could not be asked or answered: an infrastructure error of that case."""


class Runner(Protocol):
    """A version that is ready to be asked, in whatever process it lives."""

    concurrency: int
    """How many questions may be under way at once."""

    async def start(self) -> Mapping[str, Any]:
        """Make ready to answer.

        Returns:
            Facts about the runtime that could change the answers, as a JSON object.

        Raises:
            InfrastructureFailed: Nothing can be asked at all; the message says why.
        """
        ...

    async def ask(self, question: Question) -> Reply:
        """Ask one question.

        Raises:
            CaseFailed: Time ran out, the process died or the answer was not an answer. The runner
                stays usable: what broke is started anew for the next question.
        """
        ...

    async def close(self) -> None:
        """End every process and connection; safe to call twice."""
        ...


class Signature(Protocol):
    """An armoured signature and the fingerprint of the key that made it."""

    @property
    def armored(self) -> str:
        """The signature as text."""
        ...

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint."""
        ...


class Signing(Protocol):
    """Makes and checks signatures by people; never asks anything."""

    def sign(self, message: bytes, *, key: Path | None) -> Signature:
        """Sign a message with a key file, or with the caller's usual key.

        Raises:
            Refused: There is no usable key; the hint says how to get one.
        """
        ...

    def verify(
        self,
        message: bytes,
        armored: str,
        allowed_signers: bytes,
        principal: str,
        *,
        at: datetime,
    ) -> str:
        """Return the fingerprint of the key that signed, checked for one name.

        Raises:
            Refused: It is not this name's signature over this message.
        """
        ...

    def principals(
        self, message: bytes, armored: str, allowed_signers: bytes, *, at: datetime
    ) -> list[str]:
        """Return the names whose signature over a message this is; none when it is nobody's."""
        ...


class HookTold(Protocol):
    """How a deploy hook stands."""

    @property
    def state(self) -> str:
        """`absent`, `running` or `ended`."""
        ...

    @property
    def ending(self) -> str | None:
        """Of an ended one, how; `lost` when nobody saw it."""
        ...

    @property
    def is_success(self) -> bool:
        """Whether it ran to its end and said that all went well."""
        ...

    def words(self) -> str:
        """Return how it stands as the end of a sentence."""
        ...


class HookLines(Protocol):
    """What a hook wrote since the last look."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Whole lines, safe to show."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Since it started."""
        ...


class InstanceTold(Protocol):
    """A running instance and what its answer means."""

    @property
    def name(self) -> str:
        """As the observe command named it; not safe to show."""
        ...

    @property
    def state(self) -> str:
        """`match`, `stale`, `unreceipted` or `unknown`."""
        ...

    @property
    def version(self) -> str | None:
        """The whole version id, where it is known."""
        ...


class Target(Protocol):
    """Where one environment's versions are published and deployed to."""

    @property
    def publishes(self) -> bool:
        """Whether receipts and definitions are published."""
        ...

    @property
    def has_hook(self) -> bool:
        """Whether a deploy hook is run."""
        ...

    @property
    def observes(self) -> bool:
        """Whether running instances can be asked which version they are."""
        ...

    def hook_digest(self) -> str | None:
        """Return a digest of the hook's words and scripts; `None` without a hook."""
        ...

    def current(self, system: str) -> Receipt | None:
        """Return the receipt of what is live; `IntegrityBroken` when it does not count."""
        ...

    def way_back(self, system: str) -> Receipt | None:
        """Return the receipt of the version to go back to."""
        ...

    def staged(self, system: str) -> Receipt | None:
        """Return the receipt of an attempt that is not published."""
        ...

    def newest_generation(self, system: str) -> int:
        """Return the highest generation that anything published speaks of; 0 for none."""
        ...

    def problems(self, receipt: Receipt, *, budget_bytes: int | None = None) -> Sequence[str]:
        """Return what is wrong with a receipt's folder; without a budget every byte is hashed."""
        ...

    def key_problem(self) -> str | None:
        """Say what is wrong with the host's key as it is published; `None` when nothing is."""
        ...

    def prepare(
        self,
        receipt: Receipt,
        definition: Definition,
        open_content: Callable[[str], BinaryIO],
        *,
        hash_all: bool = False,
    ) -> None:
        """Have a receipt's definition stand whole in its folder; safe to repeat.

        What is written is always hashed; of a folder that is there already only so much as is
        quick, unless `hash_all`.
        """
        ...

    def offline_notes(self, system: str) -> Sequence[OfflineNote]:
        """Return what rollbacks without the registry left for it to record, oldest first."""
        ...

    def drop_offline_note(self, system: str, generation: int) -> None:
        """Remove a note that is recorded; safe to repeat."""
        ...

    def alone_offline(self, system: str) -> AbstractContextManager[None]:
        """Be the only one who goes back without the registry, or records it; else `Busy`."""
        ...

    def stage(self, receipt: Receipt) -> None:
        """Write the receipt of an attempt that is under way; safe to repeat."""
        ...

    def publish(self, receipt: Receipt, way_back: Receipt | None) -> None:
        """Make a receipt the one that the serving side trusts; safe to repeat.

        Raises:
            StaleGeneration: A newer generation is published; nothing was written.
        """
        ...

    def unstage(self, system: str, generation: int) -> None:
        """Take an attempt's receipt away; safe to repeat."""
        ...

    def start_hook(self, receipt: Receipt, previous: Receipt | None) -> None:
        """Start the deploy hook; it outlives this process.

        Raises:
            InfrastructureFailed: It cannot be started; nothing ran.
            StaleGeneration: A later generation's hook was started already.
        """
        ...

    def follow_hook(self, system: str, generation: int) -> Iterator[HookLines]:
        """Give what a hook writes as it writes it, until it has ended."""
        ...

    def hook_status(self, system: str, generation: int) -> HookTold:
        """Return how a hook stands, whoever started it."""
        ...

    def stop_hook(self, system: str, generation: int) -> HookTold:
        """Stop a hook, or make sure that it never starts; safe to repeat."""
        ...

    def observe(self, live: str | None, receipted: Iterable[str]) -> Sequence[InstanceTold]:
        """Ask the running instances which version they are."""
        ...


class OfflineTarget(Target, Protocol):
    """What going back without the registry needs besides."""

    def newest_taken(self, system: str) -> int:
        """Return the highest generation that any file speaks of, a hook's too; 0 for none."""
        ...

    def size_bytes(self, receipt: Receipt) -> int:
        """Return how large the files of a receipt's folder are, as far as they are there."""
        ...

    def write_offline_note(self, note: OfflineNote) -> None:
        """Leave a note for the registry; replaces the one of the same generation."""
        ...


class Clock(Protocol):
    """Tells the time; tests hold it still."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


class Draft(Protocol):
    """A system's folder as it was just read: what would be registered."""

    @property
    def system(self) -> str:
        """The system's name, as lockgate.toml says."""
        ...

    @property
    def owner(self) -> str | None:
        """The owner lockgate.toml names."""
        ...

    @property
    def definition(self) -> Definition:
        """The components as they are in the folder."""
        ...

    @property
    def unclaimed(self) -> tuple[str, ...]:
        """Files that no component claims and nothing says to ignore."""
        ...

    @property
    def is_unclaimed_complete(self) -> bool:
        """False when there are more such files than are named."""
        ...

    @property
    def locked_version(self) -> str | None:
        """The version id that lockgate.lock says this folder is."""
        ...

    def size_bytes(self, path: str) -> int:
        """Return the size of one of the definition's files."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open one of the definition's files for reading, without following links."""
        ...


class VersionQueries(Protocol):
    """Looks at systems, definitions, versions and how they descend from each other."""

    def systems(self) -> list[str]:
        """Return the names of all systems, in the order they came."""
        ...

    def get(self, version_id: str) -> Version | None:
        """Return the version with a whole id."""
        ...

    def named(self, system: str, text: str) -> Version:
        """Return the version that a label or the beginning of an id names.

        Raises:
            UsageMistake: None or several are named so.
        """
        ...

    def page(
        self, system: str, *, before: int | None = None, limit: int = 50, track: str | None = None
    ) -> list[Version]:
        """Return versions, newest first, below a `seq`."""
        ...

    def count(self, system: str) -> int:
        """Return how many versions a system has."""
        ...

    def children(self, version_id: str) -> list[Version]:
        """Return the versions registered on top of one, oldest first."""
        ...

    def with_definition(self, system: str, definition: str) -> list[Version]:
        """Return every version of a system with this definition, oldest first."""
        ...

    def ancestors(self, version_id: str, *, limit: int = ...) -> Iterator[Relative]:
        """Give a version and all it descends from, nearest first."""
        ...

    def descends(self, version_id: str, ancestor_id: str) -> bool:
        """Tell whether a version is, or comes from, another one."""
        ...

    def definition(self, digest: str) -> Definition:
        """Return a registered definition; `LookupError` when there is none."""
        ...

    def search(self, system: str | None, text: str, *, limit: int = 50) -> list[Version]:
        """Return versions whose label, owner, reason or prompt hold all words of a text."""
        ...

    def matched(self, versions: Collection[Version], text: str) -> dict[str, tuple[str, ...]]:
        """Return where versions that were found hold a word: `label`, `owner`, `reason`, `prompt`."""
        ...


class RunQueries(Protocol):
    """Looks at runs and answers."""

    def get(self, text: str) -> RunRecord:
        """Return the run that an id or its beginning names; `UsageMistake` when none does."""
        ...

    def of_version(self, version_id: str, suite: str | None = None) -> list[RunRecord]:
        """Return all runs of a version, oldest first; on one suite digest if given."""
        ...

    def completed(self, version_id: str, suite: str) -> list[RunRecord]:
        """Return all completed runs of a version on a suite digest, oldest first."""
        ...

    def open(self, system: str) -> list[RunRecord]:
        """Return runs that have not ended, newest first."""
        ...

    def asked(self, run_id: str) -> dict[tuple[str, int], tuple[int, bool]]:
        """Return (case, repeat) to (number of askings, whether there is a score)."""
        ...

    def answers(self, run_id: str, cases: Iterable[str] | None = None) -> list[Answer]:
        """Return answers with outputs and errors as they came."""
        ...

    def raw_answers(self, run_id: str) -> Iterator[Answer]:
        """Give answers in a fixed order, outputs and errors as digests."""
        ...

    def failures(self, run_id: str, limit: int) -> list[tuple[str, str]]:
        """Return why cases still have no score: for each different error a case and its text."""
        ...

    def pooled(self, runs: Iterable[str]) -> CaseScores:
        """Return what some runs together say about each case."""
        ...


class ReleaseQueries(Protocol):
    """Looks at decisions, approvals, attempts, settlements, quarantines and holds."""

    def live(self, system: str, environment: str) -> Deployment | None:
        """Return the deployment that is live."""
        ...

    def live_release(self, system: str, environment: str) -> Deployment | None:
        """Return the newest deployment that went live and is no rehearsal."""
        ...

    def live_before(self, system: str, environment: str, generation: int) -> Deployment | None:
        """Return the deployment that was live just before a generation was taken."""
        ...

    def newest(self, system: str, environment: str) -> Deployment | None:
        """Return the newest deployment, live, failed or open."""
        ...

    def deployments(
        self, system: str, environment: str, *, before: int | None = None, limit: int = 50
    ) -> list[Deployment]:
        """Return deployments, newest first."""
        ...

    def deployment(self, system: str, environment: str, generation: int) -> Deployment | None:
        """Return one deployment by its generation."""
        ...

    def was_left(self, system: str, environment: str, version_id: str) -> bool:
        """Tell whether a rollback ever left a version there."""
        ...

    def promoted(self, system: str, environment: str, definition: str) -> Deployment | None:
        """Return the newest passing promotion of a definition that became live there."""
        ...

    def environments(self, system: str) -> list[str]:
        """Return the environments that ever took an attempt."""
        ...

    def where_live(self, system: str) -> dict[str, list[str]]:
        """Return version id to the environments where it is live now."""
        ...

    def decision(self, text: str) -> Decision:
        """Return the decision that an id or its beginning names; else `UsageMistake`."""
        ...

    def newest_decision(self, version_id: str, environment: str) -> Decision | None:
        """Return the newest decision about a version and an environment."""
        ...

    def decisions(
        self, system: str, *, version_id: str | None = None, limit: int = 50
    ) -> list[Decision]:
        """Return decisions, newest first; only about one version if given."""
        ...

    def is_void(self, decision: Decision) -> str | None:
        """Say what has moved since a decision was made; `None` when nothing has."""
        ...

    def approvals(self, subject: str) -> list[Approval]:
        """Return what reviewers said to a decision or proposal, oldest first."""
        ...

    def proposals(self, *, kind: str | None = None) -> list[Proposal]:
        """Return proposals, newest first."""
        ...

    def proposal(self, proposal_id: str) -> Proposal | None:
        """Return one proposal by its id or the beginning of it."""
        ...

    def quarantines(self, system: str, *, definition: str | None = None) -> list[Quarantine]:
        """Return quarantines in force, newest first."""
        ...

    def holds(self, system: str, environment: str | None = None) -> list[Hold]:
        """Return holds in force, newest first."""
        ...

    def lift_of(self, seq: int) -> Lift | None:
        """Return what ended a quarantine or hold."""
        ...


class AppliedQueries(Protocol):
    """Looks at the policy and the suites that count now."""

    def policy(self) -> PolicyApplied | None:
        """Return the newest application of a policy."""
        ...

    def rules(self) -> dict[str, Any] | None:
        """Return the applied policy as a JSON value."""
        ...

    def suites(self, system: str) -> dict[str, SuiteInfo]:
        """Return the suites that count for a system now, by name."""
        ...

    def suite_history(self, system: str, name: str) -> list[SuiteApplied]:
        """Return every application of a suite under one name, newest first."""
        ...

    def suite_name(self, digest: str) -> str:
        """Return the name a suite digest is known by."""
        ...

    def has_suite(self, digest: str) -> bool:
        """Tell whether a suite digest is stored."""
        ...

    def suite(self, digest: str) -> Suite:
        """Return a stored suite with all its cases; `LookupError` when there is none."""
        ...

    def scorer_files(self, suite: Suite) -> dict[str, bytes]:
        """Return the python files that a suite's scorers come from."""
        ...


class UpkeepQueries(Protocol):
    """Looks at notes, break-glass promotions, rehearsals, reviews, rechecks and removals."""

    def notes(self, system: str, environment: str, generation: int) -> list[Note]:
        """Return the notes on a deployment, oldest first."""
        ...

    def unclosed(self, system: str, environment: str) -> list[Deployment]:
        """Return break-glass promotions that went live and that nobody has closed, newest first."""
        ...

    def ungated(self, system: str, environment: str) -> list[Deployment]:
        """Return every break-glass promotion that went live, newest first."""
        ...

    def closing(self, system: str, environment: str, generation: int) -> Closing | None:
        """Return what closed a break-glass promotion."""
        ...

    def rehearsals(
        self, system: str, environment: str | None = None, *, limit: int = 50
    ) -> list[Rehearsal]:
        """Return rehearsals, newest first."""
        ...

    def unrecorded(self, system: str, environment: str) -> list[Deployment]:
        """Return rehearsals that were live and whose end nobody has recorded, newest first."""
        ...

    def reviews(self, system: str, *, limit: int = 50) -> list[Review]:
        """Return reviews, newest first."""
        ...

    def rechecks(self, system: str, environment: str, *, limit: int = 50) -> list[Recheck]:
        """Return rechecks of an environment, newest first."""
        ...

    def removal(self, digest: str) -> Removal | None:
        """Return the newest removal of an object's content; it may have come back since."""
        ...

    def full_check(self, definition: str) -> FullCheck | None:
        """Return when every byte of a definition was last hashed here; `None` for never."""
        ...

    def shared(
        self,
        objects: Collection[str],
        definitions: Collection[str],
        versions: Collection[str] = ...,
    ) -> dict[str, str | None]:
        """Return those of some objects that something else than what loses them needs.

        Returns:
            Object to another definition that has it; `None` when something else needs it.
        """
        ...

    def release_from(self, version_id: str) -> str | None:
        """Return the label of the oldest release that descends from a version."""
        ...

    def holders(self, definition: str) -> list[str]:
        """Return the ids of all versions of any system that have a definition, oldest first."""
        ...

    def answer_objects(self, version_id: str) -> set[str]:
        """Return the digests of the outputs and errors of all of a version's answers."""
        ...

    def unswept(self) -> list[str]:
        """Return the large objects whose content was removed and whose files are still there."""
        ...

    def newest_time(self) -> datetime:
        """Return the time of the newest record."""
        ...

    def components(self, definition: str) -> tuple[str, ...]:
        """Return the names of a definition's components, without reading its entries."""
        ...

    def since(self, at: datetime) -> Iterator[Any]:
        """Give every record since a time, oldest first; a decision comes without its runs."""
        ...

    def lifted(self, seq: int) -> Hold | Quarantine | None:
        """Return the hold or the quarantine that a lift names."""
        ...

    def verify_ledger(self) -> Iterator[LedgerCheck]:
        """Hold the whole ledger against itself and against every record, within a `read`."""
        ...


class ObjectStore(Protocol):
    """Reads bytes under their SHA-256, and takes large files before a write."""

    def read(self, digest: str) -> bytes:
        """Return an object's bytes, checked; `LookupError` when they are not here."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open an object; the caller checks the digest of what it reads."""
        ...

    def has(self, digest: str) -> bool:
        """Tell whether an object's content is here in full length, without reading it."""
        ...

    def size(self, digest: str) -> int | None:
        """Return an object's size in bytes as recorded; `None` when no content is recorded here."""
        ...

    def is_intact(self, digest: str) -> bool:
        """Tell whether an object is here and its bytes are what the digest says."""
        ...

    def stage_file(self, source: Callable[[], BinaryIO], digest: str, size_bytes: int) -> None:
        """Put a large file's bytes in place before a write, so that nobody waits for the copying.

        Nothing counts before `Writing.put_file` is called for it; a small file is left to that.

        Raises:
            IntegrityBroken: The file has other bytes now; nothing was kept.
            RegistryTrouble: The disk is full or may not be written.
        """
        ...


class Writing(Protocol):
    """One write transaction: everything in it happens, or nothing does."""

    def append(self, record: R) -> R:
        """Add one record and its ledger row; returns it with its `seq` and `at`.

        Raises:
            Rejected: A rule of the registry refused it.
        """
        ...

    def put(self, data: bytes) -> str:
        """Keep some bytes as an object and return their digest."""
        ...

    def put_file(self, source: Callable[[], BinaryIO], digest: str, size_bytes: int) -> None:
        """Keep a file's bytes, hashed again on the way; `IntegrityBroken` when they differ."""
        ...

    def ensure_system(self, name: str, actor: str) -> None:
        """Record a system unless it is there."""
        ...

    def add_definition(self, definition: Definition) -> None:
        """Store a definition whose files are stored already."""
        ...

    def next_label(self, system: str, track: str) -> str:
        """Return the next free label of a track."""
        ...

    def add_version(self, version: Version, prompt_text: str) -> Version:
        """Record a version and make it searchable."""
        ...

    def add_suite(self, suite: Suite, files: Mapping[str, bytes]) -> None:
        """Store a suite with its cases."""
        ...

    def add_answers(self, answers: Iterable[Answer]) -> None:
        """Store a batch of answers of open runs."""
        ...

    def end_run(
        self,
        run: Run,
        outcome: str,
        summary: tuple[MetricSummary, ...],
        actor: str,
        came_to: Answered | None = None,
    ) -> RunEnd:
        """End a run: from here on its answers are fixed.

        Args:
            run: An open run.
            outcome: `completed` or `voided`.
            summary: Its metrics; none of a voided run.
            actor: Who ends it.
            came_to: What its answers come to, read before this transaction.

        Raises:
            Rejected: Answers are missing, it has ended, or it has more of them by now.
        """
        ...

    def remove_content(self, digest: str, kind: str, reason: str, actor: str) -> None:
        """End an object's content, with a record; a large one's file goes with `sweep_files`.

        Raises:
            Rejected: A release needs it.
        """
        ...

    def sweep_files(self, digests: Iterable[str]) -> int:
        """Delete the files of objects that have no content any more; returns how many.

        In a transaction after the one that removed them: what is not committed may come back.
        """
        ...

    def note_full_check(self, check: FullCheck) -> None:
        """Note that every byte of a definition was hashed; replaces the note before it."""
        ...

    def take_lease(self, subject: str, holder: str) -> None:
        """Say that this process works on something; `Busy` when a living one does."""
        ...

    def renew_lease(self, subject: str) -> None:
        """Say that this process is still at work."""
        ...

    def drop_lease(self, subject: str) -> None:
        """Say that this process is done with something."""
        ...


class Registry(Protocol):
    """Everything that was ever recorded, and the one way to add to it."""

    root: Path
    why_not: str | None
    """Why nothing can be recorded; `None` when it can."""

    @property
    def id(self) -> str:
        """The registry's own id."""
        ...

    @property
    def epoch(self) -> int:
        """Counts the lives of a registry: `restore` begins a new one."""
        ...

    @property
    def clock(self) -> Clock:
        """What tells the time."""
        ...

    def now(self) -> datetime:
        """Return the time that rules are judged at: never before what is recorded already."""
        ...

    @property
    def versions(self) -> VersionQueries:
        """Systems, versions and definitions."""
        ...

    @property
    def runs(self) -> RunQueries:
        """Runs and answers."""
        ...

    @property
    def releases(self) -> ReleaseQueries:
        """Decisions, approvals and deployments."""
        ...

    @property
    def applied(self) -> AppliedQueries:
        """The policy and suites that count."""
        ...

    @property
    def upkeep(self) -> UpkeepQueries:
        """Notes, break-glass, rehearsals, reviews, rechecks and removals."""
        ...

    @property
    def objects(self) -> ObjectStore:
        """Bytes by digest."""
        ...

    def write(self, *, durable: bool = True) -> AbstractContextManager[Writing]:
        """Open one write transaction.

        Raises:
            Busy: Somebody else kept writing for too long.
            Rejected: A rule of the registry refused a record; nothing was written.
            StaleGeneration: Somebody else took the generation first; nothing was written.
            RegistryTrouble: The disk or the file cannot be written.
        """
        ...

    def read(self) -> AbstractContextManager[None]:
        """Hold one consistent view for several queries."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """Give an empty folder of this process's own; it goes with the block, or with the process.

        Raises:
            RegistryTrouble: It cannot be made.
        """
        ...

    def changed(self) -> int:
        """Return a number that differs when another connection has written since."""
        ...

    def close(self) -> None:
        """Close it; safe to call twice."""
        ...
