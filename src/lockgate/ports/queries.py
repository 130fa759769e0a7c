"""What may be asked of the registry, by subject."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from lockgate.domain.components import Definition
    from lockgate.domain.evidence import (
        Answer,
        CaseScores,
        RunRecord,
    )
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

    def left(self, system: str, environment: str) -> frozenset[str]:
        """Return the definitions that a rollback ever left there."""
        ...

    def ever_live(self, system: str, environment: str) -> frozenset[str]:
        """Return the ids of all versions that were ever live there."""
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

    def jump(self, span: timedelta) -> tuple[datetime, datetime] | None:
        """Return the newest neighbouring records further apart than a span, after the last removal."""
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
