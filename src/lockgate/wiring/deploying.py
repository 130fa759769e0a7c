"""Where versions go: host key, published folders, hooks, and what a pipeline may deploy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import LockgateError, Refused, RegistryTrouble, UsageMistake

if TYPE_CHECKING:
    from lockgate.deploy.applied_place import AppliedPlace
    from lockgate.deploy.host_key import HostKey
    from lockgate.deploy.publisher import Publisher
    from lockgate.deploy.target import EnvironmentTarget
    from lockgate.domain.components import Definition
    from lockgate.domain.policy import Environment
    from lockgate.domain.receipt import Receipt
    from lockgate.ports import Registry
    from lockgate.upkeep.ready import Around
from lockgate.wiring.people import signing
from lockgate.wiring.places import FOLDER, near_system


def host_key(root: Path) -> HostKey:
    """Return the key this host signs receipts with; it may not be there."""
    from lockgate.deploy.host_key import HostKey

    return HostKey(root / FOLDER, signing())


def host_key_problem(root: Path) -> str | None:
    """Sign something with this host's key and verify it; say what is wrong, if anything is."""
    from datetime import UTC, datetime

    from lockgate.deploy.sshsig import PRINCIPAL

    key = host_key(root)
    if not key.exists():
        return "this host has no key, so its receipts are not signed"
    message = b"lockgate ready " + os.urandom(16).hex().encode()
    try:
        allowed = f'{PRINCIPAL} namespaces="lockgate" {key.public()}\n'.encode()
        signing().verify(message, key.sign(message), allowed, PRINCIPAL, at=datetime.now(UTC))
    except LockgateError as error:
        return "; ".join([error.what, *error.problems])
    return None


def make_host_key(root: Path) -> bool:
    """Make the host's key unless there is one; false where ssh-keygen is missing."""
    from lockgate.deploy.host_key import make_host_key as make
    from lockgate.signing import ssh

    try:
        make(root / FOLDER, ssh.make_key)
    except Refused:
        return False
    return True


def target(root: Path, system: str, environment: Environment) -> EnvironmentTarget:
    """Return where a system's versions go in an environment."""
    from functools import partial

    from lockgate.deploy.target import EnvironmentTarget
    from lockgate.workspace.materialise import materialise as write

    return EnvironmentTarget(
        *(root, system, environment, host_key(root), partial(write, durable=True)),
        is_applied=True,
    )


def ready_around(root: Path, system: str, environment: Environment) -> Around:
    """Return what only this machine knows of an environment, for `ready`."""
    import shutil
    from functools import partial

    from lockgate.deploy.hook import hook_problem
    from lockgate.upkeep.ready import Around

    return Around(
        root,
        target(root, system, environment),
        signing(),
        partial(hook_problem, root),
        partial(host_key_problem, root),
        lambda path: shutil.disk_usage(path).free,
    )


@dataclass(frozen=True, slots=True)
class OfflinePlace:
    """Where a system goes in an environment, as far as that is known without the registry."""

    system: str
    target: EnvironmentTarget
    is_applied: bool
    """Whether its commands were applied; else they are those of policy.toml as it lies there."""
    doubts: tuple[str, ...]
    """What somebody should know before they are run."""


def offline_target(
    root: Path, environment: str, system: str | None, publish: str | None
) -> OfflinePlace:
    """Return a system and where it goes in an environment, without the registry.

    The folder is that of policy.toml, or the one that is named. What is run there is what was
    applied when something was last published; only where that is not known, what policy.toml says.

    Args:
        root: The registry's folder.
        environment: As policy.toml names it.
        system: As given; `None` takes the nearest folder's, or the only one that is published.
        publish: The folder that was named; `None` takes the one in policy.toml.

    Raises:
        UsageMistake: policy.toml cannot be read, or several systems could be meant.
        Refused: The environment publishes nothing, or the host's key is missing.
        RegistryTrouble: The published folder is not there.
    """
    from lockgate.deploy.applied_place import read_applied
    from lockgate.deploy.policy_file import read_place
    from lockgate.deploy.target import EnvironmentTarget
    from lockgate.domain.policy import Environment

    again = f"`lockgate rollback {environment} -s {system or 'SYSTEM'} --offline --publish DIR`"
    try:
        settings = read_place(root, environment)
    except UsageMistake as error:
        if publish is None:
            raise UsageMistake(
                error.what,
                problems=error.problems,
                hint=f"{error.hint}; or name the published folder, and no hook is run: {again}",
            ) from error
        settings = Environment(environment, "low")
    said = settings
    if publish is not None:
        settings = replace(settings, publish=str(Path(publish).expanduser().absolute()))
    if settings.publish is None:
        raise Refused(
            f"{environment} publishes nothing, so no way-back receipt was kept",
            hint="bring the registry back from a backup; then "
            f"`lockgate rollback {environment} -s {system or 'SYSTEM'}`",
        )
    folder = root / settings.publish
    if not folder.is_dir():
        raise RegistryTrouble(
            f"the published folder `{folder}` is not there", hint=f"name it: {again}"
        )
    name = system or _published_system(folder)
    key = host_key(root)
    applied = read_applied(folder / name, key, environment)
    if applied is not None:
        settings = replace(applied.environment, publish=settings.publish)
    found = EnvironmentTarget(root, name, settings, key, _no_contents)
    if found.has_lost_key(name):
        raise Refused(
            f"the host's key is missing, so no receipt can be signed: `{root / FOLDER}/host_key`",
            hint="bring `host_key` and `host_key.pub` back from a backup into "
            f"`{root / FOLDER}`: a backup of `{FOLDER}/` holds them",
        )
    doubts = tuple(_doubts(applied, said, found, is_named=publish is not None))
    return OfflinePlace(name, found, applied is not None, doubts)


def _doubts(
    applied: AppliedPlace | None, said: Environment, found: EnvironmentTarget, *, is_named: bool
) -> Iterator[str]:
    """Give what somebody should know of the commands that would be run."""
    if applied is None:
        yield "what was applied is not known: the commands are those of policy.toml as it lies there"
        return
    apart = [key for key in applied.differences(said) if not (is_named and key == "publish")]
    if apart:
        named = ", ".join(f"`{key}`" for key in apart)
        yield f"policy.toml says something else for {named}; what was applied last counts"
    if applied.hook_digest != found.hook_digest():
        yield "the hook's own files were changed since something was last published"


def _no_contents(definition: Definition, open_content: object, folder: Path) -> None:
    raise AssertionError("without the registry there is nothing to write a definition from")


def _published_system(folder: Path) -> str:
    """Return the system that is meant: the nearest folder's, or the only one that is published."""
    known = sorted(path.parent.name for path in folder.glob("*/receipt.json"))
    named = near_system()
    if named in known:
        return str(named)
    if len(known) == 1:
        return known[0]
    if not known:
        raise Refused(f"nothing is published in `{folder}`", hint="say which system with -s SYSTEM")
    raise UsageMistake(
        f"several systems are published in `{folder}`: {', '.join(known)}",
        hint="say which with -s SYSTEM",
    )


def check_deploy(
    registry: Registry,
    publisher: Publisher,
    system: str,
    environment: str,
    *,
    receipt_file: Path | None,
    folder: Path | None,
) -> Receipt:
    """Return the receipt a pipeline may deploy; everything else is refused.

    Args:
        registry: Says what is settled.
        publisher: Of the environment.
        system: What is to be deployed.
        environment: Where to.
        receipt_file: The receipt to check; `None` takes that of what is live.
        folder: The definition as the pipeline has it; `None` takes the published one.

    Raises:
        Refused: There is no receipt, or the attempt it belongs to is not settled, or ended badly.
        StaleGeneration: Something newer is live.
        IntegrityBroken: The receipt is foreign, a byte differs, also in the registry's own files,
            or the registry says otherwise.
        RegistryTrouble: The receipt of what is live is missing.
    """
    from lockgate.deploy.check import check_deploy as check
    from lockgate.deploy.check import check_objects, check_stands
    from lockgate.domain.receipt import Origin

    live = registry.releases.live(system, environment)
    path = receipt_file or publisher.receipt_path(system)
    if receipt_file is None and live is not None and not path.exists():
        raise RegistryTrouble(
            f"generation {live.attempt.generation} is live in {environment}, but its receipt "
            f"`{path}` is missing",
            hint=f"have it published again: `lockgate settle {environment} -s {system}`",
        )
    receipt = check(
        publisher,
        system,
        Origin(registry.id, registry.epoch, environment),
        receipt_file=receipt_file,
        folder=folder,
        newest_generation=live.attempt.generation if live else None,
    )
    known = registry.releases.deployment(system, environment, receipt.generation)
    check_stands(receipt, known, registry.releases.newest(system, environment))
    if known is not None and receipt.state == "live":
        check_objects(receipt, registry.objects.is_intact)
    return receipt


def other_instances(
    registry: Registry, place: EnvironmentTarget, system: str, environment: str
) -> list[str]:
    """Return a line for each running instance that runs something else than what is live.

    Nothing is refused for it: deploying what is live is what helps.
    """
    from lockgate.loop.deployment import seen
    from lockgate.shown import shown

    live = registry.releases.live(system, environment)
    if live is None or not place.observes:
        return []
    try:
        instances = seen(registry, place, live.attempt)
    except LockgateError as error:
        return [error.what]
    words = {
        "stale": "runs what was live before",
        "unreceipted": "runs a version that was never published here",
        "unknown": "does not say which version it runs",
    }
    return [
        f"instance `{shown(one.name, limit=60)}` {words[one.state]}"
        for one in instances
        if one.state != "match"
    ]
