"""The only place that picks adapters: which registry, runner, signer and folder reader are used.

Every import of an adapter is inside the function that needs it, so that a command which only looks
never pays for runners, pydantic or sqlite-utils.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lockgate.errors import LockgateError, Refused, RegistryTrouble, UsageMistake

if TYPE_CHECKING:
    from lockgate.deploy.host_key import HostKey
    from lockgate.deploy.publisher import Publisher
    from lockgate.deploy.target import EnvironmentTarget
    from lockgate.domain.components import Definition
    from lockgate.domain.policy import Environment, Policy
    from lockgate.domain.receipt import Receipt
    from lockgate.domain.suite import Suite
    from lockgate.domain.version import Version
    from lockgate.loop.deployment import DeployEvent
    from lockgate.loop.evaluate import OpenRunner
    from lockgate.loop.register import Registered
    from lockgate.loop.ship import Tools
    from lockgate.ports import Draft, Registry, Runner, Signing
    from lockgate.upkeep.evidence import Collected, LiveReceipt
    from lockgate.upkeep.handoff import Workplace
    from lockgate.upkeep.ready import Around
    from lockgate.upkeep.review_look import Surroundings

REGISTRY_VARIABLE = "LOCKGATE_REGISTRY"
ACTOR_VARIABLE = "LOCKGATE_ACTOR"
_FOLDER, _FILE = ".lockgate", "registry.db"


def actor() -> str:
    """Return who is at the keyboard: `LOCKGATE_ACTOR`, else the login name."""
    name = os.environ.get(ACTOR_VARIABLE)
    if name is not None:
        from lockgate.domain.version import person_problem

        problem = person_problem(name)
        if problem:
            raise UsageMistake(
                f"{ACTOR_VARIABLE} `{name}` {problem}",
                hint=f"set it to your name, like `export {ACTOR_VARIABLE}=ml-team`",
            )
        return name
    import getpass

    try:
        login = getpass.getuser()
    except (OSError, KeyError):
        login = f"uid{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9._@+-]", "-", login).strip("-._@+") or f"uid{os.getuid()}"


def find_root(given: str | None, start: Path | None = None) -> Path:
    """Return the folder that holds the registry: as given, by the environment, or found upward.

    Raises:
        RegistryTrouble: There is none; the hint says how to make or name one.
    """
    named = given or os.environ.get(REGISTRY_VARIABLE)
    if named:
        root = _named_root(Path(named).expanduser().absolute())
        if (root / _FOLDER / _FILE).is_file():
            return root
        raise RegistryTrouble(
            f"there is no registry at `{named}`",
            hint=f"make one: `lockgate init {shlex.quote(named)}`",
        )
    here = (start or Path.cwd()).absolute()
    for root in (here, *here.parents):
        if (root / _FOLDER / _FILE).is_file():
            return root
    raise RegistryTrouble(
        f"there is no registry in `{here}` or above it",
        hint="make one with `lockgate init`, name one with --registry, or try `lockgate demo`",
    )


def find_place(given: str | None, start: Path | None = None) -> Path:
    """Return the folder a registry belongs in, also when the registry itself is gone or garbage.

    Raises:
        RegistryTrouble: There is no `.lockgate` folder.
    """
    named = given or os.environ.get(REGISTRY_VARIABLE)
    if named:
        root = _named_root(Path(named).expanduser().absolute())
        places = [root]
    else:
        here = (start or Path.cwd()).absolute()
        places = [here, *here.parents]
    for root in places:
        if (root / _FOLDER).is_dir():
            return root
    where = f"in `{places[0]}`" if named else f"in `{places[0]}` or above it"
    raise RegistryTrouble(
        f"there is no `{_FOLDER}` folder {where}, and the host's key is kept there",
        hint=f"bring `{_FOLDER}/host_key` and `{_FOLDER}/host_key.pub` back from a backup, "
        "or name the registry's folder: --registry DIR",
    )


def _named_root(path: Path) -> Path:
    """Return the folder that is meant by a path to it, to its `.lockgate`, or to the file there.

    Nothing else is taken for it: a mistyped folder below a registry must not mean that registry.
    """
    if path.name == _FILE and path.parent.name == _FOLDER:
        return path.parent.parent
    return path.parent if path.name == _FOLDER else path


def open_registry(root: Path, *, read_only: bool = False) -> Registry:
    """Open the registry of a folder."""
    from lockgate.storage.registry import open_registry as open_sqlite

    return open_sqlite(root, read_only=read_only)


def registry_identity(root: Path) -> tuple[int, int] | None:
    """Return what tells a registry's file from another under its name; `None` without one."""
    try:
        found = (root / _FOLDER / _FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def create_registry(root: Path, *, actor: str) -> Registry:
    """Make a registry in a folder, with a key of its own to sign receipts with."""
    from lockgate.storage.registry import create_registry as create_sqlite

    registry = create_sqlite(root, actor=actor)
    make_host_key(root)
    return registry


def applied_policy(registry: Registry) -> Policy:
    """Return the policy that counts.

    Raises:
        Refused: None was ever applied.
    """
    policy = applied_policy_or_none(registry)
    if policy is None:
        raise Refused(
            "no policy is applied yet, so nothing can be gated",
            hint="write policy.toml, then `lockgate policy apply`",
        )
    return policy


def applied_policy_or_none(registry: Registry) -> Policy | None:
    """Return the policy that counts; `None` before the first."""
    from lockgate.loop.standing import applied_policy as applied

    return applied(registry)


def find_folder(start: Path) -> Path | None:
    """Return the nearest folder upward that holds lockgate.toml."""
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / "lockgate.toml").is_file():
            return folder
    return None


def near_system() -> str | None:
    """Return the system of the nearest folder; `None` when there is none, or its file is broken."""
    near = find_folder(Path.cwd())
    if near is None:
        return None
    from lockgate.workspace.settings import read_system_name

    with contextlib.suppress(UsageMistake):  # who only looks is not stopped by what they edit
        return read_system_name(near)
    return None


def system_folder(root: Path, system: str | None, given: str | None) -> Path:
    """Return the folder a system is written in.

    Args:
        root: The registry's folder.
        system: Its name; `None` takes the nearest folder, else the only one below the registry's.
        given: A folder that was named; must hold lockgate.toml.

    Raises:
        UsageMistake: There is none, several could be meant, or the file of one that could be meant
            is not TOML.
    """
    if given is not None:
        return _given_folder(given, system)
    near = find_folder(Path.cwd())
    if near is not None and system is None:
        return near
    folders, mistakes = folders_by_system(root, near)
    found = folders.get(system or "", [])
    if near in found:
        return near
    if len(found) == 1:
        return found[0]
    if found:
        raise _several_folders(str(system), found)
    if system is not None:
        raise _no_folder(root, system, folders, mistakes)
    return _only_folder(root, folders, mistakes)


def folders_by_system(
    root: Path, near: Path | None = None
) -> tuple[dict[str, list[Path]], list[UsageMistake]]:
    """Return the folders that each system is written in, and what hides the names of others.

    Args:
        root: The registry's folder.
        near: A folder that counts wherever it is.
    """
    from lockgate.workspace.settings import read_system_name

    folders: dict[str, list[Path]] = {}
    mistakes: list[UsageMistake] = []
    places = {folder.resolve(): folder for folder in system_folders(root)}
    if near is not None:
        places[near.resolve()] = near
    for folder in places.values():
        try:
            name = read_system_name(folder)
        except UsageMistake as mistake:
            mistakes.append(mistake)
            continue
        # A file that names none is told what is wrong with it when the folder is read.
        folders.setdefault(name or "", []).append(folder)
    return folders, mistakes


def _several_folders(system: str, folders: Sequence[Path]) -> UsageMistake:
    return UsageMistake(
        f"system `{system}` is written in {len(folders)} folders",
        problems=[str(folder) for folder in folders],
        hint="say which with -C DIR, or go into it",
    )


def _no_folder(
    root: Path, system: str, folders: Mapping[str, list[Path]], mistakes: Sequence[UsageMistake]
) -> UsageMistake:
    if len(mistakes) == 1:
        return mistakes[0]
    if mistakes:
        return UsageMistake(
            f"no folder of system `{system}` was found, and {len(mistakes)} cannot be read",
            problems=[mistake.what for mistake in mistakes],
            hint="correct them, or name the folder: -C DIR",
        )
    names = ", ".join(sorted(filter(None, folders)))
    return UsageMistake(
        f"no folder of system `{system}` was found below `{root}`",
        hint=f"there are {names}; or name a folder: -C DIR" if names else "name it: -C DIR",
    )


def _only_folder(
    root: Path, folders: Mapping[str, list[Path]], mistakes: Sequence[UsageMistake]
) -> Path:
    every = [folder for found in folders.values() for folder in found]
    if not mistakes and len(every) == 1:
        return every[0]
    if not mistakes and len(folders) == 1 and every:
        raise _several_folders(next(iter(folders)), every)
    if len(mistakes) == 1 and not every:
        raise mistakes[0]
    if not mistakes and not every:
        raise UsageMistake(
            f"there is no lockgate.toml here, above, or in a folder of `{root / 'systems'}`",
            hint="`lockgate init` writes a first one, `lockgate checkout VERSION DIR` one that is "
            "registered",
        )
    several = several_systems(", ".join(sorted(filter(None, folders))) or "none can be read")
    unread = [mistake.what for mistake in mistakes]
    raise UsageMistake(several.what, problems=unread, hint=several.hint)


def _given_folder(given: str, system: str | None) -> Path:
    from lockgate.workspace.settings import read_system_name

    folder = Path(given).absolute()
    if not (folder / "lockgate.toml").exists():
        raise UsageMistake(
            f"there is no lockgate.toml in `{given}`", hint="name a system's folder: -C DIR"
        )
    named = read_system_name(folder)
    if system is not None and named is not None and named != system:
        raise UsageMistake(
            f"`{given}` holds system `{named}`, not `{system}`", hint="leave out -s or -C"
        )
    return folder


def system_folders(root: Path) -> list[Path]:
    """Return the folders of a registry that hold lockgate.toml, in the usual places."""
    found = [*root.glob("*/lockgate.toml"), *(root / "systems").glob("*/lockgate.toml")]
    return [path.parent for path in sorted(found)] + (
        [root] if (root / "lockgate.toml").exists() else []
    )


def several_systems(names: str) -> UsageMistake:
    """Return the refusal to guess which of several systems is meant."""
    return UsageMistake(
        f"this registry holds several systems: {names}",
        hint="say which with -s SYSTEM, or go into its folder",
    )


def choose_system(registry: Registry, given: str | None) -> str:
    """Return the system a command is about: as given, the nearest folder's, or the only one.

    Raises:
        UsageMistake: The name is unknown, or several could be meant.
    """
    known = registry.versions.systems()
    if given is not None:
        if given in known:
            return given
        raise UsageMistake(
            f"there is no system `{given}` in this registry",
            hint=f"there are {', '.join(known)}"
            if known
            else "go into a system's folder and run `lockgate register -m REASON`",
        )
    named = near_system()
    if named in known:
        return str(named)
    if len(known) == 1:
        return known[0]
    if not known:
        raise UsageMistake(
            "nothing is registered here yet",
            hint="go into a system's folder and run `lockgate register -m REASON`",
        )
    raise several_systems(", ".join(known))


def page_system(root: Path, registry: Registry, given: str | None) -> str:
    """Return the system a page is about; it may be written only, with no version yet.

    Raises:
        UsageMistake: As `choose_system`.
    """
    known = registry.versions.systems()
    written = [name for name in folders_by_system(root)[0] if name and name not in known]
    if given in written:
        return str(given)
    if given is None and not known and len(written) == 1:
        return written[0]
    return choose_system(registry, given)


def workplace(root: Path, registry: Registry, system: str, policy: Policy | None) -> Workplace:
    """Return what only this machine knows of a system: its folder, and whose keys lie here."""
    from lockgate.upkeep.handoff import Workplace

    keys = dict(_keys_here(root, registry, policy))
    try:
        folder = system_folder(root, system, None).resolve().relative_to(root.resolve())
    except (UsageMistake, ValueError):
        return Workplace(keys=keys)
    names_owner = _names_owner(root / folder)
    return Workplace(
        folder.as_posix(), names_owner, keys, lambda path: (root / folder / path).is_file()
    )


def _names_owner(folder: Path) -> bool:
    import tomllib

    try:
        told = tomllib.loads((folder / "lockgate.toml").read_text(encoding="utf-8"))
        return bool(told.get("system", {}).get("owner"))
    except (OSError, ValueError, AttributeError):
        return True


def _keys_here(root: Path, registry: Registry, policy: Policy | None) -> Iterator[tuple[str, str]]:
    """Give the reviewers whose private keys lie in the registry's folder, as in a practice copy."""
    from lockgate.domain.approval import fingerprint, parse_signers

    for environment in policy.environments.values() if policy else ():
        if environment.signers_digest is None:
            continue
        try:
            signers = parse_signers(registry.objects.read(environment.signers_digest))
        except (LookupError, ValueError, LockgateError):
            continue
        for signer in signers:
            path = root / "keys" / signer.name
            with contextlib.suppress(OSError, ValueError):
                public = path.with_name(f"{signer.name}.pub").read_text(encoding="ascii")
                if path.is_file() and fingerprint(public) == signer.fingerprint:
                    yield signer.name, f"keys/{signer.name}"


def write_file(path: Path, data: bytes) -> None:
    """Replace a file whole: whoever reads it finds the old bytes or the new ones."""
    from lockgate.deploy.files import replace_file

    replace_file(str(path), data)


def choose_version(registry: Registry, system: str, text: str) -> Version:
    """Return the version that a label, an id, or an environment where it is live names.

    Raises:
        UsageMistake: There is none.
    """
    if text in registry.releases.environments(system):
        live = registry.releases.live(system, text)
        version = registry.versions.get(live.attempt.version or "") if live else None
        if version is not None:
            return version
    return registry.versions.named(system, text)


def read_draft(root: Path, folder: Path) -> Draft:
    """Read a system's folder as it is now."""
    from lockgate.workspace.folder import read_folder
    from lockgate.workspace.hashing import HashCache

    cache = HashCache(root / _FOLDER / "hashes.json")
    draft = read_folder(folder, cache=cache)
    with contextlib.suppress(OSError):
        cache.save()
    return draft


def git_user(folder: Path) -> str | None:
    """Return the name git would commit under in a folder, as an owner's id; `None` without git."""
    import subprocess

    for key in ("user.email", "user.name"):
        try:
            asked = subprocess.run(
                ["git", "config", "--get", key],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        name = re.sub(r"[^A-Za-z0-9._@+-]+", "-", asked.stdout.strip())[:64].strip("-._@+")
        if name:
            return name
    return None


def find_secrets(path: str, stream: BinaryIO) -> Sequence[str]:
    """Return a line for each thing in a file's bytes that looks like a secret."""
    from lockgate.workspace.secrets import secrets_in

    return [
        f"{found.path}:{found.line} {found.rule}: {found.excerpt}"
        for found in secrets_in(path, stream)
    ]


def write_lock(folder: Path, registry: Registry, version: Version) -> None:
    """Note in a folder which version it is; a note that says so already is left alone."""
    from lockgate.workspace.lock import Lock, read_lock
    from lockgate.workspace.lock import write_lock as write

    definition = registry.versions.definition(version.definition)
    lock = Lock(
        version.system, version.id, version.label, definition.digest, definition.component_digests
    )
    with contextlib.suppress(LockgateError):
        if read_lock(folder) == lock:
            return
    write(folder, lock)


def locked_version(root: Path, system: str) -> str | None:
    """Return the version id that the lock of a system's folder names, if that folder is found."""
    from lockgate.workspace.lock import read_lock

    try:
        folder = system_folder(root, system, None)
    except UsageMistake:
        return None
    lock = read_lock(folder)
    return lock.version if lock is not None and lock.system == system else None


def ship_tools(
    root: Path,
    folder: Path,
    registry: Registry,
    concurrency: int | None,
    tell: Callable[[DeployEvent], None] | None = None,
) -> Tools:
    """Return what `loop.ship` needs from outside."""
    from functools import partial

    from lockgate.loop.ship import Tools

    def note(registered: Registered) -> None:
        write_lock(folder, registry, registered.version)

    return Tools(
        runner_opener(root, registry, concurrency),
        find_secrets,
        note,
        partial(target, root),
        signing(),
        tell,
    )


def materialise(registry: Registry, definition: Definition, target: Path) -> None:
    """Write a definition's files from the registry into a folder, every byte hashed again."""
    from lockgate.workspace.materialise import materialise as write

    write(definition, registry.objects.open, target)


def runner_opener(root: Path, registry: Registry, concurrency: int | None = None) -> OpenRunner:
    """Return what makes a version ready to be asked, on this machine."""

    @contextlib.contextmanager
    def open_runner(version: Version, suite: Suite) -> Iterator[Runner]:
        from lockgate.workspace.where import read_where

        where = read_where(root, version.system)
        definition = registry.versions.definition(version.definition)
        at_once = concurrency or where.concurrency or min(os.cpu_count() or 1, 4)
        with registry.scratch() as scratch:
            materialise(registry, definition, scratch / "definition")
            limit_s = where.timeout_s or suite.timeout_s
            yield _runner(definition, scratch, suite.seed, limit_s, at_once)

    return open_runner


def _runner(
    definition: Definition, scratch: Path, seed: int, timeout_s: float, concurrency: int
) -> Runner:
    settings, folder = definition.settings(), scratch / "definition"
    run = settings.get("code", {}).get("run", {})
    kind = run.get("kind")
    if kind == "python":
        from lockgate.runners.python import PythonRunner

        return PythonRunner(
            folder,
            run["target"],
            settings,
            seed=seed,
            timeout_s=timeout_s,
            concurrency=concurrency,
            scratch=scratch,
        )
    if kind == "command":
        from lockgate.runners.command import CommandRunner

        return CommandRunner(
            folder,
            list(run["command"]),
            settings,
            seed=seed,
            timeout_s=timeout_s,
            concurrency=concurrency,
            scratch=scratch,
        )
    raise UsageMistake(
        f"this release cannot run versions of kind `{kind}`",
        hint='use [run] kind = "python" or "command"',
    )


def signing() -> Signing:
    """Return what makes and checks signatures."""
    from lockgate.signing import ssh

    return ssh


def policy_state(root: Path, registry: Registry) -> tuple[str, list[str]]:
    """Hold policy.toml against what is applied.

    Returns:
        `applied`, `differs from what is applied`, `is missing` or `cannot be read`, and in the
        last case everything that is wrong with it.
    """
    from lockgate.canonical import digest_json
    from lockgate.workspace.policies import read_policy

    if not (root / "policy.toml").exists():
        return "is missing", []
    try:
        file = read_policy(root)
    except LockgateError as error:
        return "cannot be read", [*error.problems] or [error.what]
    applied = registry.applied.policy()
    same = applied is not None and applied.policy == file.digest
    if same and applied is not None and applied.rules == digest_json(file.policy.body()):
        return "applied", []
    return "differs from what is applied", []


def policy_apart(root: Path, registry: Registry, policy: Policy | None) -> list[str]:
    """Return what of the policy's files has other bytes than what is applied, a sentence each.

    Nothing is read but bytes, so that the commands that people call most can afford it. That a
    file is missing is no difference: it may be kept elsewhere.
    """
    from lockgate.canonical import digest_bytes

    applied = registry.applied.policy()
    if applied is None:
        return []
    wanted = {"policy.toml": applied.policy}
    for environment in policy.environments.values() if policy else ():
        if environment.signers is not None and environment.signers_digest is not None:
            wanted[environment.signers] = environment.signers_digest
    found = []
    for name, digest in wanted.items():
        with contextlib.suppress(OSError):
            if digest_bytes((root / name).read_bytes()) != digest:
                found.append(f"`{name}` differs from what is applied")
    return found


def unapplied(root: Path, registry: Registry, system: str, policy: Policy | None) -> list[str]:
    """Return what of the files that judge a system differs from what is applied, a sentence each."""
    states = suite_states(root, registry, system)
    return [
        *policy_apart(root, registry, policy),
        *(
            f"suite `{row['name']}` differs from what is applied"
            for row in states
            if row["file"] == "differs"
        ),
    ]


def signers_files(root: Path, policy: Policy | None) -> dict[str, str | None]:
    """Return each signers file of a policy with the digest of its bytes; `None` when it is gone."""
    from lockgate.canonical import digest_bytes

    found: dict[str, str | None] = {}
    for environment in policy.environments.values() if policy else ():
        if environment.signers is not None:
            try:
                found[environment.signers] = digest_bytes((root / environment.signers).read_bytes())
            except OSError:
                found[environment.signers] = None
    return found


def surroundings(
    root: Path, registry: Registry, system: str, policy: Policy | None, given: str | None
) -> Surroundings:
    """Return what only this machine knows of a system, for a review.

    Args:
        root: The registry's folder.
        registry: What is applied.
        system: What is reviewed.
        policy: As applied.
        given: The system's folder, if it was named.

    Raises:
        UsageMistake: The folder that was named is none, or of another system.
    """
    from lockgate.upkeep.review_look import Surroundings

    folder: Path | None = None
    draft: Draft | None = None
    trouble: LockgateError | None = None
    try:
        folder = system_folder(root, system, given)
        draft = read_draft(root, folder)
    except LockgateError as error:
        if given is not None and folder is None:
            raise
        trouble = error
    state, problems = policy_state(root, registry)
    return Surroundings(
        {name: target(root, system, one) for name, one in policy.environments.items()}
        if policy
        else {},
        (state, tuple(problems)),
        tuple(suite_states(root, registry, system)),
        signers_files(root, policy),
        os.path.relpath(folder) if folder is not None else None,
        draft,
        trouble,
    )


def suite_files(root: Path) -> list[str]:
    """Return the names of the suite files below `suites/`."""
    from lockgate.workspace.suites import suite_names

    return suite_names(root)


def suite_file_system(root: Path, name: str) -> str | None:
    """Return the system a suite file is for, without checking the rest of it."""
    import tomllib

    path = root / "suites" / f"{name}.toml"
    if not path.is_file():
        return None
    try:
        suite = tomllib.loads(path.read_text(encoding="utf-8")).get("suite")
    except (OSError, ValueError):
        return None
    system = suite.get("system") if isinstance(suite, dict) else None
    return system if isinstance(system, str) else None


def suite_states(root: Path, registry: Registry, system: str | None) -> list[dict[str, Any]]:
    """Hold every suite file against what is applied.

    Returns:
        A row a suite: system, name, cases, digest of what is applied, and `file`: `applied`,
        `differs`, `new`, `missing` or what is wrong with it.
    """
    from lockgate.workspace.suites import read_suite

    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for known in registry.versions.systems():
        for info in registry.applied.suites(known).values():
            rows[known, info.name] = {
                "system": known,
                "name": info.name,
                "cases": info.cases,
                "digest": info.digest,
                "file": "missing",
            }
    for name in suite_files(root):
        try:
            suite = read_suite(root, name).suite
        except LockgateError as error:
            key = (suite_file_system(root, name) or "?", name)
            row = rows.setdefault(key, {"cases": None, "digest": None})
            row |= {"system": key[0], "name": name, "file": error.what}
            continue
        key = (suite.system, name)
        row = rows.setdefault(key, {"digest": None, "cases": len(suite.cases)})
        state = "applied" if row["digest"] == suite.digest else "differs"
        row |= {"system": suite.system, "name": name, "file": state if row["digest"] else "new"}
    return [row for row in rows.values() if system is None or row["system"] == system]


def host_key(root: Path) -> HostKey:
    """Return the key this host signs receipts with; it may not be there."""
    from lockgate.deploy.host_key import HostKey

    return HostKey(root / _FOLDER, signing())


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
        make(root / _FOLDER, ssh.make_key)
    except Refused:
        return False
    return True


@dataclass(frozen=True, slots=True)
class WrittenEvidence:
    """A bundle of evidence that was written."""

    collected: Collected
    files: int
    size_bytes: int
    is_signed: bool


def write_evidence(
    root: Path,
    registry: Registry,
    version: Version,
    policy: Policy | None,
    file: Path,
    *,
    with_files: bool,
    with_outputs: bool,
    unsigned: bool,
) -> WrittenEvidence:
    """Write a version's evidence, signed with this host's key.

    Raises:
        Refused: There is no key and nobody said that it may be unsigned, or it cannot be used.
        IntegrityBroken: Something that belongs into it is damaged.
        OSError: The file cannot be written; none is left behind.
    """
    from lockgate.deploy.bundle import write_bundle
    from lockgate.upkeep.evidence import collect
    from lockgate.upkeep.statement import sealed

    key = host_key(root)
    if not key.exists() and not unsigned:
        raise Refused(
            "this host has no key to sign with, so nobody would vouch for the evidence",
            hint="bring `.lockgate/host_key` back, or write it unsigned: --unsigned",
        )
    receipts, doubts = _live_receipts(root, registry, version, policy)
    found = collect(
        registry,
        version,
        policy,
        receipts,
        with_files=with_files,
        with_outputs=with_outputs,
        host_key=key.public() if key.exists() else None,
        doubts=doubts,
    )
    members = sealed(registry, found, key.sign if key.exists() else None)
    size = write_bundle(file, found.name, members, registry.objects.open, version.at)
    return WrittenEvidence(found, len(members), size, key.exists())


def _live_receipts(
    root: Path, registry: Registry, version: Version, policy: Policy | None
) -> tuple[list[LiveReceipt], list[str]]:
    """Return the receipts of where a version is live, and which of them do not count."""
    from lockgate.domain.payload import opened
    from lockgate.upkeep.evidence import LiveReceipt

    receipts, doubts = [], []
    for name in sorted(registry.releases.where_live(version.system).get(version.id, [])):
        environment = policy.environments.get(name) if policy else None
        place = target(root, version.system, environment).publisher if environment else None
        if place is None:
            continue
        try:
            receipt = place.current(version.system)
        except LockgateError as error:
            doubts.append(f"receipt of {name}: {error.what}")
            continue
        if receipt is None or receipt.version != version.id:
            doubts.append(f"receipt of {name}: {'none' if receipt is None else 'of another one'}")
            continue
        data = place.receipt_path(version.system).read_bytes()
        receipts.append(LiveReceipt(name, data, *opened(data)))
    return receipts, doubts


def target(root: Path, system: str, environment: Environment) -> EnvironmentTarget:
    """Return where a system's versions go in an environment."""
    from functools import partial

    from lockgate.deploy.target import EnvironmentTarget
    from lockgate.workspace.materialise import materialise as write

    return EnvironmentTarget(
        root, system, environment, host_key(root), partial(write, durable=True)
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


def offline_target(
    root: Path, environment: str, system: str | None, publish: str | None
) -> tuple[str, EnvironmentTarget]:
    """Return a system and where it goes in an environment, without the registry.

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
    if publish is not None:
        from dataclasses import replace

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
    found = EnvironmentTarget(root, name, settings, host_key(root), _no_contents)
    if found.has_lost_key(name):
        raise Refused(
            f"the host's key is missing, so no receipt can be signed: `{root / _FOLDER}/host_key`",
            hint="bring `host_key` and `host_key.pub` back from a backup into "
            f"`{root / _FOLDER}`: a backup of `{_FOLDER}/` holds them",
        )
    return name, found


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
