"""`lockgate hold` and `lift`, as people type them."""

from __future__ import annotations

import pytest

from cli.desks import Desk


def test_hold_and_lift(busy: Desk) -> None:
    """Each says what it did and why; as JSON the record and what was ended."""
    held = busy.done("hold", "production", "-s", "desk", "-m", "month end")
    assert held.out == "⚠ production of desk takes no promotion: month end\n"
    again = busy("hold", "production", "-s", "desk", "-m", "again")
    assert (again.code, again.command) == (1, "lockgate lift production -s desk -m REASON")
    lifted = busy.follow(again)
    assert lifted.out == "✔ hold of production ended; it had stood for: month end\n"
    body = busy.done("hold", "production", "-s", "desk", "-m", "again", "--json").json
    assert (body["environment"], body["reason"], body["actor"]) == (
        *("production", "again"),
        "ml-team",
    )
    body = busy.done("lift", "production", "-s", "desk", "-m", "over", "--json").json
    assert body == [{"what": "hold", "reason": "again"}]


def test_a_quarantine_of_a_rollback_is_lifted_by_the_version(busy: Desk) -> None:
    """What the rollback's own words say works as it stands."""
    said = busy.done("rollback", "staging", "-s", "desk", "--yes")
    assert "v2 is quarantined and staging held" in said.err
    assert busy.done("lift", "v2", "-s", "desk", "-m", "the network").out.startswith(
        "✔ quarantine of v2 ended; it had stood for: rolled back from v2 to v1 in staging"
    )
    again = busy("lift", "v2", "-s", "desk", "-m", "the network")
    assert (again.code, "v2 is not quarantined" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("typed", "code", "what"),
    [
        (("hold", "production"), 2, "a reason is needed"),
        (("hold", "moon", "-m", "x"), 2, "moon"),
        (("lift", "production"), 2, "a reason is needed"),
        (("lift", "production", "-m", "x"), 1, "production is not held"),
        (("lift", "v1", "-m", "x"), 1, "v1 is not quarantined"),
        (("lift", "v77", "-m", "x"), 2, "v77"),
        (("hold", "production", "-m", "x" * 20_001), 2, "at most 20000 characters"),
    ],
)
def test_refusals(busy: Desk, typed: tuple[str, ...], code: int, what: str) -> None:
    """Each says what is wrong, and records nothing."""
    before = busy.state()
    said = busy(*typed, "-s", "desk")
    assert (said.code, what in said.err, bool(said.hint)) == (code, True, True), said
    assert busy.state() == before
