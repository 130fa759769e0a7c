"""What a review looks at, and the words it has for what it finds.

- Every byte is hashed once, however many questions are about it.
- A finding says what was looked at, how many and since when; one that is broken names bytes,
  receipts or records that are not what they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from lockgate.domain.policy import Policy
from lockgate.domain.release import Deployment, Finding
from lockgate.domain.times import shown_time
from lockgate.domain.upkeep import CLEAN, FullCheck, Review
from lockgate.domain.version import Version
from lockgate.errors import IntegrityBroken, LockgateError
from lockgate.ports import Draft, ObjectStore, Registry, Target
from lockgate.shown import shown

MOST_NAMED = 10
"""How many things of one kind a finding names."""
GATE, DRIFT, WAY_BACK = "gate", "definition", "way back"
"""What each of the three questions is about."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a review is with something that takes long."""

    what: str
    done: int
    total: int


Step = Progress | Finding
"""What asking a question gives: how far it is, or what it found."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What only this machine knows: files, folders, and where versions go."""

    targets: Mapping[str, Target]
    """Environment to where its versions are published and deployed."""
    policy_file: tuple[str, tuple[str, ...]]
    """How policy.toml stands against what is applied, and what is wrong with it."""
    suites: tuple[Mapping[str, Any], ...] = ()
    """A row a suite: `name`, and as `file` how it stands."""
    signers: Mapping[str, str | None] = field(default_factory=dict)
    """Path of each signers file to the digest of its bytes now; `None` when it is gone."""
    folder: str | None = None
    """The system's folder, for people; `None` when it was not found."""
    draft: Draft | None = None
    """The folder as it is now; `None` when it was not found or cannot be read."""
    trouble: LockgateError | None = None
    """Why there is no draft."""


class HashedOnce:
    """A registry's objects, each hashed at most once; see `ports.ObjectStore`."""

    def __init__(self, store: ObjectStore) -> None:
        """Look into a store."""
        self._store = store
        self._intact: dict[str, bool] = {}

    def is_intact(self, digest: str) -> bool:
        """Tell whether an object is here and its bytes are what the digest says."""
        if digest not in self._intact:
            self._intact[digest] = self._store.is_intact(digest)
        return self._intact[digest]

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's own business."""
        return getattr(self._store, name)


class _Watched:
    """A registry whose objects are hashed once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.objects = HashedOnce(registry.objects)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)


@dataclass
class Look:
    """One review of one system."""

    system: str
    policy: Policy | None
    around: Surroundings
    registry: Registry
    """Hashes each object once."""
    last: Review | None
    """The review before this one."""
    last_clean: Review | None
    """The newest one that found nothing: what is outside the gate stays found until then."""
    now: datetime
    checks: dict[str, FullCheck] = field(default_factory=dict)
    """Definition to what hashing all of it found."""
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def since(self) -> str:
        """Since when this review looks at what happened, as the end of a sentence."""
        return (
            f"since the review of {shown_time(self.last.at)}"
            if self.last
            else "since the beginning"
        )

    def environments(self) -> list[str]:
        """Return the environments, as the policy orders them, and those that were used before."""
        named = [*self.policy.environments] if self.policy else []
        used = self.registry.releases.environments(self.system)
        return [*named, *(name for name in used if name not in named)]

    def live(self, environment: str) -> tuple[Deployment | None, Version | None]:
        """Return what is live, and its version."""
        live = self.registry.releases.live(self.system, environment)
        return live, self.registry.versions.get(live.attempt.version or "") if live else None

    def label(self, version_id: str | None) -> str:
        """Return the label of a version."""
        version = self.registry.versions.get(version_id or "")
        return version.label if version else (version_id or "nothing")[:12]

    def command(self, words: str) -> str:
        """Return a command about this system, as a hint shows it."""
        return f"`lockgate {words} -s {self.system}`"


def open_look(registry: Registry, system: str, policy: Policy | None, around: Surroundings) -> Look:
    """Begin a review."""
    reviews = registry.upkeep.reviews(system)
    clean = next((one for one in reviews if one.outcome == CLEAN), None)
    watched = cast("Registry", _Watched(registry))
    return Look(
        system, policy, around, watched, reviews[0] if reviews else None, clean, registry.now()
    )


def found(
    question: str,
    rule: str,
    outcome: str,
    reason: str,
    hint: str = "",
    *,
    broken: bool = False,
    looked_at: int | None = None,
) -> Finding:
    """Return a finding of a review.

    Args:
        question: Which of the three it answers.
        rule: What was looked at, in a few words.
        outcome: `pass`, `fail`, `inconclusive` or `skipped`.
        reason: How many, since when, and what was found, with values.
        hint: The command that helps.
        broken: Whether bytes, a receipt or a record are not what they were.
        looked_at: How many things were looked at.
    """
    numbers: dict[str, Any] = {"question": question}
    if broken:
        numbers["broken"] = True
    if looked_at is not None:
        numbers["looked_at"] = looked_at
    return Finding(rule, outcome, shown(reason, limit=4000), hint, numbers)


def named(things: Iterable[str]) -> str:
    """Return a list as part of a sentence; a long one is cut, and says so."""
    every = list(things)
    more = len(every) - MOST_NAMED
    return ", ".join(every[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def count(number: int, what: str) -> str:
    """Return a number of things."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def hashed(look: Look, version: Version) -> Iterator[Progress]:
    """Hash every object of a version, once; afterwards `look.problems` says what is wrong."""
    if version.definition in look.problems:
        return
    problems: list[str] = []
    size = 0
    try:
        files = sorted(look.registry.versions.definition(version.definition).files().items())
    except (IntegrityBroken, LookupError) as error:
        files = []
        problems.append(error.what if isinstance(error, LockgateError) else str(error))
    for number, (path, digest) in enumerate(files, 1):
        yield Progress(f"hashing {version.label} in the registry", number, len(files))
        size += look.registry.objects.size(digest) or 0
        if not look.registry.objects.is_intact(digest):
            problems.append(f"`{path}` {_how(look.registry.objects, digest)}")
    look.problems[version.definition] = problems
    look.checks[version.definition] = FullCheck(
        version.definition, look.now, size, problems[0] if problems else None
    )


def _how(objects: ObjectStore, digest: str) -> str:
    if objects.size(digest) is None:
        return "is not in the registry"
    if not objects.has(digest):
        return "is missing or cut short in the registry"
    return "was changed in the registry"


def objects_finding(look: Look, question: str, rule: str, version: Version) -> Finding:
    """Say what hashing a version's objects came to."""
    check, problems = look.checks[version.definition], look.problems[version.definition]
    files = len(look.registry.versions.definition(version.definition).files()) if check else 0
    if not problems:
        reason = f"{version.label}: every byte of {count(files, 'file')} hashed, {check.size_bytes} bytes"
        return found(question, rule, "pass", reason, looked_at=files)
    return found(
        question,
        rule,
        "fail",
        f"{version.label}: {named(problems)}",
        "restore its objects from a backup of `.lockgate/`, or register the same files again: "
        + look.command(f"checkout {version.label} DIR"),
        broken=True,
        looked_at=files,
    )


def by_question(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Return a review's findings under the questions they answer, in their order."""
    told: dict[str, list[Finding]] = {question: [] for question in (GATE, DRIFT, WAY_BACK)}
    for finding in findings:
        question = str((finding.numbers or {}).get("question", GATE))
        told.setdefault(question, []).append(finding)
    return told


def is_broken(findings: Iterable[Finding]) -> bool:
    """Tell whether bytes, a receipt or a record are not what they were."""
    return any((finding.numbers or {}).get("broken") for finding in findings)


def is_clean(findings: Iterable[Finding]) -> bool:
    """Tell whether there is nothing that somebody has to look at."""
    return all(finding.outcome in ("pass", "skipped") for finding in findings)
