"""Note: a word about a deployment, added afterwards.

- It belongs to one generation of one environment, and is never changed.
- A generation that several environments have has to be named with its environment.
"""

from __future__ import annotations

from lockgate.domain.release import Deployment
from lockgate.domain.upkeep import Note
from lockgate.errors import UsageMistake
from lockgate.ports import Registry
from lockgate.upkeep.words import checked_text


def note(
    registry: Registry,
    system: str,
    generation: int,
    *,
    text: str,
    actor: str,
    environment: str | None = None,
) -> Note:
    """Add a note to a deployment.

    Args:
        registry: Where it is recorded.
        system: The system.
        generation: Which deployment.
        text: What there is to say.
        actor: Who says it.
        environment: Where; `None` takes the one environment that has the generation.

    Raises:
        UsageMistake: The text is missing or too long, there is no such generation, or several
            environments have it.
    """
    text = checked_text(text, "a note", "say something: -m TEXT")
    found = _deployment(registry, system, generation, environment)
    record = Note(system, found.attempt.environment, generation, text, actor)
    with registry.write() as writing:
        return writing.append(record)


def _deployment(
    registry: Registry, system: str, generation: int, environment: str | None
) -> Deployment:
    names = registry.releases.environments(system)
    if environment is not None and environment not in names:
        raise UsageMistake(
            f"nothing of {system} was ever promoted to `{environment}`",
            hint=f"there are {', '.join(names)}" if names else "promote something first",
        )
    wanted = names if environment is None else [environment]
    found = [
        deployment
        for name in wanted
        if (deployment := registry.releases.deployment(system, name, generation)) is not None
    ]
    if len(found) == 1 and generation > 0:
        return found[0]
    if not found or generation <= 0:
        newest = [registry.releases.newest(system, name) for name in wanted]
        told = [
            f"{one.attempt.environment} up to {one.attempt.generation}" for one in newest if one
        ]
        raise UsageMistake(
            f"there is no generation {generation} of {environment or system}",
            hint=f"there is {', '.join(told)}" if told else f"`lockgate status -s {system}`",
        )
    raise UsageMistake(
        f"generation {generation} of {system} is one of several environments",
        problems=[_told(registry, deployment) for deployment in found],
        hint=f"say which: `lockgate note {generation} -s {system} -e "
        f"{found[0].attempt.environment} -m TEXT`",
    )


def _told(registry: Registry, deployment: Deployment) -> str:
    attempt = deployment.attempt
    version = registry.versions.get(attempt.version or "")
    label = version.label if version else "?"
    return f"{attempt.environment}: {attempt.kind} of {label} by {attempt.actor}"
