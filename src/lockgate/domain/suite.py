"""Suites: the cases, the scorers, and the digest that names both.

- The suite digest covers the system, the name, repeats, seed, time limit, every scorer with the
  bytes of its files, and every case; the description is not part of it.
- The order of cases and scorers in their files does not count, nor does the spacing of the JSON.
- What a change of a suite makes easier to pass is named: fewer cases, lower weights, fewer
  scorers, wider tolerances.

The digest can be recomputed with a JSON library and `sha256sum`. Each case, with every key written
out (`id`, `input`, `expected`, `tags`, `weight`), becomes one line of RFC 8785 JSON; the lines,
sorted by case id, have one SHA-256; that stands as `cases` in the JSON value that is hashed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as made_by
from functools import cached_property
from hashlib import sha256
from typing import Any

from lockgate.canonical import canonical_json, digest_json
from lockgate.domain.metrics import RESERVED_METRICS as RESERVED_METRICS

SUITE_FORMAT = 1

SCORER_KINDS = (
    "exact",
    "includes",
    "regex",
    "number",
    "json_fields",
    "json_schema",
    "set_f1",
    "recall_at_k",
    "mrr",
    "python",
)

_plain_json = json.JSONEncoder(
    ensure_ascii=False,
    sort_keys=True,
    separators=(",", ":"),
    check_circular=False,
    allow_nan=False,
).encode
_UNSURE_NUMBER = re.compile("[0-9](?:[.][0-9]|e[-+][0-9]|[0-9]{15})")
_UNSURE_CHARACTER = re.compile("[\ud800-\udfff\U00010000-\U0010ffff]")
"""Where the fast encoder may differ from RFC 8785: fractions, large numbers, order of keys."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question of a suite and what is expected of the answer."""

    id: str
    input: Any
    expected: Any
    tags: tuple[str, ...] = ()
    weight: float = 1.0
    """How much the case counts in a mean; above 0."""

    def body(self) -> dict[str, Any]:
        """Return the case as a JSON value with every key written out."""
        return {
            "id": self.id,
            "input": self.input,
            "expected": self.expected,
            "tags": list(self.tags),
            "weight": _whole(self.weight),
        }

    def line(self) -> bytes:
        """Return the canonical JSON of `body()` and a newline: what the digest covers.

        Raises:
            ValueError: The case holds something that JSON cannot carry.
        """
        body = self.body()
        try:
            text = _plain_json(body)
        except (TypeError, ValueError):
            return canonical_json(body) + b"\n"
        if _UNSURE_NUMBER.search(text) or not (
            text.isascii() or _UNSURE_CHARACTER.search(text) is None
        ):
            return canonical_json(body) + b"\n"
        return text.encode() + b"\n"


def _whole(number: float) -> float:
    is_whole = abs(number) < 2**53 and float(number).is_integer()
    return int(number) if is_whole else number


def case_from(body: Mapping[str, Any]) -> Case:
    """Build a case from what `Case.body` gave."""
    return Case(
        id=body["id"],
        input=body["input"],
        expected=body["expected"],
        tags=tuple(body["tags"]),
        weight=float(body["weight"]),
    )


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """How one metric is computed from an output and what was expected."""

    metric: str
    kind: str
    """One of `SCORER_KINDS`."""
    field: str | None = None
    """Dotted path into the output; `None` for the whole output."""
    expected: str | None = None
    """Dotted path into the case's `expected`; `None` for the whole."""
    options: Mapping[str, Any] = made_by(default_factory=dict)
    """What the kind needs besides; an option at its default is left out."""

    def body(self) -> dict[str, Any]:
        """Return the scorer as a JSON value."""
        return {
            "metric": self.metric,
            "kind": self.kind,
            "field": self.field,
            "expected": self.expected,
            "options": dict(self.options),
        }


@dataclass(frozen=True)
class Suite:
    """Cases and scorers under one name; what a run was measured with."""

    system: str
    name: str
    description: str
    scorers: tuple[ScorerSpec, ...]
    repeats: int
    """How often each case is asked, from 1."""
    seed: int
    timeout_s: float
    """The longest a case may take, and one call of a python scorer."""
    cases: tuple[Case, ...]
    """Sorted by id, whatever order they came in."""
    files: Mapping[str, str] = made_by(default_factory=dict)
    """Path below the suites folder to SHA-256, for the files of python scorers."""

    def __post_init__(self) -> None:
        """Put the cases in order, so that equal suites are equal."""
        ordered = tuple(sorted(self.cases, key=lambda case: case.id))
        object.__setattr__(self, "cases", ordered)

    @cached_property
    def cases_digest(self) -> str:
        """SHA-256 of the cases' canonical lines, in order of their ids."""
        hasher = sha256()
        for case in self.cases:
            hasher.update(case.line())
        return hasher.hexdigest()

    @cached_property
    def digest(self) -> str:
        """The suite digest, which runs, decisions and rules refer to."""
        return digest_json(
            {
                "format": SUITE_FORMAT,
                "system": self.system,
                "name": self.name,
                "repeats": self.repeats,
                "seed": self.seed,
                "timeout_s": self.timeout_s,
                "scorers": [
                    spec.body() for spec in sorted(self.scorers, key=lambda spec: spec.metric)
                ],
                "files": dict(self.files),
                "cases": self.cases_digest,
            }
        )

    @cached_property
    def by_id(self) -> dict[str, Case]:
        """The cases by their ids."""
        return {case.id: case for case in self.cases}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics the scorers give, in the order they were written."""
        return tuple(spec.metric for spec in self.scorers)

    def spec_body(self) -> dict[str, Any]:
        """Return everything but the cases as a JSON value; `suite_from` reads it again."""
        return {
            "format": SUITE_FORMAT,
            "system": self.system,
            "name": self.name,
            "description": self.description,
            "repeats": self.repeats,
            "seed": self.seed,
            "timeout_s": self.timeout_s,
            "scorers": [spec.body() for spec in self.scorers],
            "files": dict(self.files),
        }


def suite_from(spec_body: Mapping[str, Any], cases: Iterable[Case]) -> Suite:
    """Put a suite together again from its stored specification and cases, in any order."""
    return Suite(
        system=spec_body["system"],
        name=spec_body["name"],
        description=spec_body["description"],
        scorers=tuple(ScorerSpec(**spec) for spec in spec_body["scorers"]),
        repeats=spec_body["repeats"],
        seed=spec_body["seed"],
        timeout_s=spec_body["timeout_s"],
        cases=tuple(cases),
        files=dict(spec_body["files"]),
    )


@dataclass(frozen=True, slots=True)
class SuiteChanges:
    """What differs between two states of a suite, and what of it makes passing easier."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    edited: tuple[str, ...]
    """Ids of the cases, sorted; a case is edited when anything of it differs."""
    settings_changed: tuple[str, ...]
    """Readable lines about everything but cases, for example `repeats 1 → 3`."""
    weakened: tuple[str, ...]
    """Readable lines about what is easier to pass than before."""

    @property
    def is_empty(self) -> bool:
        """Whether the two suites measure the same."""
        return not (self.added or self.removed or self.edited or self.settings_changed)


def suite_changes(before: Suite, after: Suite) -> SuiteChanges:
    """Compare two states of a suite, case by case and setting by setting."""
    added = tuple(sorted(after.by_id.keys() - before.by_id.keys()))
    removed = tuple(sorted(before.by_id.keys() - after.by_id.keys()))
    edited = tuple(
        case.id
        for case in after.cases
        if case.id in before.by_id and case.line() != before.by_id[case.id].line()
    )
    return SuiteChanges(
        added=added,
        removed=removed,
        edited=edited,
        settings_changed=tuple(_setting_lines(before, after)),
        weakened=tuple(_weakened_lines(before, after, removed, edited)),
    )


def _setting_lines(before: Suite, after: Suite) -> list[str]:
    lines = []
    for name in ("system", "name", "repeats", "seed", "timeout_s"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            lines.append(f"{name} {_readable(old)} → {_readable(new)}")
    old_specs = {spec.metric: spec for spec in before.scorers}
    new_specs = {spec.metric: spec for spec in after.scorers}
    for metric in sorted(old_specs.keys() | new_specs.keys()):
        if metric not in new_specs:
            lines.append(f"scorer `{metric}` removed")
        elif metric not in old_specs:
            lines.append(f"scorer `{metric}` added")
        else:
            lines.extend(_scorer_lines(old_specs[metric], new_specs[metric]))
    for path in sorted(before.files.keys() | after.files.keys()):
        old, new = before.files.get(path), after.files.get(path)
        if old != new:
            word = "removed" if new is None else "added" if old is None else "changed"
            lines.append(f"scorer file `{path}` {word}")
    return lines


_SPEC_KEYS = ("kind", "field", "expected")
_MOST_NAMED = 5


def _scorer_lines(old: ScorerSpec, new: ScorerSpec) -> list[str]:
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in _SPEC_KEYS}
    for option in sorted(old.options.keys() | new.options.keys()):
        pairs[option] = (old.options.get(option), new.options.get(option))
    return [
        f"scorer `{old.metric}`: {name} {_readable(was)} → {_readable(is_now)}"
        for name, (was, is_now) in pairs.items()
        if was != is_now or isinstance(was, bool) != isinstance(is_now, bool)
    ]


def _readable(value: Any) -> str:
    if value is None:
        return "(left out)"
    if isinstance(value, float):
        return f"{value:g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _weakened_lines(
    before: Suite, after: Suite, removed: tuple[str, ...], edited: tuple[str, ...]
) -> list[str]:
    lines = []
    if removed:
        lines.append(f"{_count(removed, 'case')} removed: {_named([f'`{c}`' for c in removed])}")
    lowered = [
        f"`{c}` {_readable(before.by_id[c].weight)} → {_readable(after.by_id[c].weight)}"
        for c in edited
        if after.by_id[c].weight < before.by_id[c].weight
    ]
    if lowered:
        lines.append(f"weight lowered for {_count(lowered, 'case')}: {_named(lowered)}")
    new_specs = {spec.metric: spec for spec in after.scorers}
    for old in before.scorers:
        new = new_specs.get(old.metric)
        if new is None:
            lines.append(f"scorer `{old.metric}` removed")
        elif new.kind == old.kind:
            lines.extend(f"scorer `{old.metric}`: {text}" for text in _loosened(old, new))
    return lines


def _count(things: tuple[str, ...] | list[str], word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")


def _named(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _loosened(old: ScorerSpec, new: ScorerSpec) -> list[str]:
    """Name what lets one kind of scorer accept more than before."""
    lines = []
    for name in ("tolerance", "relative"):
        was, is_now = old.options.get(name, 0), new.options.get(name, 0)
        if is_now > was:
            lines.append(f"{name} widened from {_readable(was)} to {_readable(is_now)}")
    for name in ("ignore_case", "strip"):
        if new.options.get(name, False) and not old.options.get(name, False):
            lines.append(f"{name} turned on")
    if old.options.get("full", False) and not new.options.get("full", False):
        lines.append("full turned off")
    if old.kind in ("recall_at_k", "mrr"):
        was, is_now = old.options.get("k"), new.options.get("k")
        if was is not None and (is_now is None or is_now > was):
            lines.append(f"k raised from {was} to {'any place' if is_now is None else is_now}")
    dropped = [f for f in old.options.get("fields", ()) if f not in new.options.get("fields", ())]
    if dropped and new.options.get("fields"):
        lines.append(f"fields no longer compared: {', '.join(dropped)}")
    return lines
