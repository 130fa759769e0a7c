"""Read `policy.toml` and the signers files it names; every mistake is named at once.

- What is not known is refused: no key, no word and no number is passed over.
- Each mistake gives the key, the value, what is allowed and, for a slip, what was probably meant.
- A path stays inside the registry's root.
- Reviewers have keys, unless the environment says `accept_claimed = true`.
"""

from __future__ import annotations

import graphlib
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from lockgate.canonical import digest_bytes
from lockgate.domain.approval import NAMESPACE, SignersMistake, parse_signers
from lockgate.domain.metrics import is_score
from lockgate.domain.policy import Environment, Freeze, Policy, Rule, SystemRules
from lockgate.domain.times import parse_week_time
from lockgate.domain.version import person_problem
from lockgate.errors import UsageMistake
from lockgate.shown import shown
from lockgate.workspace.policy_tables import (
    EnvironmentTable,
    FreezeTable,
    form_problems,
    inside,
    key_path,
    listed,
    meant,
    metric_problem,
    toml_value,
    week_time_problem,
)
from lockgate.workspace.tomlfile import parse_toml, read_plain_file

POLICY_NAME = "policy.toml"
MAX_POLICY_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy as it stands in files, with the bytes it came from."""

    policy: Policy
    data: bytes
    """The bytes of `policy.toml`."""
    digest: str
    """The SHA-256 of `data`; the signers files are covered by `policy.body()` alone."""
    signers: Mapping[str, bytes]
    """Environment to the bytes of its signers file, where there is one."""


def read_policy(root: Path) -> PolicyFile:
    """Read the policy in a registry's root, and its signers files.

    Raises:
        UsageMistake: There is no policy, a file cannot be read, or there are mistakes; all are
            listed.
    """
    data = _bytes_of(root / POLICY_NAME)
    if data is None:
        raise UsageMistake(
            f"there is no `{shown(root / POLICY_NAME)}`", hint="run `lockgate init` to make one"
        )
    signers: dict[str, bytes] = {}
    for name, body in _tables(_document(data, POLICY_NAME).get("environments")):
        path = inside(body.get("signers"))
        found = _bytes_of(root / path) if path else None
        if found is not None:
            signers[name] = found
    policy = parse_policy(data, signers, POLICY_NAME)
    return PolicyFile(policy, data, digest_bytes(data), signers)


def parse_policy(data: bytes, signers: Mapping[str, bytes], where: str) -> Policy:
    """Read the bytes of a policy.

    Args:
        data: TOML, UTF-8, at most 1 MiB.
        signers: Environment to the bytes of its signers file, for those whose file exists.
        where: The name of the file, for messages.

    Raises:
        UsageMistake: The bytes are no TOML, or the policy has mistakes; all are listed.
    """
    raw = _document(data, where)
    table, problems = form_problems(raw)
    problems += _disagreements(raw, signers)
    if table is None or problems:
        raise _mistaken(where, list(dict.fromkeys(problems)), _missing_signers(raw, signers))
    return Policy(
        environments={
            name: _environment(name, body, signers.get(name))
            for name, body in table.environments.items()
        },
        experiments_keep=table.experiments.keep,
        rehearsal_cadence=table.cadence.rehearsal,
        review_cadence=table.cadence.review,
    )


def _bytes_of(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > MAX_POLICY_BYTES:
            raise _too_large(str(path))
    except OSError:
        pass  # reading it says what is wrong
    return read_plain_file(path, follow_links=True)


def _document(data: bytes, where: str) -> dict[str, Any]:
    if len(data) > MAX_POLICY_BYTES:
        raise _too_large(where)
    return parse_toml(Path(where), data)


def _too_large(where: str) -> UsageMistake:
    return UsageMistake(
        f"`{shown(where)}` is larger than 1 MiB",
        hint="keep rules and names in it, and everything else in files of its own",
    )


def _environment(name: str, body: EnvironmentTable, signers: bytes | None) -> Environment:
    default = 1 if body.stakes == "high" else 0
    return Environment(
        name=name,
        stakes=body.stakes,
        rehearsal=body.rehearsal,
        protects=body.protects,
        requires=tuple(body.requires),
        signers=inside(body.signers),
        signers_digest=None if signers is None else digest_bytes(signers),
        reviewers=tuple(body.reviewers),
        approvals=default if body.approvals is None else body.approvals,
        accept_claimed=body.accept_claimed,
        max_age=body.max_age,
        freeze=tuple(_freeze(window) for window in body.freeze),
        publish=inside(body.publish),
        deploy=tuple(body.deploy or ()),
        deploy_timeout=body.deploy_timeout,
        observe=tuple(body.observe or ()),
        systems={
            system: SystemRules(
                tuple(Rule(**rule.model_dump()) for rule in asked.rules),
                asked.max_errors,
                asked.stop_after_errors,
            )
            for system, asked in body.systems.items()
        },
    )


def _freeze(window: FreezeTable) -> Freeze:
    start, until = parse_week_time(window.start), parse_week_time(window.until)
    return Freeze(*start, *until, window.tz, window.reason)


def _mistaken(where: str, problems: list[str], missing: str | None) -> UsageMistake:
    count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    return UsageMistake(
        f"`{shown(where)}` has {count}",
        hint=missing or f"correct `{shown(where)}`, then run `lockgate policy`",
        problems=problems,
    )


# What no single value can tell. These look at the raw tables, so that they are told together with
# mistakes of form: a value of the wrong type is somebody else's to complain about.


def _disagreements(raw: Mapping[str, Any], signers: Mapping[str, bytes]) -> Iterator[str]:
    environments = dict(_tables(raw.get("environments")))
    for name, body in environments.items():
        path = key_path(("environments", name))
        yield from _rehearsal_problems(path, name, body, environments)
        yield from _requires_problems(path, name, body, environments)
        yield from _reviewer_problems(path, body)
        yield from _signer_problems(path, body, signers.get(name))
        yield from _freeze_problems(path, body)
        for system, asked in _tables(body.get("systems")):
            place = ("environments", name, "systems", system, "rules")
            for index, rule in enumerate(_list(asked.get("rules"))):
                if isinstance(rule, dict):
                    yield from _rule_problems(key_path((*place, index)), rule, body)
    yield from _circles(environments)
    yield from _shared_folders(environments)


def _rehearsal_problems(
    path: str, name: str, body: Mapping[str, Any], environments: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    protects, rehearsal = body.get("protects"), body.get("rehearsal", False)
    if rehearsal is True and "protects" not in body:
        yield f"`{path}.protects` is missing: rehearsals need the environment that judges them"
    if not isinstance(protects, str):
        return
    given = f"`{path}.protects` is {toml_value(protects)}"
    if protects == name:
        yield f"{given}: needs another environment than itself"
    elif protects not in environments:
        yield f"{given}: {_unknown_environment(protects, environments)}"
    elif environments[protects].get("rehearsal") is True:
        yield f"{given}: needs an environment that is not for rehearsals itself"
    if rehearsal is False:
        yield f"{given}: counts only with `rehearsal = true`"


def _requires_problems(
    path: str, name: str, body: Mapping[str, Any], environments: Mapping[str, object]
) -> Iterator[str]:
    seen: set[str] = set()
    for index, required in enumerate(_list(body.get("requires"))):
        if not isinstance(required, str):
            continue
        given = f"`{path}.requires[{index}]` is {toml_value(required)}"
        if required == name:
            yield f"{given}: needs another environment than itself"
        elif required not in environments:
            yield f"{given}: {_unknown_environment(required, environments)}"
        elif required in seen:
            yield f"{given} a second time"
        seen.add(required)


def _unknown_environment(name: str, environments: Iterable[str]) -> str:
    known = list(environments)
    return f"needs one of {listed(known)}{meant(name, known)}"


def _circles(environments: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Find environments that wait for each other; each circle is told once."""
    needs = {
        name: dict.fromkeys(
            other
            for other in _list(body.get("requires"))
            if isinstance(other, str) and other in environments and other != name
        )
        for name, body in environments.items()
    }
    while True:
        try:
            graphlib.TopologicalSorter(needs).prepare()
            return
        except graphlib.CycleError as found:
            circle = found.args[1][::-1]  # each name needs the next one
        path = key_path(("environments", circle[0], "requires"))
        yield f"`{path}` closes a circle: {' needs '.join(circle)}"
        del needs[circle[0]][circle[1]]


def _reviewer_problems(path: str, body: Mapping[str, Any]) -> Iterator[str]:
    stakes, given = body.get("stakes"), body.get("approvals")
    reviewers = _list(body.get("reviewers"))
    names = {reviewer for reviewer in reviewers if isinstance(reviewer, str)}
    for index, reviewer in enumerate(reviewers):
        if reviewer in reviewers[:index]:
            yield f"`{path}.reviewers[{index}]` is {toml_value(reviewer)} a second time"
    if isinstance(given, bool) or not isinstance(given, int | None):
        return
    approvals = (1 if stakes == "high" else 0) if given is None else given
    if stakes == "high" and given == 0:
        yield f'`{path}.approvals` is `0`: `stakes = "high"` needs at least 1'
    if stakes == "low" and approvals > 0:
        yield f'`{path}.approvals` is `{given}`: asks for reviewers, so needs `stakes = "high"`'
    if approvals > 0 and not reviewers:
        yield f"`{path}.reviewers` is missing: needs the names of those who may approve"
    elif approvals > len(names) and names:
        yield f"`{path}.approvals` is `{approvals}`: there are only {len(names)} `reviewers`"


def _signer_problems(path: str, body: Mapping[str, Any], data: bytes | None) -> Iterator[str]:
    reviewers = [name for name in _list(body.get("reviewers")) if isinstance(name, str)]
    claimed, file = body.get("accept_claimed") is True, inside(body.get("signers"))
    if reviewers and "signers" not in body and not claimed:
        yield (
            f"`{path}.signers` is missing: reviewers need keys; name an allowed signers file, or "
            "set `accept_claimed = true`"
        )
    if file is None:
        return
    if data is None:
        if not claimed:
            yield f"`{path}.signers` is {toml_value(body['signers'])}: there is no such file"
        return
    try:
        listed = {signer.name for signer in parse_signers(data)}
    except SignersMistake as mistake:
        yield from (f"file `{shown(file)}`: {problem}" for problem in mistake.problems)
        return
    if not claimed:
        for reviewer in dict.fromkeys(reviewers):
            if reviewer not in listed:
                yield f"file `{shown(file)}`: no key for {toml_value(reviewer)}, a reviewer of `{path}`"


def _freeze_problems(path: str, body: Mapping[str, Any]) -> Iterator[str]:
    for index, window in enumerate(_list(body.get("freeze"))):
        if not isinstance(window, dict):
            continue
        start, until = window.get("from"), window.get("until")
        if not isinstance(start, str) or not isinstance(until, str):
            continue
        if week_time_problem(start) or week_time_problem(until):
            continue
        if parse_week_time(start) == parse_week_time(until):
            yield (
                f"`{path}.freeze[{index}].until` is {toml_value(until)}: needs another moment "
                "than `from`; `lockgate hold` stops promotions until it is lifted"
            )


def _rule_problems(
    path: str, rule: Mapping[str, Any], environment: Mapping[str, Any]
) -> Iterator[str]:
    metric, minimum, maximum = rule.get("metric"), rule.get("min"), rule.get("max")
    if not {"min", "max", "max_drop"} & rule.keys():
        yield f"`{path}` needs at least one of min, max, max_drop"
    if _is_number(minimum) and _is_number(maximum) and minimum > maximum:
        yield f"`{path}.min` is `{minimum}`: is above `max`, which is `{maximum}`"
    if rule.get("on_inconclusive") == "review" and not _list(environment.get("reviewers")):
        yield f'`{path}.on_inconclusive` is `"review"`: needs `reviewers` in the environment'
    if not isinstance(metric, str) or metric_problem(metric):
        return
    for key in ("min", "max"):
        limit = rule.get(key)
        if is_score(metric) and _is_number(limit) and limit > 1:
            yield (
                f"`{path}.{key}` is `{limit}`: {toml_value(metric)} is a score, which needs a "
                "fraction from 0 to 1"
            )
    for key in ("max_drop", "confidence"):
        if key in rule and not is_score(metric):
            yield f"`{path}.{key}` is for scores only; {toml_value(metric)} needs `max` alone"


def _shared_folders(environments: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Find environments that would write over each other's receipts."""
    taken: dict[str, str] = {}
    for name, body in environments.items():
        folder = inside(body.get("publish"))
        if folder is None:
            continue
        for other, owner in taken.items():
            if f"{folder}/".startswith(f"{other}/") or f"{other}/".startswith(f"{folder}/"):
                yield (
                    f"`{key_path(('environments', name, 'publish'))}` is {toml_value(folder)}: "
                    f"needs a folder of its own, apart from {toml_value(other)} of `{owner}`"
                )
        taken.setdefault(folder, name)


def _missing_signers(raw: Mapping[str, Any], signers: Mapping[str, bytes]) -> str | None:
    """Return the hint that writes a signers file which is not there, or `None` when all are."""
    for name, body in _tables(raw.get("environments")):
        file, people = inside(body.get("signers")), _list(body.get("reviewers"))
        if file is None or name in signers or body.get("accept_claimed") is True:
            continue
        person = people[0] if people and isinstance(people[0], str) else "NAME"
        if person_problem(person) is None:
            line = f'{person} namespaces=\\"{NAMESPACE}\\" $(cat ~/.ssh/id_ed25519.pub)'
            add = f'echo "{line}" >> {shlex.quote(file)}'
            return (
                "each reviewer has a key, or makes one with `ssh-keygen -t ed25519`; add a line "
                f"for each: {add}"
            )
    return None


def _tables(value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the tables below a table, by name; nothing when it is not one."""
    if isinstance(value, dict):
        yield from ((name, body) for name, body in value.items() if isinstance(body, dict))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
