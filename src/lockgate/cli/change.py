"""`lockgate change`: what differs between a folder and the version it came from."""

from __future__ import annotations

import click

from lockgate import wiring
from lockgate.cli.common import (
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
from lockgate.domain.version import Version
from lockgate.loop.change import Change, change
from lockgate.ports import Registry
from lockgate.shown import shown


@click.command("change", short_help="Show how a folder differs from the version it came from.")
@click.option("--parent", metavar="V", help="Compare with this version instead of the lock's.")
@folder_option
@system_option
@registry_option
@json_option
def change_command(
    parent: str | None, folder: str | None, system: str | None, registry: str | None, as_json: bool
) -> None:
    """Show how a system's folder differs from the version it came from.

    Step 1 of 5. Looking changes nothing. Files that no component claims are listed: they are not
    part of the version, and that is how a definition drifts from what a team thinks it is.
    """
    with desk(registry, read_only=True) as at:
        where = wiring.system_folder(at.root, system, folder)
        draft = wiring.read_draft(at.root, where)
        base = wiring.choose_version(at.registry, draft.system, parent) if parent else None
        changed = change(at.registry, draft, parent=base)
        quarantined = quarantined_words(at.registry, changed.parent)
    if as_json:
        emit(
            {
                **change_body(changed),
                "unclaimed_is_complete": draft.is_unclaimed_complete,
                "quarantined": quarantined,
            }
        )
        return
    show_change(changed, is_complete=draft.is_unclaimed_complete)
    if quarantined:
        tell(f"note: {quarantined}")
    if changed.is_empty:
        tell("next: edit the folder, then run this again")
    else:
        tell(f"next: `lockgate register -s {changed.system} -m REASON`")


def quarantined_words(registry: Registry, parent: Version | None) -> str | None:
    """Say that what a folder comes from is quarantined; `None` when it is not."""
    if parent is None:
        return None
    found = registry.releases.quarantines(parent.system, definition=parent.definition)
    if not found:
        return None
    reason = shown(found[0].reason.splitlines()[0])
    return f"{parent.label} is quarantined, and this builds on it; mend that first: {reason}"


def change_body(changed: Change) -> dict[str, object]:
    """Return a change as a JSON value."""
    return {
        "system": changed.system,
        "definition": changed.definition,
        "parent": changed.parent.label if changed.parent else None,
        "is_empty": changed.is_empty,
        "components": changed.difference.components(),
        "settings": [
            {"component": c.component, "key": c.key, "before": c.before, "after": c.after}
            for c in changed.difference.settings
        ],
        "files": [
            {"component": c.component, "path": c.path, "kind": c.kind}
            for c in changed.difference.files
        ],
        "unclaimed": list(changed.unclaimed),
    }


def show_change(changed: Change, *, is_complete: bool = True) -> None:
    """Print a change as people read it.

    Args:
        changed: The folder against its parent.
        is_complete: False when there are more unclaimed files than the change names.
    """
    parent = changed.parent.label if changed.parent else "nothing registered yet"
    if changed.is_empty:
        say(f"{mark('pass')} {changed.system} is exactly {parent}")
    else:
        say(f"{mark('running')} {changed.system} against {parent}", bold=False)
        for line in changed.difference.summary():
            first, *others = wrapped(line, 74, items=True)
            say(f"    {first}")
            for other in others:
                say(f"      {other}")
    if changed.unclaimed:
        count = len(changed.unclaimed)
        claims = "files that no component claims" if count > 1 else "file that no component claims"
        more = "" if is_complete else "more than "
        say(f"{mark('inconclusive')} {more}{count} {claims}:")
        for path in changed.unclaimed[:8]:
            say(f"    {shown(path)}")
        if count > 8:
            say(f"    (+{count - 8}{'' if is_complete else ' or'} more)")
        tell("hint: claim them in lockgate.toml, or list them under [ignore] files = [...]")
