"""How each record lies in its table: columns, what is kept as an object, what the ledger covers.

- Long text is an object: its digest stands in the row, so that redaction keeps the chain whole.
- The ledger's payload digest covers every column but `seq`, and the rows that belong to a record.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from lockgate.canonical import canonical_json, digest_json, instant, parse_instant
from lockgate.domain.evidence import MetricSummary, Run, RunEnd
from lockgate.domain.release import (
    Approval,
    Attempt,
    Decision,
    Finding,
    Hold,
    Lift,
    PolicyApplied,
    Proposal,
    Quarantine,
    Settlement,
    SuiteApplied,
)
from lockgate.domain.upkeep import Closing, Note, Recheck, Rehearsal, Removal, Review
from lockgate.domain.version import System, Version
from lockgate.errors import IntegrityBroken

Put = Callable[[bytes], str]
"""Keeps some bytes as an object and returns their digest."""
Get = Callable[[str], bytes]
"""Returns the bytes of an object."""
R = TypeVar("R")

TABLES: dict[type, str] = {
    System: "system",
    Version: "version",
    Proposal: "proposal",
    PolicyApplied: "policy_applied",
    SuiteApplied: "suite_applied",
    Run: "run",
    RunEnd: "run_end",
    Decision: "decision",
    Approval: "approval",
    Attempt: "attempt",
    Settlement: "settlement",
    Quarantine: "quarantine",
    Hold: "hold",
    Lift: "lift",
    Note: "note",
    Closing: "closing",
    Rehearsal: "rehearsal",
    Review: "review",
    Recheck: "recheck",
    Removal: "removal",
}
"""Record class to table; the table's name is the ledger's `kind`."""

_TIMES = frozenset({"at", "expires_at"})
_TEXT_OBJECTS = frozenset({"reason", "note", "signature", "text"})
_REDACTED, _DAMAGED = "(redacted)", "(damaged: its bytes are not what was recorded)"


def _encode(name: str, value: Any, put: Put) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return instant(value)
    if name in _TEXT_OBJECTS:
        return put(value.encode("utf-8"))
    if name == "findings":
        return put(canonical_json([finding.body() for finding in value]))
    if name == "summary":
        return canonical_json([dataclasses.asdict(metric) for metric in value]).decode()
    if name == "environment" and isinstance(value, Mapping):
        return canonical_json(dict(value)).decode()
    if isinstance(value, bool):
        return int(value)
    return value


def columns(record: Any, put: Put) -> dict[str, Any]:
    """Return a record's columns but `seq` and `at`, which the ledger gives; texts go to `put`."""
    return {
        field.name: _encode(field.name, getattr(record, field.name), put)
        for field in dataclasses.fields(record)
        if field.name not in ("seq", "at", "runs")
    }


def payload_digest(kind: str, row: Mapping[str, Any], parts: list[Any] | None = None) -> str:
    """Return what the ledger says about a row.

    Args:
        kind: The table.
        row: The row's columns; `seq` and columns that only repeat others do not count.
        parts: The rows that belong to it and are covered by no digest of their own.
    """
    covered = {
        name: value for name, value in row.items() if name not in ("seq", "previous", "promotable")
    }
    if kind == "decision":
        covered["promotable"] = row["promotable"]
    return digest_json({"kind": kind, "row": covered, "parts": parts or []})


def decision_parts(record: Decision) -> list[list[str]]:
    """Return the runs of a decision as the ledger covers them, in a fixed order."""
    return sorted([run.run, run.version, run.role] for run in record.runs)


def text_of(digest: str | None, get: Get) -> str | None:
    """Return the text behind a digest; a redacted or damaged one says so.

    A word that cannot be read any more stops nobody from looking, or from going back.
    """
    if digest is None:
        return None
    try:
        return get(digest).decode("utf-8")
    except LookupError:
        return _REDACTED
    except (IntegrityBroken, UnicodeDecodeError):
        return _DAMAGED


def build(record_type: type[R], row: Mapping[str, Any], get: Get, **more: Any) -> R:
    """Make a record of a row that was read with its column names.

    Args:
        record_type: The record's class.
        row: Every column, by name.
        get: Reads the objects that the row points at.
        more: Fields that no column holds.
    """
    values: dict[str, Any] = dict(more)
    for field in dataclasses.fields(record_type):  # type: ignore[arg-type]
        if field.name in values:
            continue
        value = row[field.name]
        if value is None:
            pass
        elif field.name in _TIMES:
            value = parse_instant(value)
        elif field.name in _TEXT_OBJECTS:
            value = text_of(value, get)
        elif field.name == "findings":
            value = findings_of(value, get)
        elif field.name == "summary":
            value = tuple(MetricSummary(**metric) for metric in json.loads(value))
        elif field.name == "environment" and record_type is Run:
            value = json.loads(value)
        elif field.name == "promotable":
            value = bool(value)
        values[field.name] = value
    return record_type(**values)


def findings_of(digest: str, get: Get) -> tuple[Finding, ...]:
    """Return the findings of a decision."""
    try:
        return tuple(Finding(**body) for body in json.loads(get(digest)))
    except LookupError:
        return (Finding(_REDACTED, "skipped", "the findings of this decision were redacted"),)
    except (IntegrityBroken, ValueError, TypeError):
        return (Finding("findings", "fail", _DAMAGED, "restore a backup of `.lockgate/`"),)


def encode_time(at: datetime) -> str:
    """Return a time as columns hold it."""
    return instant(at)
