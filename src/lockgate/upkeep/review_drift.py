"""Has the definition drifted from what teams do?

- Every file in the system's folder belongs to a component or is ignored by name.
- A component that was recorded once is still recorded.
- The model is pinned; what was registered in spite of the secret check is named.
- The folder is the version its lock says, and that is the newest release or descends from it.
"""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.domain.release import Finding
from lockgate.domain.version import Version
from lockgate.upkeep.review_look import DRIFT, Look, Step, count, found, named

LOOKED_BACK = 50
"""How many of the newest releases are looked at."""
KEPT_SECRETS = "kept in spite of the secret check:"
"""How `register` notes its override in a version's reason."""


def drifted(look: Look) -> Iterator[Step]:
    """Ask the second question."""
    releases = look.registry.versions.page(look.system, limit=LOOKED_BACK, track="release")
    current = _current(look, releases)
    yield _components(look, releases, current)
    yield _floating(look, current)
    yield _secrets(look, releases)
    if look.around.folder is None:
        trouble = look.around.trouble
        told = f": {trouble.what}" if trouble else ""
        reason = f"the system's folder is not on this machine or was not found{told}"
        yield found(DRIFT, "folder", "skipped", reason, "name it with -C DIR")
        return
    if look.around.draft is None:
        error = look.around.trouble
        what = f"`{look.around.folder}` cannot be read"
        if error is not None:
            what += f": {error.what}" + (f": {named(error.problems)}" if error.problems else "")
        yield found(DRIFT, "folder", "fail", what, error.hint if error else "")
        return
    yield _unclaimed(look)
    yield _lock(look, releases)


def _current(look: Look, releases: list[Version]) -> dict[str, Version]:
    """Return what counts now: the newest release, and what is live, by what they are called."""
    current = {"the newest release": releases[0]} if releases else {}
    for environment in look.environments():
        _, version = look.live(environment)
        if version is not None and version.track == "release":
            current[f"live in {environment}"] = version
    return current


def _components(look: Look, releases: list[Version], current: dict[str, Version]) -> Finding:
    last_had: dict[str, Version] = {}
    for version in releases:
        for name in look.registry.upkeep.components(version.definition):
            last_had.setdefault(name, version)
    gone = []
    for what, version in current.items():
        have = look.registry.upkeep.components(version.definition)
        gone += [
            f"{version.label} ({what}) has no `{name}`, which {had.label} has"
            for name, had in sorted(last_had.items())
            if name not in have and had.seq < version.seq
        ]
    looked = f"the newest {count(len(releases), 'release')}"
    if gone:
        hint = (
            "record it again: claim its files or settings in lockgate.toml, then "
            + look.command("register -m REASON")
        )
        return found(
            DRIFT,
            "components",
            "fail",
            f"{named(gone)}; looked at {looked}",
            hint,
            looked_at=len(releases),
        )
    if not releases:
        return found(DRIFT, "components", "skipped", "no release is registered")
    reason = f"{named(sorted(last_had))} in what counts now; looked at {looked}"
    return found(DRIFT, "components", "pass", reason, looked_at=len(releases))


def _floating(look: Look, current: dict[str, Version]) -> Finding:
    floating = {}
    for version in current.values():
        settings = look.registry.versions.definition(version.definition).settings()
        model = settings.get("model", {})
        if "floating" in model:
            floating[version.label] = f"{version.label}: `{model.get('name')}`, {model['floating']}"
    if floating:
        hint = "pin it in `[model]` with `file`, `digest` or `revision`, and register that"
        reason = f"nothing says which weights answer: {named(floating.values())}"
        return found(DRIFT, "pinned model", "fail", reason, hint, looked_at=len(current))
    labels = sorted({version.label for version in current.values()})
    if not labels:
        return found(DRIFT, "pinned model", "skipped", "nothing is registered or live")
    reason = f"no name floats in {named(labels)}"
    return found(DRIFT, "pinned model", "pass", reason, looked_at=len(labels))


def _secrets(look: Look, releases: list[Version]) -> Finding:
    kept = [version for version in releases if KEPT_SECRETS in version.reason]
    new = [one for one in kept if look.last is None or one.seq > look.last.seq]
    looked = f"the newest {count(len(releases), 'release')}"
    if new:
        return found(
            DRIFT,
            "secret check",
            "fail",
            f"overridden {look.since} for {named(f'{one.label} by {one.registrar}' for one in new)}",
            f"read why: {look.command(f'show {new[0].label}')}",
            looked_at=len(releases),
        )
    before = f"; before that for {named(one.label for one in kept)}" if kept else ""
    reason = f"not overridden {look.since} in {looked}{before}"
    return found(DRIFT, "secret check", "pass", reason, looked_at=len(releases))


def _unclaimed(look: Look) -> Finding:
    draft, folder = look.around.draft, look.around.folder
    assert draft is not None
    claimed = len(draft.definition.files())
    if draft.unclaimed:
        more = "" if draft.is_unclaimed_complete else " or more"
        number = len(draft.unclaimed)
        return found(
            DRIFT,
            "unclaimed files",
            "fail",
            f"{count(number, 'file')}{more} in `{folder}` belong to no component: "
            f"{named(f'`{path}`' for path in draft.unclaimed)}",
            "claim them in `files` of a component in lockgate.toml, or name them in "
            f"`[ignore] files`; {look.command('change')} lists them",
            looked_at=claimed + number,
        )
    reason = f"each of {count(claimed, 'file')} in `{folder}` belongs to a component"
    return found(DRIFT, "unclaimed files", "pass", reason, looked_at=claimed)


def _lock(look: Look, releases: list[Version]) -> Finding:
    draft, folder = look.around.draft, look.around.folder
    assert draft is not None
    rule = "folder and lock"
    if draft.locked_version is None:
        hint = f"name what it builds on: {look.command('register --parent V -m REASON')}"
        what = f"`{folder}` has no lock, so nothing says which version it is"
        return found(DRIFT, rule, "fail", what, hint)
    version = look.registry.versions.get(draft.locked_version)
    if version is None:
        what = (
            f"the lock of `{folder}` names `{draft.locked_version[:12]}`, which is not registered"
        )
        hint = f"it is of another registry; register here: {look.command('register --parent V -m REASON')}"
        return found(DRIFT, rule, "fail", what, hint)
    apart = []
    if version.definition != draft.definition.digest:
        apart.append(f"`{folder}` is not {version.label} any more, which its lock says")
    newest = releases[0] if releases else None
    if newest is not None and not look.registry.versions.descends(version.id, newest.id):
        apart.append(f"its lock names {version.label}, and {newest.label} is the newest release")
    if apart:
        hint = f"{look.command('change')} shows what differs; {look.command('register -m REASON')} records it"
        if len(apart) == 1 and newest is not None and version.definition == draft.definition.digest:
            hint = f"begin from it: {look.command(f'checkout {newest.label} DIR')}"
        return found(DRIFT, rule, "fail", named(apart), hint)
    return found(DRIFT, rule, "pass", f"`{folder}` is {version.label}, as its lock says")
