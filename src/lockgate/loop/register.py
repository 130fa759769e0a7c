"""Step 2, register: give a change an identity that never changes again.

- A reason is required; the owner comes from the flag, lockgate.toml or git; the registrar is who ran it.
- The parent comes from the flag or the lock; it is of the same system.
- A folder that is exactly its lock's version is that version; registering it again returns it.
- The same definition as its parent on the same track is an empty change and refused.
- Secrets are refused before a byte is written, in files and in settings, unless the reason for
  keeping them is recorded.
- A winner is registered as a release with the experiment as its parent, from the registry itself.
- Contents of an experiment that expired come back with the same bytes.
- A rehearsal is made from the live version's own bytes in the registry, so it holds no new secret.
- Either everything is stored, or nothing is; nobody else waits while large files are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

from lockgate.domain.components import Definition
from lockgate.domain.version import Version, person_problem, system_name_problem, version_id
from lockgate.errors import Refused, UsageMistake
from lockgate.loop.change import parent_of
from lockgate.loop.contents import bring_back, check_contents
from lockgate.ports import Draft, Registry, Writing
from lockgate.shown import shown

MAX_REASON_CHARACTERS = 10_000
MAX_INDEXED_BYTES = 1 << 20
"""How much of each prompt file is made searchable."""

FindSecrets = Callable[[str, BinaryIO], Sequence[str]]
"""Takes a path and its bytes, returns a line for each secret: `prompts/a.md:3 looks like …`."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The version a registration gave."""

    version: Version
    parent: Version | None
    is_new: bool
    """False when this very version was there already."""


def register(
    registry: Registry,
    draft: Draft,
    *,
    reason: str,
    actor: str,
    owner: str | None = None,
    parent: Version | None = None,
    track: str = "release",
    find_secrets: FindSecrets,
    keep_secrets: str | None = None,
) -> Registered:
    """Register a folder as a version.

    Args:
        registry: Where it is recorded.
        draft: The folder as it was just read.
        reason: Why the change was made, for people.
        actor: Who runs this; recorded as the registrar.
        owner: Who answers for the version; the draft's when left out.
        parent: The version it builds on; the lock's when left out.
        track: `release` or `experiment`.
        find_secrets: Looks for secrets in a file's bytes, and in each setting.
        keep_secrets: The reason for registering in spite of them; recorded with the version.

    Raises:
        UsageMistake: A reason is missing, a name is not allowed, or the parent is of another
            system.
        Refused: It is an empty change, or holds secrets.
        IntegrityBroken: A file changed since the folder was read; nothing was stored.
    """
    reason = _checked_reason(reason)
    owner = _checked_owner(owner or draft.owner)
    problem = system_name_problem(draft.system)
    if problem:
        raise UsageMistake(f"system name `{draft.system}` {problem}", hint="edit lockgate.toml")
    definition = draft.definition
    if parent is not None:
        _check_parent(parent, draft.system)
        _check_change(definition, parent, track)
    else:
        parent = parent_of(registry, draft)
        _check_origin(registry, draft.system, parent)
    known = _known(registry, draft.system, definition, parent, track)
    if known is not None:
        bring_back(registry, known.version, draft)
        return known
    if keep_secrets is not None and not keep_secrets.strip():
        raise UsageMistake(
            "keeping what looks like a secret needs a reason",
            hint="say why it is none: --keep-secrets REASON",
        )
    secrets = _secrets(draft, find_secrets)
    if secrets and keep_secrets is None:
        raise Refused(
            f"{len(secrets)} possible secret{'s' if len(secrets) > 1 else ''} in the folder; "
            "nothing was stored",
            problems=secrets,
            hint="take them out, or say why they are none: --keep-secrets REASON",
        )
    if secrets:
        reason = f"{reason}\n\nkept in spite of the secret check: {keep_secrets}\n" + "\n".join(
            secrets
        )
    new = _version(draft.system, definition, parent, track, owner, actor, reason)
    files = [
        (partial(draft.open, path), digest, draft.size_bytes(path))
        for path, digest in definition.files().items()
    ]
    for file in files:
        registry.objects.stage_file(*file)
    prompt = _prompt_text(draft)
    with registry.write() as writing:
        writing.ensure_system(draft.system, actor)
        for file in files:
            writing.put_file(*file)
        return _record(registry, writing, new, parent, definition, prompt)


def register_from(
    registry: Registry, source: Version, *, reason: str, actor: str, owner: str | None = None
) -> Registered:
    """Register a version's definition as a release, with that version as its parent.

    Args:
        registry: Where both are recorded.
        source: The experiment that won.
        reason: Why it becomes a release.
        actor: Who runs this.
        owner: Who answers for it; the source's owner when left out.

    Raises:
        Refused: The source is a release itself, which would be an empty change; or its contents
            expired.
    """
    reason = _checked_reason(reason)
    owner = _checked_owner(owner or source.owner)
    definition = registry.versions.definition(source.definition)
    _check_change(definition, source, "release")
    known = _known(registry, source.system, definition, source, "release")
    if known is not None:
        return known
    check_contents(registry, source)
    new = _version(source.system, definition, source, "release", owner, actor, reason)
    prompt = _stored_prompt_text(registry, definition)
    with registry.write() as writing:
        return _record(registry, writing, new, source, definition, prompt)


def register_rehearsal(
    registry: Registry,
    live: Version,
    definition: Definition,
    contents: Mapping[str, bytes],
    *,
    reason: str,
    actor: str,
) -> Registered:
    """Register a deliberately worse definition of what is live, on the track for rehearsals.

    Args:
        registry: Where both are recorded.
        live: What it was made from, and its parent.
        definition: The worse definition.
        contents: The bytes it does not share with its parent, by digest.
        reason: What was done to it.
        actor: Who rehearses.
    """
    known = _known(registry, live.system, definition, live, "rehearsal")
    gone = {digest: data for digest, data in contents.items() if not registry.objects.has(digest)}
    if known is not None and not gone:
        return known
    reason = _checked_reason(reason)
    new = _version(live.system, definition, live, "rehearsal", live.owner, actor, reason)
    with registry.write() as writing:
        for digest, data in gone.items():
            writing.put_file(partial(BytesIO, data), digest, len(data))
        if known is not None:
            return known
        prompt = _stored_prompt_text(registry, definition)
        return _record(registry, writing, new, live, definition, prompt)


def _version(
    system: str,
    definition: Definition,
    parent: Version | None,
    track: str,
    owner: str,
    actor: str,
    reason: str,
) -> Version:
    parent_id = parent.id if parent else None
    identity = version_id(system, definition.digest, parent_id, track)
    return Version(identity, system, definition.digest, parent_id, track, "", owner, actor, reason)


def _record(
    registry: Registry,
    writing: Writing,
    new: Version,
    parent: Version | None,
    definition: Definition,
    prompt_text: str,
) -> Registered:
    raced = registry.versions.get(new.id)
    if raced is not None:
        return Registered(raced, parent, is_new=False)
    writing.add_definition(definition)
    labelled = replace(new, label=writing.next_label(new.system, new.track))
    return Registered(writing.add_version(labelled, prompt_text), parent, is_new=True)


def _known(
    registry: Registry, system: str, definition: Definition, parent: Version | None, track: str
) -> Registered | None:
    parent_id = parent.id if parent else None
    same = registry.versions.get(version_id(system, definition.digest, parent_id, track))
    if same is not None:
        return Registered(same, parent, is_new=False)
    if parent is not None and parent.definition == definition.digest and parent.track == track:
        return Registered(parent, _parent(registry, parent), is_new=False)
    return None


def _check_parent(parent: Version, system: str) -> None:
    if parent.system != system:
        raise UsageMistake(
            f"`{parent.label}` is a version of `{parent.system}`; a parent is of the same system, "
            f"here `{system}`",
            hint=f"`lockgate log --all -s {system}` lists those that can be a parent",
        )


def _check_origin(registry: Registry, system: str, parent: Version | None) -> None:
    """Refuse to guess what a folder builds on when others have registered before."""
    newest = registry.versions.page(system, limit=1, track="release")
    if parent is None and newest:
        raise Refused(
            f"nothing says which version of `{system}` this folder builds on: it has no "
            "lockgate.lock of this registry",
            hint=f"say it: `lockgate register --parent {newest[0].label} -s {system} -m REASON`, "
            f"or begin from a version: `lockgate checkout {newest[0].label} DIR -s {system}`",
        )


def _check_change(definition: Definition, parent: Version, track: str) -> None:
    if parent.definition == definition.digest and parent.track == track:
        raise Refused(
            f"an empty change: this is exactly `{parent.label}`, its parent",
            hint=f"`lockgate show {parent.label}`; change something first",
        )


def _parent(registry: Registry, version: Version) -> Version | None:
    return registry.versions.get(version.parent) if version.parent else None


def _checked_reason(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise UsageMistake("a version needs a reason", hint="say why: -m REASON")
    if len(reason) > MAX_REASON_CHARACTERS:
        raise UsageMistake(
            f"the reason has {len(reason)} characters, at most {MAX_REASON_CHARACTERS} are kept",
            hint="keep the long story in a file of the definition",
        )
    try:
        reason.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageMistake("the reason is not valid UTF-8", hint="type it again") from error
    return reason


def _checked_owner(owner: str | None) -> str:
    if not owner:
        raise UsageMistake(
            "a version needs an owner",
            hint='pass --owner NAME, or write owner = "NAME" under [system] in lockgate.toml',
        )
    problem = person_problem(owner)
    if problem:
        raise UsageMistake(f"owner `{owner}` {problem}", hint="pass --owner NAME")
    return owner


def _secrets(draft: Draft, find_secrets: FindSecrets) -> list[str]:
    found: list[str] = []
    for path in sorted(draft.definition.files()):
        with draft.open(path) as stream:
            found += find_secrets(path, stream)
    for component, settings in draft.definition.settings().items():
        for key, line in _settings_lines(settings):
            table, _, inner = key.partition(".")
            is_run = (component, table) == ("code", "run")
            place = f"[run] {inner}" if is_run else f"[{component}] {key}"
            found += find_secrets(f"lockgate.toml {shown(place)}", BytesIO(line.encode()))
    return found


def _settings_lines(value: Any, key: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    """Give each single value in settings: where it is, and a line as a person would write it."""
    if isinstance(value, Mapping):
        for inner, held in value.items():
            yield from _settings_lines(held, f"{key}.{inner}" if key else inner, inner)
    elif isinstance(value, list):
        for number, held in enumerate(value, start=1):
            yield from _settings_lines(held, f"{key}.{number}", name)
    else:
        yield key, f'{name} = "{value}"'


def _prompt_text(draft: Draft) -> str:
    prompt = draft.definition.components.get("prompt")
    texts = []
    for path in sorted(prompt.paths()) if prompt else ():
        with draft.open(path) as stream:
            texts.append(stream.read(MAX_INDEXED_BYTES).decode("utf-8", "replace"))
    return "\n".join(texts)


def _stored_prompt_text(registry: Registry, definition: Definition) -> str:
    prompt = definition.components.get("prompt")
    texts = []
    for _, digest in sorted(prompt.paths().items()) if prompt else ():
        with registry.objects.open(digest) as stream:
            texts.append(stream.read(MAX_INDEXED_BYTES).decode("utf-8", "replace"))
    return "\n".join(texts)
