"""Ready: the start of a shift, asked of one environment: would the way back work right now.

- The registry takes a write, which is undone again.
- What a rollback would go to is there, every byte of it hashed; so is what is published, and the
  way-back receipt that works without the registry.
- The deploy hook and the scripts it names are there.
- My key signs and verifies; where I am no reviewer it is only a word of warning when it does not.
- The disk has room, the clock is sane, and nothing is half done.
- What only stops promotions is a warning: rollback is never stopped by it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lockgate.domain.evidence import RunRecord
from lockgate.domain.policy import Environment, Policy
from lockgate.domain.release import Finding
from lockgate.domain.times import ago, shown_time
from lockgate.domain.version import Version
from lockgate.errors import Busy, LockgateError
from lockgate.loop.deployment import lease_of
from lockgate.ports import Registry, Signing, Target, Writing
from lockgate.upkeep.review_gate import published
from lockgate.upkeep.review_look import Look, Progress, Step, Surroundings, open_look
from lockgate.upkeep.review_way import target_of
from lockgate.upkeep.rollback import find_way_back

SPARE_BYTES = 64 << 20
"""What has to stay free besides the version that a rollback writes."""
_CLOCK_SLACK = timedelta(seconds=5)
_SCRIPTS = (".sh", ".bash", ".py", ".pl", ".rb", ".js", ".ts")


@dataclass(frozen=True, slots=True)
class Around:
    """What only this machine knows of an environment."""

    root: Path
    """The registry's folder."""
    target: Target
    signing: Signing
    hook_problem: Callable[[Sequence[str]], str | None]
    """Says why a hook could not be started."""
    host_key_problem: Callable[[], str | None]
    """Says why this host's key does not sign, or what it signs does not verify."""
    free_bytes: Callable[[Path], int]
    """Returns how much room is left where a path is."""


@dataclass(frozen=True, slots=True)
class _Case:
    registry: Registry
    system: str
    environment: Environment
    around: Around
    look: Look
    actor: str

    def command(self, words: str) -> str:
        return f"`lockgate {words} -s {self.system}`"


class _UndoneError(Exception):
    """Ends a write transaction that was only to see whether it works."""


def ready(
    registry: Registry,
    system: str,
    environment: Environment,
    policy: Policy | None,
    around: Around,
    *,
    actor: str,
) -> Iterator[Step]:
    """Ask everything; the caller walks what is found, and how far hashing is.

    Nothing is recorded but the note that every byte of the way back was hashed.

    Args:
        registry: What is asked about.
        system: The system.
        environment: From the applied policy.
        policy: As applied.
        around: What only this machine knows.
        actor: Whose key is tried.
    """
    targets = {environment.name: around.target}
    look = open_look(registry, system, policy, Surroundings(targets, ("", ())))
    case = _Case(registry, system, environment, around, look, actor)
    yield from _writable(case)
    yield _clock(case)
    yield from _attempt(case)
    yield from _way_back(case)
    yield _disk(case)
    yield from _hook(case, "hook", environment.deploy)
    yield from _hook(case, "observe", environment.observe)
    yield _host_key(case)
    yield _my_key(case)
    yield from _stops(case)
    if look.checks:
        with suppress(LockgateError), registry.write(durable=False) as writing:
            for check in look.checks.values():
                writing.note_full_check(check)


def is_ready(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing has to be repaired; a warning does not count."""
    return all(finding.outcome != "fail" for finding in findings)


def _writable(case: _Case) -> Iterator[Finding]:
    """Write for real and undo it; in the same breath see which runs nobody works on any more."""
    runs = case.registry.runs.open(case.system)
    dead: list[RunRecord] = []

    def write(writing: Writing) -> None:
        writing.put(secrets.token_bytes(32))
        dead.extend(run for run in runs if _is_dead(writing, f"run {run.run.id}", case.actor))

    trouble = _tried(case.registry, write)
    if trouble is not None:
        yield Finding("registry", "fail", trouble.what, trouble.hint)
        return
    yield Finding("registry", "pass", "takes a write, which was undone")
    for record in dead:
        label = case.look.label(record.run.version)
        yield Finding(
            "runs",
            "inconclusive",
            f"run {record.run.id[:8]} of {label} has not ended, and nobody works on it",
            f"{case.command(f'evaluate {label} --resume {record.run.id[:8]}')} or "
            f"{case.command(f'evaluate --void {record.run.id[:8]}')}",
        )
    if not dead:
        going = f"{len(runs)} under way" if runs else "none is half done"
        yield Finding("runs", "pass", going)


def _tried(registry: Registry, write: Callable[[Writing], None]) -> LockgateError | None:
    try:
        with registry.write(durable=False) as writing:
            write(writing)
            raise _UndoneError
    except _UndoneError:
        return None
    except LockgateError as error:
        return error


def _is_dead(writing: Writing, subject: str, actor: str) -> bool:
    try:
        writing.take_lease(subject, actor)
    except Busy:
        return False
    return True


def _clock(case: _Case) -> Finding:
    now, newest = case.registry.clock.now(), case.registry.upkeep.newest_time()
    if newest - now > _CLOCK_SLACK:
        return Finding(
            "clock",
            "fail",
            f"it says {shown_time(now, seconds=True)}, {ago(newest - now)} before the newest record",
            "set this machine's clock: `timedatectl status` shows it",
        )
    return Finding("clock", "pass", shown_time(now, seconds=True))


def _attempt(case: _Case) -> Iterator[Finding]:
    name = case.environment.name
    newest = case.registry.releases.newest(case.system, name)
    if newest is None or not newest.is_open:
        yield Finding("settled", "pass", "no attempt is open")
        return
    attempt = newest.attempt
    subject = lease_of(case.system, name, attempt.generation)
    dead: list[bool] = []
    _tried(case.registry, lambda writing: dead.append(_is_dead(writing, subject, case.actor)))
    was = "nobody works on it" if dead and dead[0] else "it is under way"
    yield Finding(
        "settled",
        "fail",
        f"generation {attempt.generation}, {attempt.kind} of {case.look.label(attempt.version)} by "
        f"{attempt.actor}, is open: {was}",
        case.command(f"settle {name}"),
    )


def _way_back(case: _Case) -> Iterator[Step]:
    name = case.environment.name
    live, version = case.look.live(name)
    if live is None or version is None:
        yield Finding("live", "skipped", f"nothing is live in {name}")
        return
    ungated = ", ungated" if live.is_ungated else ""
    yield Finding("live", "pass", f"{version.label}, generation {live.attempt.generation}{ungated}")
    for ask in (
        target_of(case.look, name),
        published(case.look, name, case.around.target, live, version),
    ):
        for step in ask:
            yield step if isinstance(step, Progress) else _short(step, name)


def _short(finding: Finding, environment: str) -> Finding:
    """Return a review's finding under its name here: the environment is known."""
    rule = finding.rule.removesuffix(f" {environment}")
    return Finding(rule, finding.outcome, finding.reason, finding.hint)


def _disk(case: _Case) -> Finding:
    size, label = _size_of_way_back(case)
    places = [case.around.root / ".lockgate"]
    if case.environment.publish:
        places.append(_nearest(case.around.root / case.environment.publish))
    free, place = min((case.around.free_bytes(place), place) for place in places)
    told = f"{free} bytes free, {label} has {size}" if label else f"{free} bytes free"
    if free < size + SPARE_BYTES:
        reason = f"{told}; {size + SPARE_BYTES} should be"
        return Finding("disk", "fail", reason, f"make room: `df -h {place}` shows what is left")
    return Finding("disk", "pass", told)


def _size_of_way_back(case: _Case) -> tuple[int, str]:
    try:
        version: Version | None = find_way_back(
            case.registry, case.system, case.environment.name
        ).to
    except LockgateError:
        _, version = case.look.live(case.environment.name)
    if version is None:
        return 0, ""
    try:
        files = case.registry.versions.definition(version.definition).files()
    except (LockgateError, LookupError):
        return 0, ""
    return sum(case.registry.objects.size(digest) or 0 for digest in files.values()), version.label


def _nearest(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _hook(case: _Case, name: str, argv: Sequence[str]) -> Iterator[Finding]:
    if not argv:
        yield Finding(name, "skipped", f"{case.environment.name} has none")
        return
    problem = case.around.hook_problem(argv)
    missing = [word for word in argv[1:] if _is_script(word) and not _is_there(case, word)]
    if problem is not None:
        hint = f"`ls -l {argv[0]}` in {case.around.root}; it needs `chmod +x` where it is there"
        yield Finding(name, "fail", problem, hint)
    for word in missing:
        hint = f"bring `{word}` back to {case.around.root}, or change policy.toml and apply it"
        yield Finding(name, "fail", f"`{word}` is not there", hint)
    if problem is None and not missing:
        yield Finding(name, "pass", " ".join(argv))


def _is_script(word: str) -> bool:
    """Tell whether a word of a command names a script; an option, an address or a value does not."""
    if word.startswith("-") or "://" in word or "=" in word:
        return False
    return word.startswith(("./", "../", "/")) or word.endswith(_SCRIPTS)


def _is_there(case: _Case, word: str) -> bool:
    try:
        return (case.around.root / word).exists()
    except (OSError, ValueError):
        return False


def _host_key(case: _Case) -> Finding:
    if not case.around.target.publishes:
        return Finding("host key", "skipped", "nothing is published here")
    problem = case.around.host_key_problem() or case.around.target.key_problem()
    if problem is None:
        return Finding("host key", "pass", "signs receipts, and they verify")
    return Finding("host key", "fail", problem, f"`ls -l {case.around.root / '.lockgate'}`")


def _my_key(case: _Case) -> Finding:
    """Sign something and verify it; where I am a reviewer, against the applied signers file."""
    is_reviewer = case.actor in case.environment.reviewers
    bad = "fail" if is_reviewer else "inconclusive"
    if is_reviewer and case.environment.accept_claimed:
        bad = "inconclusive"
    message = b"lockgate ready " + secrets.token_hex(16).encode()
    try:
        signature = case.around.signing.sign(message, key=None)
        if not is_reviewer or case.environment.signers_digest is None:
            return Finding("my key", "pass", f"signs ({signature.fingerprint})")
        allowed = case.registry.objects.read(case.environment.signers_digest)
        names = case.around.signing.principals(
            message, signature.armored, allowed, at=case.registry.clock.now()
        )
    except (LockgateError, LookupError) as error:
        what = error.what if isinstance(error, LockgateError) else str(error)
        hint = error.hint if isinstance(error, LockgateError) else "restore a backup"
        who = "" if is_reviewer else f"; {case.actor} is no reviewer here"
        return Finding("my key", bad, f"{what}{who}", hint)
    if case.actor in names:
        return Finding("my key", "pass", f"signs as {case.actor} ({signature.fingerprint})")
    return Finding(
        "my key",
        bad,
        f"it signs, but the applied signers file does not give {case.actor} this key "
        f"({signature.fingerprint})",
        "add its public half to the signers file, then `lockgate policy apply`; or name the right "
        "one in LOCKGATE_KEY",
    )


def _stops(case: _Case) -> Iterator[Finding]:
    """Say what stops promotions; none of it stops a rollback."""
    name = case.environment.name
    holds = case.registry.releases.holds(case.system, name)
    for hold in holds:
        yield Finding(
            "not held",
            "inconclusive",
            f"held by {hold.actor} since {shown_time(hold.at)}: {hold.reason.splitlines()[0]}",
            case.command(f"lift {name} -m REASON"),
        )
    if not holds:
        yield Finding("not held", "pass", "promotions are not held")
    for broken in case.registry.upkeep.unclosed(case.system, name):
        attempt = broken.attempt
        yield Finding(
            "break-glass",
            "inconclusive",
            f"{attempt.actor} broke the glass for {case.look.label(attempt.version)} as generation "
            f"{attempt.generation}, ticket {attempt.ticket}; nobody has closed it",
            case.command(f"close {name} -m REASON"),
        )
