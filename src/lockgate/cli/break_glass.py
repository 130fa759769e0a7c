"""`lockgate promote --break-glass` and `close`: past the gate on record, and the end of that."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    confirm,
    desk,
    emit,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
)
from lockgate.cli.deploying import tell_event
from lockgate.cli.exits import fail
from lockgate.cli.gate import name_width, show_finding
from lockgate.cli.promote import promoted_body, show_promoted
from lockgate.domain.release import Finding
from lockgate.errors import UsageMistake
from lockgate.loop.promote import Promoted
from lockgate.shown import shown
from lockgate.upkeep.break_glass import Glass, break_glass, check_words, look
from lockgate.upkeep.closing import Closed, Remaining, close

_SHORT = 80
"""The longest reason that a hint repeats."""


@dataclass(frozen=True, slots=True)
class GlassWords:
    """What was asked for on the command line."""

    version: str | None
    environment: str
    ticket: str
    reason: str
    yes: bool
    reverting: str | None

    def checked(self) -> GlassWords:
        """Return them as they are recorded.

        Raises:
            UsageMistake: Something is missing or does not belong there.
        """
        if self.version is None:
            raise UsageMistake(
                "breaking the glass takes the version's name",
                hint="`lockgate log` lists them; then "
                f"`lockgate promote V --to {self.environment} --break-glass --ticket ID -m REASON`",
            )
        if self.reverting is not None:
            raise UsageMistake(
                "--reverting is said to the gate, which --break-glass does not ask",
                hint="leave --reverting out",
            )
        ticket, reason = check_words(self.ticket, self.reason)
        return GlassWords(self.version, self.environment, ticket, reason, self.yes, None)


def break_the_glass(
    words: GlassWords, system: str | None, registry: str | None, as_json: bool
) -> None:
    """Make a version live past the gate, after showing what that bypasses."""
    words = words.checked()
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        version = wiring.choose_version(at.registry, name, words.version or "")
        policy = wiring.applied_policy(at.registry)
        environment = policy.environment(words.environment)
        live = at.registry.releases.live(name, environment.name)
        glass: Glass | None = None
        if live is not None and live.attempt.version == version.id:
            generation = live.attempt.generation
            done = Promoted(version, environment.name, generation, version, is_new=False)
        else:
            glass = look(
                at.registry, version, environment, policy, actor=at.actor, signing=wiring.signing()
            )
            _show(glass, words, as_json)
            if not words.yes:
                _ask(glass, words)
            done = break_glass(
                at.registry,
                glass,
                environment,
                ticket=words.ticket,
                reason=words.reason,
                actor=at.actor,
                target=wiring.target(at.root, name, environment),
                tell=tell_event,
            )
    if as_json:
        bypassed = glass.bypasses if glass else ()
        is_ungated = done.is_new or (live is not None and live.is_ungated)
        emit({**promoted_body(done), "ungated": is_ungated, "bypassed": bypassed})
        return
    show_promoted(done, is_ungated=glass is not None)
    if done.is_new:
        tell(
            f"promotions to {environment.name} stop until somebody else closes it; while "
            f"{version.label} is live that takes the gate: `lockgate evaluate {version.label} "
            f"-s {name}`, `lockgate gate {version.label} --to {environment.name} -s {name}`"
        )
        tell(f"then: `lockgate close {environment.name} -s {name} -m REASON`")


def _show(glass: Glass, words: GlassWords, as_json: bool) -> None:
    """Show what is bypassed; with --json stdout is kept for the value."""
    if as_json:
        return
    before = glass.before.label if glass.before else "nothing"
    say(
        f"break the glass of {glass.version.system} {glass.environment}:  {before}  →  "
        f"{glass.version.label}, ungated",
        bold=True,
    )
    say(f"  ticket {shown(words.ticket)}: {shown(words.reason.splitlines()[0])}")
    say("  it bypasses:")
    width = name_width(glass.bypasses)
    for finding in glass.bypasses:
        show_finding(Finding(finding.rule, finding.outcome, finding.reason), width)


def _ask(glass: Glass, words: GlassWords) -> None:
    again = [
        *("lockgate", "promote", glass.version.label, "--to", glass.environment),
        *("-s", glass.version.system, "--break-glass", "--ticket", words.ticket),
        *("-m", words.reason if len(words.reason) <= _SHORT else "REASON", "--yes"),
    ]
    confirm(
        "break the glass?",
        refusal="nobody is there to confirm that the glass is broken; nothing was changed",
        hint=f"`{shlex.join(again)}`",
    )


@click.command("close", short_help="End a break-glass promotion, as a second person.")
@click.argument("environment", metavar="ENV")
@click.option("-m", "--reason", default="", metavar="REASON", help="What came of it. Required.")
@system_option
@registry_option
@json_option
def close_command(
    environment: str, reason: str, system: str | None, registry: str | None, as_json: bool
) -> int:
    """End a break-glass promotion, so that promotions go on. Not by whoever broke the glass.

    While its version is live it takes a passing decision made since (`lockgate evaluate V`,
    `lockgate gate V --to ENV`) with the approvals that one needs. Once it is no longer live, a
    second person's word is enough. Exit code 7 when only a reviewer's yes is missing.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        settings = wiring.applied_policy(at.registry).environment(environment)
        closed = close(
            at.registry, name, settings, reason=reason, actor=at.actor, signing=wiring.signing()
        )
        live = at.registry.releases.live(name, environment)
        labels = {
            closing.generation: _label(at, name, environment, closing.generation)
            for closing in closed.closings
        }
    body: dict[str, object] = {
        "environment": environment,
        "closed": closed.closings,
        "remaining": [_remaining_body(one) for one in closed.remaining],
    }
    trouble = closed.trouble()
    if as_json and trouble is None:
        emit(body)
    if not as_json:
        _show_closed(closed, labels)
    if trouble is not None:
        return fail(trouble, as_json=as_json, data=body)
    if live is not None and live.is_ungated and live.attempt.generation in labels:
        label = labels[live.attempt.generation]
        tell(
            f"next: `lockgate promote {label} --to {environment} -s {name}` has it live by the "
            "gate; until then it is ungated, and no way back"
        )
    return 0


def _label(at: Desk, system: str, environment: str, generation: int) -> str:
    deployment = at.registry.releases.deployment(system, environment, generation)
    version = at.registry.versions.get(deployment.attempt.version or "") if deployment else None
    return version.label if version else "?"


def _show_closed(closed: Closed, labels: dict[int, str]) -> None:
    for closing in closed.closings:
        how = (
            f"on decision {closing.decision[:8]}"
            if closing.decision
            else f"{labels[closing.generation]} is no longer live"
        )
        say(
            f"{mark('pass')} closed generation {closing.generation} of {closed.environment} "
            f"({labels[closing.generation]}, ungated): {how}"
        )
    if not closed.remaining:
        say(f"{mark('pass')} it no longer stops promotions to {closed.environment}", bold=True)


def _remaining_body(one: Remaining) -> dict[str, object]:
    attempt = one.deployment.attempt
    return {
        "generation": attempt.generation,
        "version": one.label,
        "actor": attempt.actor,
        "ticket": attempt.ticket,
        "missing": one.missing,
    }
