"""Canonical bytes are those of RFC 8785, whichever way they are made."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from lockgate.canonical import canonical_json, digest_json, instant, is_digest, parse_instant

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=20,
)


@given(VALUES)
def test_bytes_are_those_of_the_reference(value: object) -> None:
    """Plain values take a shorter way and come out the same."""
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(ValueError):
            canonical_json(value)
        return
    assert canonical_json(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {1: 2}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """NaN, infinities, integers beyond 2^53 - 1, lone surrogates and non-text keys."""
    with pytest.raises((ValueError, TypeError)):
        canonical_json(value)


def test_whole_floats_and_integers_are_the_same_number() -> None:
    """1.0 and 1 have one digest: JSON knows no difference."""
    assert digest_json({"t": 1.0}) == digest_json({"t": 1})


def test_instants_are_fixed_width_and_come_back() -> None:
    """Text order of recorded times is their time order."""
    at = parse_instant("2026-08-21T03:10:04.000007Z")
    assert instant(at) == "2026-08-21T03:10:04.000007Z"


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "0" * 63 + "\n"])
def test_only_a_whole_lower_case_digest_counts(text: str) -> None:
    """A digest is 64 lower-case hexadecimal digits, nothing around them."""
    assert not is_digest(text)
