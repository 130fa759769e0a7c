"""What happens while a version is deployed, told as it comes."""

from __future__ import annotations

import shlex

from lockgate.cli.common import tell
from lockgate.domain.figures import size
from lockgate.loop.deployment import DeployEvent
from lockgate.shown import shown


def rollback_words(
    environment: str,
    system: str,
    *,
    to: str | None = None,
    reason: str | None = None,
    incident: str | None = None,
) -> str:
    """Return the command that rolls back without asking, as a hint gives it."""
    words = ["lockgate", "rollback", environment, "-s", system, "--yes"]
    for option, text in (("--to", to), ("-m", reason), ("--incident", incident)):
        words += [option, text] if text else []
    return shlex.join(words)


def tell_event(event: DeployEvent) -> None:
    """Tell what happens while a version is deployed, on stderr as it comes."""
    if event.kind == "hook":
        for line in event.detail.lines:
            tell(f"    {line}")
    elif event.kind == "ignored":
        for name in event.detail:
            tell(f"    set aside {shown(name)}: this host did not sign it for this environment")
    elif event.kind == "recorded":
        done = event.detail
        state = "live" if done.is_live else "cut off before it was live"
        tell(
            f"    recorded generation {done.generation}, made without the registry by "
            f"{done.actor}, as claimed: {done.label}, {state}"
        )
    elif event.kind == "hashed":
        tell(f"    all {size(event.detail)} hashed after the switch, all well")
    elif event.kind == "published":
        tell(f"    published as generation {event.generation}, read back")
    elif event.kind == "observed":
        told = list(event.detail)
        matching = sum(instance.state == "match" for instance in told)
        tell(f"    {matching} of {len(told)} running instances report it")
        for instance in told:
            if instance.state != "match":
                tell(f"    {shown(instance.name)}: {instance.state}")
