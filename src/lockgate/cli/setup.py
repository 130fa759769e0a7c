"""`lockgate init`: a registry to begin with."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from lockgate import wiring
from lockgate.cli.applied import apply_new_suites, apply_policy_file
from lockgate.cli.common import (
    Desk,
    emit,
    json_option,
    mark,
    say,
    tell,
)
from lockgate.domain.version import person_problem, system_name_problem
from lockgate.errors import (
    Refused,
    RegistryTrouble,
    UsageMistake,
)
from lockgate.ports import Registry
from lockgate.shown import shown
from lockgate.story.starter import write_starter


@click.command("init", short_help="Make a registry with a small system that runs.")
@click.argument("folder", required=False, metavar="[DIR]")
@click.option("-s", "--system", metavar="NAME", help="The system's name; else first-system.")
@click.option("--owner", metavar="NAME", help="Who answers for it; else you.")
@json_option
def init_command(folder: str | None, system: str | None, owner: str | None, as_json: bool) -> None:
    """Make a registry in DIR, with a policy, a small system and a suite that judges it.

    Files that are there already are left alone. In a registry it writes what is missing, the
    policy as it is applied. The loop can be walked at once: `lockgate ship`.
    """
    root = Path(folder).expanduser().absolute() if folder else _nearest_root()
    actor = wiring.actor()
    owner = owner or actor
    name_problem = system_name_problem(system) if system is not None else None
    if name_problem:
        raise UsageMistake(f"system name `{system}` {name_problem}", hint="pass -s NAME")
    owner_problem = person_problem(owner)
    if owner_problem:
        raise UsageMistake(f"owner `{owner}` {owner_problem}", hint="pass --owner NAME")
    is_new, registry = _made_or_opened(root, actor)
    try:
        known = registry.versions.systems()
        name = system or _only_system(root, known) or "first-system"
        written = _restore_policy(root, registry)
        if not any(registry.versions.page(one, limit=1) for one in known):
            written += write_starter(root, name, owner)
        at = Desk(root, registry, actor)
        applied = []
        if wiring.applied_policy_or_none(registry) is None:
            apply_policy_file(at)
            applied.append("policy applied")
        if is_new:
            apply_new_suites(at, name, quietly=True)
            applied += [
                f"suite {suite.name} applied: {suite.cases} cases"
                for suite in registry.applied.suites(name).values()
            ]
        has_suite = bool(registry.applied.suites(name))
    finally:
        registry.close()
    if not is_new and not written:
        raise Refused(
            f"there is a registry in `{root}` already, and nothing is missing",
            hint=f"`lockgate status --registry {shlex.quote(str(root))}`",
        )
    paths = [str(path.relative_to(root)) for path in written]
    if as_json:
        emit({"root": root, "is_new": is_new, "written": paths})
        return
    what = "registry made in" if is_new else "written into the registry's folder"
    say(f"{mark('pass')} {what} {shown(root)}")
    for line in applied:
        say(f"{mark('pass')} {shown(line)}")
    for path in paths:
        say(f"    {shown(path)}")
    if is_new:
        there = f"`cd {shown(shlex.quote(folder))}`, then " if folder and root != Path.cwd() else ""
        then = f'`lockgate ship -s {name} --to staging -m "First version"`'
        if not has_suite:
            then = "write suites/NAME.toml with cases, then `lockgate suite apply`"
        tell(f"next: {there}{then}")


def _nearest_root() -> Path:
    """Return the folder of the registry one is in, else the folder one is in."""
    try:
        return wiring.find_root(None)
    except RegistryTrouble:
        if os.environ.get(wiring.REGISTRY_VARIABLE):
            raise
        return Path.cwd()


def _only_system(root: Path, known: Sequence[str]) -> str | None:
    names = {*known, *wiring.folders_by_system(root)[0]} - {""}
    return names.pop() if len(names) == 1 else None


def _made_or_opened(root: Path, actor: str) -> tuple[bool, Registry]:
    if (root / ".lockgate" / "registry.db").is_file():
        return False, wiring.open_registry(root)
    if (root / "policy.toml").exists():
        from lockgate.workspace.policies import read_policy

        read_policy(root)  # a mistake in it shows before anything is made
    return True, wiring.create_registry(root, actor=actor)


def _restore_policy(root: Path, registry: Registry) -> list[Path]:
    """Write the policy that is applied, and its signers files, where they are missing."""
    applied, policy = registry.applied.policy(), wiring.applied_policy_or_none(registry)
    if applied is None or policy is None:
        return []
    contents = {root / "policy.toml": applied.policy}
    for environment in policy.environments.values():
        if environment.signers and environment.signers_digest:
            contents[root / environment.signers] = environment.signers_digest
    missing = {path: digest for path, digest in contents.items() if not path.exists()}
    for path, digest in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(registry.objects.read(digest))
    return list(missing)
