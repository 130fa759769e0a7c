"""`lockgate register`: give a change an identity that never changes again."""

from __future__ import annotations

from pathlib import Path

import click

from lockgate import wiring
from lockgate.cli.change import quarantined_words
from lockgate.cli.common import (
    Desk,
    desk,
    emit,
    folder_option,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
    wrapped,
)
from lockgate.errors import LockgateError, RegistryTrouble, UsageMistake
from lockgate.loop.register import Registered, register, register_from
from lockgate.shown import shown


@click.command("register", short_help="Give a change an identity that never changes again.")
@click.option("-m", "--reason", default="", metavar="REASON", help="Why, for people. Required.")
@click.option("--owner", metavar="NAME", help="Who answers for it; else lockgate.toml or git.")
@click.option("--parent", metavar="V", help="What it builds on; else the folder's lock says.")
@click.option("--experiment", is_flag=True, help="On the experiment track: reaches no environment.")
@click.option("--from", "source", metavar="XN", help="Make a winning experiment a release.")
@click.option("--keep-secrets", metavar="REASON", help="Register in spite of the secret check.")
@folder_option
@system_option
@registry_option
@json_option
def register_command(
    reason: str,
    owner: str | None,
    parent: str | None,
    experiment: bool,
    source: str | None,
    keep_secrets: str | None,
    folder: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Register a system's folder, or a winning experiment, as a version.

    Step 2 of 5. The identity is computed from every setting and every byte; owner, parent, reason
    and who ran this are kept with it. Registering the same folder again returns the same version.
    """
    if source and (experiment or parent or folder):
        raise UsageMistake(
            "--from takes the definition and parent from the registry",
            hint="leave out --experiment, --parent and --folder",
        )
    with desk(registry) as at:
        if source:
            name = wiring.choose_system(at.registry, system)
            winner = wiring.choose_version(at.registry, name, source)
            done = register_from(at.registry, winner, reason=reason, actor=at.actor, owner=owner)
            if wiring.locked_version(at.root, name) == winner.id:
                _note(at, wiring.system_folder(at.root, name, None), done)
        else:
            done = _from_folder(at, system, folder, reason, owner, parent, experiment, keep_secrets)
        quarantined = quarantined_words(at.registry, done.parent) if done.is_new else None
    if as_json:
        emit({**registered_body(done), "quarantined": quarantined})
        return
    show_registered(done)
    if quarantined:
        tell(f"note: {quarantined}")
    version = done.version
    tell(f"next: `lockgate evaluate {version.label} -s {version.system}`")


def _from_folder(
    at: Desk,
    system: str | None,
    folder: str | None,
    reason: str,
    owner: str | None,
    parent: str | None,
    experiment: bool,
    keep_secrets: str | None,
) -> Registered:
    where = wiring.system_folder(at.root, system, folder)
    draft = wiring.read_draft(at.root, where)
    base = wiring.choose_version(at.registry, draft.system, parent) if parent else None
    done = register(
        at.registry,
        draft,
        reason=reason,
        actor=at.actor,
        owner=owner or draft.owner or wiring.git_user(where),
        parent=base,
        track="experiment" if experiment else "release",
        find_secrets=wiring.find_secrets,
        keep_secrets=keep_secrets,
    )
    _note(at, where, done)
    return done


def _note(at: Desk, folder: Path, done: Registered) -> None:
    """Write a folder's lock; where that fails, say that the version is registered all the same."""
    version = done.version
    try:
        wiring.write_lock(folder, at.registry, version)
    except LockgateError as error:
        raise RegistryTrouble(
            f"{version.label} is registered, but its folder cannot note that: {error.what}",
            hint=f"make it writable and register again, or go on: `lockgate evaluate "
            f"{version.label} -s {version.system}`",
        ) from error


def registered_body(done: Registered) -> dict[str, object]:
    """Return a registration as a JSON value."""
    return {
        "is_new": done.is_new,
        "version": done.version,
        "parent": done.parent.label if done.parent else None,
    }


def show_registered(done: Registered) -> None:
    """Print a registration as people read it."""
    version = done.version
    origin = f"from {done.parent.label}" if done.parent else "the first of its line"
    if done.is_new:
        say(
            f"{mark('pass')} registered {version.label}  {version.id[:8]}  {origin} "
            f"by {shown(version.owner)}"
        )
        for line in wrapped(version.reason.splitlines()[0], 75):
            say(f"    {line}")
    else:
        say(f"{mark('pass')} {version.label}  {version.id[:8]}  is registered already")
