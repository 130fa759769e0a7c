"""Policies: what each environment asks of a version before it may go there.

- A policy is one JSON value, so its digest is the same wherever it is computed; the digest of each
  signers file is part of it, because who may sign counts only as applied.
- A rehearsal version is judged by the environment that the rehearsal environment protects.
- A freeze is a weekly window in its own time zone. Where the clocks change, the longer window
  counts: a local time that comes twice or never neither starts late nor ends early.
- Of several environments, the most patient one bounds a run's errors and the least patient one
  ends a run that only fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from lockgate.domain.times import parse_week_time, week_time_text
from lockgate.errors import UsageMistake
from lockgate.shown import shown

FORMAT = 1
STAKES = ("low", "high")
ON_INCONCLUSIVE = ("block", "review", "allow")
DEFAULT_MAX_AGE = timedelta(days=7)
DEFAULT_DEPLOY_TIMEOUT = timedelta(seconds=120)
DEFAULT_KEEP = timedelta(days=14)
DEFAULT_REHEARSAL_CADENCE = timedelta(days=30)
DEFAULT_REVIEW_CADENCE = timedelta(days=7)
DEFAULT_MAX_ERRORS = 0
DEFAULT_STOP_AFTER_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """What one metric of one suite must be; every limit that is given must hold."""

    suite: str
    metric: str
    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    """The largest loss against what is live, as a fraction."""
    confidence: float | None = None
    """Judge the interval instead of the value: one-sided, above 0.5 and below 1."""
    on_inconclusive: str = "block"
    """`block`, `review` or `allow`."""

    def body(self) -> dict[str, Any]:
        """Return the rule as a JSON value."""
        return {
            "suite": self.suite,
            "metric": self.metric,
            "min": self.min,
            "max": self.max,
            "max_drop": self.max_drop,
            "confidence": self.confidence,
            "on_inconclusive": self.on_inconclusive,
        }


@dataclass(frozen=True, slots=True)
class SystemRules:
    """What an environment asks of one system."""

    rules: tuple[Rule, ...] = ()
    max_errors: int = DEFAULT_MAX_ERRORS
    """The most cases of a run that may stay without a score."""
    stop_after_errors: int = DEFAULT_STOP_AFTER_ERRORS
    """A run ends early after this many infrastructure errors in a row."""

    def body(self) -> dict[str, Any]:
        """Return the rules as a JSON value."""
        return {
            "rules": [rule.body() for rule in self.rules],
            "max_errors": self.max_errors,
            "stop_after_errors": self.stop_after_errors,
        }


@dataclass(frozen=True, slots=True)
class Freeze:
    """A weekly window without promotions; it may wrap around the week's end."""

    start_day: int
    """Monday is 0."""
    start_time: time
    until_day: int
    until_time: time
    """The window ends just before this moment."""
    tz: str
    """An IANA name such as `Europe/Berlin`."""
    reason: str

    @property
    def start(self) -> str:
        """When the window begins, as in `fri 16:00`."""
        return week_time_text(self.start_day, self.start_time)

    @property
    def until(self) -> str:
        """When the window ends, as in `mon 08:00`."""
        return week_time_text(self.until_day, self.until_time)

    def body(self) -> dict[str, Any]:
        """Return the window as a JSON value."""
        return {"from": self.start, "until": self.until, "tz": self.tz, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Environment:
    """A place where versions go live, and what it asks of them."""

    name: str
    stakes: str
    """`low`: a pass promotes at once; `high`: reviewers say yes first."""
    rehearsal: bool = False
    protects: str | None = None
    """The environment whose rules judge rehearsal versions here."""
    requires: tuple[str, ...] = ()
    """Where a definition must have been promoted before it may come here."""
    signers: str | None = None
    """Path of the allowed signers file, relative to the registry's root."""
    signers_digest: str | None = None
    """SHA-256 of that file when the policy was read; `None` when there was none."""
    reviewers: tuple[str, ...] = ()
    approvals: int = 0
    accept_claimed: bool = False
    max_age: timedelta = DEFAULT_MAX_AGE
    freeze: tuple[Freeze, ...] = ()
    publish: str | None = None
    deploy: tuple[str, ...] = ()
    deploy_timeout: timedelta = DEFAULT_DEPLOY_TIMEOUT
    observe: tuple[str, ...] = ()
    systems: Mapping[str, SystemRules] = field(default_factory=dict)

    def rules_for(self, system: str) -> SystemRules | None:
        """Return what is asked of a system; `None` asks for a completed run on every suite."""
        return self.systems.get(system)

    def body(self) -> dict[str, Any]:
        """Return the environment as a JSON value."""
        return {
            "name": self.name,
            "stakes": self.stakes,
            "rehearsal": self.rehearsal,
            "protects": self.protects,
            "requires": list(self.requires),
            "signers": self.signers,
            "signers_digest": self.signers_digest,
            "reviewers": list(self.reviewers),
            "approvals": self.approvals,
            "accept_claimed": self.accept_claimed,
            "max_age_s": _seconds(self.max_age),
            "freeze": [window.body() for window in self.freeze],
            "publish": self.publish,
            "deploy": list(self.deploy),
            "deploy_timeout_s": _seconds(self.deploy_timeout),
            "observe": list(self.observe),
            "systems": {name: rules.body() for name, rules in self.systems.items()},
        }


@dataclass(frozen=True, slots=True)
class Policy:
    """Every environment, in the order the file gives them, and the rhythm of upkeep."""

    environments: Mapping[str, Environment]
    experiments_keep: timedelta = DEFAULT_KEEP
    """How long the contents of an experiment are kept."""
    rehearsal_cadence: timedelta = DEFAULT_REHEARSAL_CADENCE
    review_cadence: timedelta = DEFAULT_REVIEW_CADENCE

    def environment(self, name: str) -> Environment:
        """Return an environment by its name.

        Raises:
            UsageMistake: There is none of that name; the message lists those there are.
        """
        found = self.environments.get(name)
        if found is not None:
            return found
        import difflib  # only for a name that was misspelt

        near = difflib.get_close_matches(name, self.environments, n=1)
        known = ", ".join(f"`{known}`" for known in self.environments)
        raise UsageMistake(
            f"no environment `{shown(name, limit=60)}` in the policy",
            hint=f"did you mean `{near[0]}`?" if near else f"the environments are {known}",
        )

    def judged_as(self, name: str) -> Environment:
        """Return the environment whose rules judge rehearsal versions in environment `name`.

        Raises:
            UsageMistake: There is no environment of that name.
        """
        environment = self.environment(name)
        protected = environment.protects
        return environment if protected is None else self.environment(protected)

    def body(self) -> dict[str, Any]:
        """Return the JSON value whose canonical bytes are hashed and applied."""
        return {
            "format": FORMAT,
            "environments": [environment.body() for environment in self.environments.values()],
            "experiments_keep_s": _seconds(self.experiments_keep),
            "rehearsal_cadence_s": _seconds(self.rehearsal_cadence),
            "review_cadence_s": _seconds(self.review_cadence),
        }


def policy_from(body: Mapping[str, Any]) -> Policy:
    """Return the policy that `Policy.body` described.

    Raises:
        ValueError: The body has another format, as a newer Lockgate may write, or is not a policy.
    """
    if body.get("format") != FORMAT:
        raise ValueError(f"policy format {body.get('format')!r} is not {FORMAT}")
    try:
        environments = [_environment_from(part) for part in body["environments"]]
        return Policy(
            environments={environment.name: environment for environment in environments},
            experiments_keep=timedelta(seconds=body["experiments_keep_s"]),
            rehearsal_cadence=timedelta(seconds=body["rehearsal_cadence_s"]),
            review_cadence=timedelta(seconds=body["review_cadence_s"]),
        )
    except (KeyError, TypeError, AttributeError) as missing:
        raise ValueError(f"this is no policy of format {FORMAT}: {missing!r}") from missing


def _environment_from(body: Mapping[str, Any]) -> Environment:
    known = {key: value for key, value in body.items() if not key.endswith("_s")}
    return Environment(
        **{
            **known,
            "requires": tuple(body["requires"]),
            "reviewers": tuple(body["reviewers"]),
            "max_age": timedelta(seconds=body["max_age_s"]),
            "freeze": tuple(_freeze_from(window) for window in body["freeze"]),
            "deploy": tuple(body["deploy"]),
            "deploy_timeout": timedelta(seconds=body["deploy_timeout_s"]),
            "observe": tuple(body["observe"]),
            "systems": {name: _rules_from(rules) for name, rules in body["systems"].items()},
        }
    )


def _rules_from(body: Mapping[str, Any]) -> SystemRules:
    return SystemRules(
        tuple(_rule_from(rule) for rule in body["rules"]),
        body["max_errors"],
        body["stop_after_errors"],
    )


def _rule_from(body: Mapping[str, Any]) -> Rule:
    limits = ("min", "max", "max_drop", "confidence")
    # Canonical JSON writes 200.0 as 200; limits stay fractions on the way back.
    floats = {key: None if body[key] is None else float(body[key]) for key in limits}
    return Rule(**{**body, **floats})


def _freeze_from(body: Mapping[str, Any]) -> Freeze:
    start, until = parse_week_time(body["from"]), parse_week_time(body["until"])
    return Freeze(*start, *until, body["tz"], body["reason"])


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def allowed_errors(policy: Policy, system: str) -> int:
    """Return the most cases without a score that any environment allows in a run of a system."""
    return max((rules.max_errors for rules in _all_rules(policy, system)), default=0)


def stop_after_errors(policy: Policy, system: str) -> int:
    """Return how many infrastructure errors in a row end a run of a system."""
    return min(
        (rules.stop_after_errors for rules in _all_rules(policy, system)),
        default=DEFAULT_STOP_AFTER_ERRORS,
    )


def _all_rules(policy: Policy, system: str) -> list[SystemRules]:
    found = (environment.rules_for(system) for environment in policy.environments.values())
    return [rules for rules in found if rules is not None]


def freeze_at(environment: Environment, at: datetime) -> Freeze | None:
    """Return the freeze that is in force; of several, the one that ends last.

    Raises:
        UsageMistake: This machine does not know the freeze's time zone.
    """
    running = _running(environment, at)
    return running[1] if running else None


def freeze_ends(environment: Environment, at: datetime) -> datetime | None:
    """Return when promotions are free again, in UTC; `None` when they are, or never will be.

    Windows that touch or overlap count as one.

    Raises:
        UsageMistake: As `freeze_at`.
    """
    moment, horizon = at, at + timedelta(days=15)
    while (running := _running(environment, moment)) and moment < horizon:
        moment = running[0]
    return moment if at < moment < horizon else None


def next_freeze(environment: Environment, at: datetime) -> tuple[datetime, Freeze] | None:
    """Return the next freeze that starts after a moment, and when, in UTC.

    Raises:
        UsageMistake: As `freeze_at`.
    """
    coming = (
        (start, freeze)
        for freeze in environment.freeze
        for start, _ in _windows(freeze, at)
        if start > at
    )
    return min(coming, key=lambda window: window[0], default=None)


def _running(environment: Environment, at: datetime) -> tuple[datetime, Freeze] | None:
    running = (
        (until, freeze)
        for freeze in environment.freeze
        for start, until in _windows(freeze, at)
        if start <= at < until
    )
    return max(running, key=lambda window: window[0], default=None)


def _windows(freeze: Freeze, at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Give the windows of the weeks around a moment, in UTC, as start and end."""
    import zoneinfo  # only for policies with a freeze

    try:
        zone = zoneinfo.ZoneInfo(freeze.tz)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as unknown:
        raise UsageMistake(
            f"this machine does not know the time zone `{shown(freeze.tz, limit=60)}` of a freeze",
            hint="install the time zone data: the system package or `pip install tzdata`",
        ) from unknown
    wraps = (freeze.until_day, freeze.until_time) <= (freeze.start_day, freeze.start_time)
    length = timedelta(days=freeze.until_day - freeze.start_day + 7 * wraps)
    today = at.astimezone(zone).date()
    for week in (-2, -1, 0, 1):
        day = today + timedelta(days=7 * week + freeze.start_day - today.weekday())
        start = datetime.combine(day, freeze.start_time, zone)
        until = datetime.combine(day + length, freeze.until_time, zone)
        yield (
            min(start.replace(fold=fold).astimezone(UTC) for fold in (0, 1)),
            max(until.replace(fold=fold).astimezone(UTC) for fold in (0, 1)),
        )
