"""Policy and suite files, held against what is applied."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError

if TYPE_CHECKING:
    from lockgate.domain.policy import Policy
    from lockgate.ports import Draft, Registry
    from lockgate.upkeep.review_look import Surroundings
from lockgate.wiring.deploying import target
from lockgate.wiring.folders import read_draft
from lockgate.wiring.places import system_folder


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
