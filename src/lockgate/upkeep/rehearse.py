"""Rehearse: deploy a deliberately worse version, and see whether the gate notices and it comes back.

    registered → live → evaluated → refused → reverted → verified → recorded

- The worse version is made from what is live, and reaches only an environment for rehearsals.
- It is evaluated fresh and judged by the rules of the environment that this one protects.
- Whatever the gate says, what was live is put back, and verified to the byte.
- A rehearsal that is broken off is taken back first; nothing else goes there meanwhile.
- Which operator comes next rotates: a rehearsal looks for what nobody knows yet, so the one that
  was never tried, or not for the longest time, goes first.
- What only asks the gate deploys nothing, and tries every operator.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lockgate.domain.metrics import LATENCY_METRICS, is_score
from lockgate.domain.policy import (
    Environment,
    Policy,
    allowed_errors,
    stop_after_errors,
)
from lockgate.domain.release import Attempt, Decision, Deployment, Finding, SuiteInfo
from lockgate.domain.times import shown_time
from lockgate.domain.upkeep import DETECTED, MISSED, Rehearsal
from lockgate.domain.version import Version
from lockgate.errors import (
    Busy,
    Inconclusive,
    InfrastructureFailed,
    IntegrityBroken,
    Interrupted,
    LockgateError,
    Refused,
    StaleGeneration,
    UsageMistake,
)
from lockgate.loop.deployment import DeployEvent, carry_out, kept_way_back
from lockgate.loop.evaluate import LEASE_EVERY_S, Limits, OpenRunner, evaluate, open_run
from lockgate.loop.gate import asked_of_rehearsals, decide, gaps
from lockgate.loop.promote import stopped
from lockgate.loop.register import Registered, register_rehearsal
from lockgate.loop.way_back import damaged_files
from lockgate.ports import Registry, Target
from lockgate.upkeep.operators import OPERATORS, NotApplicable, Operator, Worse, make_worse
from lockgate.upkeep.restore import (
    Restored,
    not_as_it_was,
    put_back,
    record_broken_off,
    rehearsal_lease,
    reverted_as,
    verified,
    void_open_runs,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rehearsal would do; looking changes nothing."""

    environment: Environment
    protects: str
    live: Deployment
    version: Version
    """What is live, and will be again."""
    operator: Operator
    worse: Worse
    suites: tuple[SuiteInfo, ...]
    skipped: tuple[tuple[str, str], ...]
    """Operators that do not apply, each with the reason."""

    @property
    def system(self) -> str:
        """The system."""
        return self.version.system


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How a rehearsal went."""

    version: Version
    """The worse one."""
    record: Rehearsal
    decision: Decision
    restored: Restored
    detect_s: float

    @property
    def is_detected(self) -> bool:
        """Whether the gate refused it."""
        return self.record.outcome == DETECTED


@dataclass(frozen=True, slots=True)
class Asked:
    """What the gate says about one operator, when it is only asked."""

    operator: Operator
    state: str
    """`caught`, `missed` or `skipped`."""
    words: str
    """For a skipped one why; else what was done to the version."""
    version: Version | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Something that just happened on the way."""

    name: str
    """`registered`, `evaluated`, `deployed`, `judged`, `reverted`, `verified`, `asked` or `done`."""
    result: Any
    """Registered, (Version, Progress), DeployEvent, Decision, DeployEvent, Restored, Asked or
    Rehearsed."""
    elapsed_s: float


def plan_rehearsal(
    registry: Registry,
    system: str,
    environment_name: str,
    policy: Policy,
    *,
    operator: str | None = None,
) -> Plan:
    """Return what a rehearsal would do there now.

    Raises:
        UsageMistake: There is no such environment or operator.
        Refused: The environment takes no rehearsals, nothing is live there, it is held or frozen,
            an attempt is open, nothing would judge the rehearsal, or no operator applies.
        IntegrityBroken: What is live could not be put back.
    """
    environment = _for_rehearsals(policy, environment_name)
    live, version = _live(registry, system, environment_name)
    _check_quiet(registry, live, version, environment)
    suites = _suites(registry, system, environment, policy)
    chosen = [_named(operator)] if operator else _in_turn(registry, system, environment_name)
    skipped: list[tuple[str, str]] = []
    for candidate in chosen:
        try:
            worse = _applied(registry, version, candidate)
        except NotApplicable as reason:
            skipped.append((candidate.name, str(reason)))
            continue
        protects = environment.protects or environment_name
        return Plan(environment, protects, live, version, candidate, worse, suites, tuple(skipped))
    raise Refused(
        f"{version.label} cannot be made worse by "
        f"{f'`{operator}`' if operator else 'any operator'}",
        problems=[f"{name}: {reason}" for name, reason in skipped],
        hint=f"`lockgate rehearse {environment_name} -s {system} --gate-only` tries every operator"
        if operator
        else "give the version a prompt, examples, tools or an index that is a file of it",
    )


def _for_rehearsals(policy: Policy, name: str) -> Environment:
    environment = policy.environment(name)
    if environment.rehearsal and environment.protects:
        return environment
    takes = [one.name for one in policy.environments.values() if one.rehearsal]
    raise Refused(
        f"{name} takes no rehearsals",
        hint=f"rehearse where the policy says `rehearsal = true`: `lockgate rehearse {takes[0]}`"
        if takes
        else 'say `rehearsal = true` and `protects = "production"` of an environment in '
        "policy.toml, then `lockgate policy apply`",
    )


def _live(registry: Registry, system: str, environment: str) -> tuple[Deployment, Version]:
    live = registry.releases.live_release(system, environment)
    version = registry.versions.get(live.attempt.version or "") if live else None
    if live is None or version is None:
        raise Refused(
            f"nothing of {system} is live in {environment}: there is nothing to make worse",
            hint=f"`lockgate ship --to {environment}` first",
        )
    return live, version


def _check_quiet(
    registry: Registry, live: Deployment, version: Version, environment: Environment
) -> None:
    """Refuse to rehearse where something else is going on, or the way back is not safe."""
    system, name = version.system, environment.name
    newest = registry.releases.newest(system, name)
    if newest is not None and newest.is_open:
        raise Refused(
            f"generation {newest.attempt.generation} of {name} is not settled: "
            f"{newest.attempt.actor} is at it or was cut off",
            hint=f"`lockgate settle {name} -s {system}` finds out",
        )
    stops = [one for one in stopped(registry, system, environment) if one.outcome == "fail"]
    if stops:
        raise Refused(
            f"{name} takes no rehearsal now",
            problems=[f"{one.rule}: {one.reason}" for one in stops],
            hint=next((one.hint for one in stops if one.hint), ""),
        )
    quarantines = registry.releases.quarantines(system, definition=version.definition)
    if quarantines:
        raise Refused(
            f"{version.label}, which is live in {name}, is quarantined: "
            f"{quarantines[0].reason.splitlines()[0]}",
            hint=f"`lockgate rollback {name} -s {system}` leaves it; "
            f"`lockgate lift {version.label} -s {system} -m REASON` if that was wrong",
        )
    damaged = damaged_files(registry, version)
    if damaged:
        raise IntegrityBroken(
            f"{version.label} could not be put back after a rehearsal; nothing was touched",
            problems=damaged,
            hint="restore its objects from a backup",
        )


def _suites(
    registry: Registry, system: str, environment: Environment, policy: Policy
) -> tuple[SuiteInfo, ...]:
    """Return what a rehearsal is judged on.

    Raises:
        Refused: Nothing would judge it.
    """
    judge = policy.judged_as(environment.name)
    rules = judge.rules_for(system)
    if rules is None or not rules.rules:
        raise Refused(
            f"{judge.name} asks nothing of the scores of {system}: nothing could notice that it "
            "got worse",
            hint=f"write rules under [environments.{judge.name}.systems.{system}] in policy.toml, "
            "then `lockgate policy apply`",
        )
    suites = asked_of_rehearsals(registry, system, environment.name, policy)
    missing = sorted({rule.suite for rule in rules.rules} - set(suites))
    if missing:
        raise Refused(
            f"{judge.name} asks for {', '.join(f'`{name}`' for name in missing)}, which is not "
            f"applied for {system}",
            hint="`lockgate suite apply`",
        )
    return tuple(suites.values())


def _named(name: str) -> Operator:
    for operator in OPERATORS:
        if operator.name == name:
            return operator
    import difflib  # only for a name that was misspelt

    names = [operator.name for operator in OPERATORS]
    near = difflib.get_close_matches(name, names, n=1)
    raise UsageMistake(
        f"there is no operator `{name}`",
        hint=f"did you mean `{near[0]}`?" if near else f"there are {', '.join(names)}",
    )


def _in_turn(registry: Registry, system: str, environment: str) -> list[Operator]:
    """Return the operators, never tried ones first, then those not tried for the longest time."""
    last: dict[str, int] = {}
    for record in registry.upkeep.rehearsals(system, environment, limit=500):
        last.setdefault(record.operator, record.seq)
    return sorted(OPERATORS, key=lambda operator: last.get(operator.name, 0))


def _applied(registry: Registry, version: Version, operator: Operator) -> Worse:
    definition = registry.versions.definition(version.definition)
    return make_worse(operator, definition, registry.objects.read)


def rehearse(
    registry: Registry,
    plan: Plan,
    policy: Policy,
    open_runner: OpenRunner,
    target: Target,
    *,
    actor: str,
) -> Iterator[Step]:
    """Deploy the worse version, ask the gate, and put back what was live; the caller walks it.

    However it ends, what was live is live again, or the error says what is missing. Whoever stops
    it throws `KeyboardInterrupt` into it.

    Args:
        registry: Where it is recorded.
        plan: As `plan_rehearsal` returned it.
        policy: As applied.
        open_runner: Makes versions ready to be asked.
        target: Where the environment's versions go.
        actor: Who rehearses.

    Yields:
        Each step; the last one is `done` with a `Rehearsed`.

    Raises:
        Busy: Somebody rehearses there already.
        StaleGeneration: Somebody promoted or rolled back meanwhile; nothing was deployed.
        Interrupted: It was stopped; what was live is live again.
        InfrastructureFailed: The worse version could not be asked, or a hook failed: no result.
        Inconclusive: Nobody saw how a hook ended: no result.
        IntegrityBroken: Not everything is as it was.
    """
    subject = rehearsal_lease(plan.system, plan.environment.name)
    with registry.write() as writing:
        writing.take_lease(subject, actor)
    try:
        yield from _Sitting(registry, plan, policy, open_runner, target, actor).walk()
    finally:
        with registry.write(durable=False) as writing:
            writing.drop_lease(subject)


@dataclass
class _Sitting:
    """One rehearsal, from its first step to its record."""

    registry: Registry
    plan: Plan
    policy: Policy
    open_runner: OpenRunner
    target: Target
    actor: str
    began_s: float = field(default_factory=time.monotonic)
    generation: int = 0
    """As which the worse version is live; 0 before."""
    last: int = 0
    """The newest generation that this sitting took."""
    detect_s: float = 0.0
    renewed_s: float = field(default_factory=time.monotonic)

    def walk(self) -> Iterator[Step]:
        registered = _registered(self.registry, self.plan.version, self.plan, self.actor)
        yield self._step("registered", registered)
        worse = registered.version
        _check_may_deploy(self.registry, worse)
        name = self.plan.environment.name
        with _closed(
            _baseline(self.registry, worse, name, self.policy, self.open_runner, self.actor)
        ) as runs:
            for told in runs:
                yield self._step("evaluated", told)
        try:
            decision = yield from self._judged(worse)
            restored = yield from self._taken_back()
        except BaseException as error:
            self._break_off(worse, error)
            raise
        rehearsed = self._recorded(worse, decision, restored)
        yield self._step("done", rehearsed)
        if restored.problems:
            raise not_as_it_was(self.plan.environment.name, self.plan.system, restored)

    def _step(self, name: str, result: Any) -> Step:
        if time.monotonic() - self.renewed_s > LEASE_EVERY_S:
            self.renewed_s = time.monotonic()
            subject = rehearsal_lease(self.plan.system, self.plan.environment.name)
            with suppress(Busy), self.registry.write(durable=False) as writing:
                writing.renew_lease(subject)
        return Step(name, result, time.monotonic() - self.began_s)

    def _judged(self, worse: Version) -> Generator[Step, None, Decision]:
        """Have the worse version live, evaluated and decided on; returns the decision."""
        yield from self._deploy(worse)
        live_s = time.monotonic()
        void_open_runs(self.registry, worse, self.actor)
        for suite in self.plan.suites:
            run = evaluate(
                self.registry,
                worse,
                suite.digest,
                self.open_runner,
                actor=self.actor,
                limits=_limits(self.policy, worse.system),
                baseline=self.plan.version,
            )
            with _closed(run):
                for progress in run:
                    yield self._step("evaluated", (worse, progress))
                    self._check_ours()
        decision = decide(
            self.registry,
            worse,
            self.plan.environment.name,
            self.policy,
            actor=self.actor,
            again=True,
        )
        self.detect_s = time.monotonic() - live_s
        yield self._step("judged", decision)
        return decision

    def _deploy(self, worse: Version) -> Iterator[Step]:
        plan, name = self.plan, self.plan.environment.name
        newest = self.registry.releases.newest(plan.system, name)
        live = self.registry.releases.live(plan.system, name)
        if newest is None or live is None or live.attempt != plan.live.attempt:
            raise self._overtaken(live)
        attempt = Attempt(
            plan.system,
            name,
            newest.attempt.generation + 1,
            "rehearsal",
            worse.id,
            None,
            self.target.hook_digest(),
            None,
            f"{plan.operator.name}: {plan.worse.words}",
            self.actor,
        )
        events = carry_out(
            self.registry,
            self.target,
            attempt,
            worse,
            actor=self.actor,
            way_back=kept_way_back(self.registry, self.target, live),
        )
        with _closed(events):
            try:
                first = next(events)
            except Refused as error:
                taken = self.registry.releases.deployment(plan.system, name, attempt.generation)
                if taken is None:
                    raise
                raise self._overtaken(taken) from error
            self.generation = self.last = attempt.generation
            yield self._step("deployed", first)
            for event in events:
                yield self._step("deployed", event)

    def _overtaken(self, other: Deployment | None) -> StaleGeneration:
        name = self.plan.environment.name
        attempt = other.attempt if other else self.plan.live.attempt
        version = self.registry.versions.get(attempt.version or "")
        return StaleGeneration(
            f"{attempt.actor} took generation {attempt.generation} of {name} first, with "
            f"{version.label if version else 'another version'} at {shown_time(attempt.at)}; "
            "nothing was deployed",
            hint=f"`lockgate rehearse {name} -s {self.plan.system}` makes what is live now worse",
        )

    def _check_ours(self) -> None:
        """Stop when somebody else has taken a generation meanwhile: they have the last word."""
        newest = self.registry.releases.newest(self.plan.system, self.plan.environment.name)
        if newest is not None and newest.attempt.generation > self.last:
            raise StaleGeneration(
                f"{newest.attempt.actor} took generation {newest.attempt.generation} of "
                f"{self.plan.environment.name} and ended the rehearsal: there is no result",
                hint=f"`lockgate status -s {self.plan.system}` shows what is live",
            )

    def _taken_back(self) -> Generator[Step, None, Restored]:
        """Put back what was live, and verify it; returns what is live again."""
        began_s = time.monotonic()
        self._check_ours()
        with _closed(self._put_back()) as events:
            for event in events:
                yield self._step("reverted", event)
        restored = self._verified(began_s)
        yield self._step("verified", restored)
        return restored

    def _put_back(self) -> Iterator[DeployEvent]:
        name = self.plan.environment.name
        events = put_back(self.registry, self.plan.system, name, self.target, actor=self.actor)
        with _closed(events):
            for event in events:
                self.last = max(self.last, event.generation)
                yield event

    def _verified(self, began_s: float) -> Restored:
        plan = self.plan
        return verified(
            self.registry, plan.system, plan.environment.name, plan.version, self.target, began_s
        )

    def _break_off(self, worse: Version, error: BaseException) -> None:
        """Put back what was live without a word, record it, and say so in the error."""
        name, system = self.plan.environment.name, self.plan.system
        if not self.generation:
            return  # nothing was deployed
        began_s = time.monotonic()
        words = error.what if isinstance(error, LockgateError) else "it was stopped"
        try:
            self._check_ours()
            for _ in self._put_back():
                pass
            restored = self._verified(began_s)
            void_open_runs(self.registry, worse, self.actor)
            why = Finding("rehearsal", "fail", words)
            record_broken_off(self.registry, system, name, restored, actor=self.actor, why=why)
        except StaleGeneration as overtaken:
            raise overtaken from error
        except (LockgateError, KeyboardInterrupt) as second:
            what = second.what if isinstance(second, LockgateError) else "stopped again"
            raise InfrastructureFailed(
                f"the rehearsal broke off ({words}), and {self.plan.version.label} is not verified "
                f"to be live in {name} again: {what}",
                hint=f"`lockgate rehearse {name} -s {system}` takes it back first",
            ) from error
        if restored.problems:
            raise not_as_it_was(name, system, restored) from error
        again = f"{self.plan.version.label} is live in {name} again, verified"
        if isinstance(error, KeyboardInterrupt | Interrupted):
            raise Interrupted(
                f"stopped: {again}",
                hint=f"`lockgate rehearse {name} -s {system}` rehearses anew",
            ) from error
        if isinstance(error, LockgateError):
            raise type(error)(
                f"the rehearsal broke off: {error.what}; {again}",
                problems=error.problems,
                hint=f"`lockgate rehearse {name} -s {system} --operator NAME` tries another one"
                if isinstance(error, InfrastructureFailed | Inconclusive)
                else error.hint,
            ) from error

    def _recorded(self, worse: Version, decision: Decision, restored: Restored) -> Rehearsed:
        plan = self.plan
        deployment = self.registry.releases.deployment(
            plan.system, plan.environment.name, self.generation
        )
        assert deployment is not None  # it was just deployed
        record = Rehearsal(
            plan.system,
            plan.environment.name,
            worse.id,
            plan.operator.name,
            self.generation,
            reverted_as(self.registry, deployment),
            MISSED if decision.promotable else DETECTED,
            decision.id,
            round(self.detect_s * 1000),
            round(restored.took_s * 1000),
            (*told_by(decision), *restored.findings),
            self.actor,
        )
        with self.registry.write() as writing:
            record = writing.append(record)
        return Rehearsed(worse, record, decision, restored, self.detect_s)


def is_about_a_score(finding: Finding) -> bool:
    """Tell whether a finding is about how good the answers are, not about how fast they came."""
    return is_score(str((finding.numbers or {}).get("metric", LATENCY_METRICS[0])))


def _closed(walk: Iterator[T]) -> AbstractContextManager[Generator[T, Any, Any]]:
    """End a walk with the block, however that ends: what it holds is given up at once."""
    assert isinstance(walk, Generator)
    return closing(walk)


def told_by(decision: Decision) -> list[Finding]:
    """Return the findings that say whether the gate noticed: what refused, else all the numbers.

    Scores come first: a latency may have been over its limit for reasons of its own.
    """
    if not decision.promotable:
        return sorted(decision.obstacles(), key=lambda finding: not is_about_a_score(finding))
    return [finding for finding in decision.findings if finding.numbers is not None]


def _registered(registry: Registry, live: Version, plan: Plan | _Ask, actor: str) -> Registered:
    return register_rehearsal(
        registry,
        live,
        plan.worse.definition,
        plan.worse.contents,
        reason=f"{plan.operator.name}: {plan.worse.words}",
        actor=actor,
    )


@dataclass(frozen=True, slots=True)
class _Ask:
    operator: Operator
    worse: Worse


def _check_may_deploy(registry: Registry, worse: Version) -> None:
    for quarantine in registry.releases.quarantines(worse.system, definition=worse.definition):
        raise Refused(
            f"what {worse.label} would deploy is quarantined: {quarantine.reason.splitlines()[0]}",
            hint="another operator: --operator NAME, or `--gate-only`, which deploys nothing",
        )


def _limits(policy: Policy, system: str) -> Limits:
    return Limits(allowed_errors(policy, system), stop_after_errors(policy, system))


def _baseline(
    registry: Registry,
    worse: Version,
    environment: str,
    policy: Policy,
    open_runner: OpenRunner,
    actor: str,
) -> Iterator[tuple[Version, Any]]:
    """Evaluate what is live where the comparison needs it, before anything is deployed."""
    for gap in gaps(registry, worse, environment, policy):
        if gap.is_live:
            run = evaluate(
                registry,
                gap.version,
                gap.suite.digest,
                open_runner,
                actor=actor,
                limits=_limits(policy, worse.system),
                resume=open_run(registry, gap.version, gap.suite),
            )
            with _closed(run):
                for progress in run:
                    yield gap.version, progress


def ask_the_gate(
    registry: Registry,
    system: str,
    environment_name: str,
    policy: Policy,
    open_runner: OpenRunner,
    *,
    actor: str,
    operator: str | None = None,
) -> Iterator[Step]:
    """Ask the gate about every operator, or one, without deploying anything.

    Yields:
        `registered`, `evaluated` and `judged` on the way, and `asked` with an `Asked` for each.

    Raises:
        Refused: As `plan_rehearsal`, where it is about the environment and its rules.
        Interrupted: It was stopped; what was answered is kept, and run again it goes on.
    """
    environment = _for_rehearsals(policy, environment_name)
    _, version = _live(registry, system, environment_name)
    suites = _suites(registry, system, environment, policy)
    began_s = time.monotonic()

    def step(name: str, result: Any) -> Step:
        return Step(name, result, time.monotonic() - began_s)

    for one in [_named(operator)] if operator else OPERATORS:
        try:
            worse = _applied(registry, version, one)
        except NotApplicable as reason:
            yield step("asked", Asked(one, "skipped", str(reason)))
            continue
        registered = _registered(registry, version, _Ask(one, worse), actor)
        yield step("registered", registered)
        candidate = registered.version
        with _closed(
            _baseline(registry, candidate, environment_name, policy, open_runner, actor)
        ) as runs:
            for progress in runs:
                yield step("evaluated", progress)
        try:
            for suite in suites:
                run = evaluate(
                    registry,
                    candidate,
                    suite.digest,
                    open_runner,
                    actor=actor,
                    limits=_limits(policy, system),
                    resume=open_run(registry, candidate, suite),
                    baseline=version,
                )
                with _closed(run):
                    for told in run:
                        yield step("evaluated", (candidate, told))
        except InfrastructureFailed as error:
            void_open_runs(registry, candidate, actor)
            yield step("asked", Asked(one, "skipped", f"no score: {error.what}", candidate))
            continue
        decision = decide(registry, candidate, environment_name, policy, actor=actor, again=True)
        yield step("judged", decision)
        state = "missed" if decision.promotable else "caught"
        yield step("asked", Asked(one, state, worse.words, candidate, decision))
