"""A receipt is a text that says one thing, which whoever reads it can check without us."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.canonical import digest_bytes
from lockgate.domain.components import Component, Definition
from lockgate.domain.payload import MAX_BYTES, checked, opened, path_trouble, sealed
from lockgate.domain.receipt import (
    Origin,
    Previous,
    Receipt,
    going_back,
    read_payload,
    receipt_for,
    settled,
)
from lockgate.domain.version import Version, version_id

AT = datetime(2026, 8, 21, 3, 12, 31, 5, tzinfo=UTC)
ORIGIN = Origin("ab" * 16, 1, "production")
DIGEST = digest_bytes(b"Sort the ticket.")


def definition_of(**generation: Any) -> Definition:
    return Definition(
        {
            "prompt": Component(files={"prompts/system.md": DIGEST}),
            "generation": Component(generation or {"temperature": 0.7, "max_tokens": 48}),
            "code": Component(executables={"tool": digest_bytes(b"tool")}),
        }
    )


def version_of(definition: Definition) -> Version:
    named = version_id("support-desk", definition.digest, None, "release")
    return Version(
        named, "support-desk", definition.digest, None, "release", "v14", "ml", "ml", "warmer"
    )


def receipt_of(definition: Definition | None = None, **changes: Any) -> Receipt:
    definition = definition or definition_of()
    receipt = receipt_for(
        version_of(definition),
        definition,
        ORIGIN,
        generation=28,
        kind="promote",
        decision="4f00",
        previous=Previous(27, "c" * 64),
        at=AT,
    )
    return replace(receipt, **changes)


def altered(**changes: Any) -> str:
    """Return a payload with keys replaced; `...` removes one."""
    body = json.loads(receipt_of().payload()) | changes
    return json.dumps({key: value for key, value in body.items() if value is not ...})


def test_what_was_written_is_what_is_read() -> None:
    """A receipt survives the way to its text and back."""
    receipt = receipt_of()
    assert read_payload(receipt.payload()) == receipt
    assert receipt.contents() == definition_of()


def test_the_text_is_plain_and_one_line() -> None:
    """The signed bytes are ASCII and have one spelling, so that nothing on the way changes them."""
    text = receipt_of().payload()
    assert text.isascii() and "\n" not in text
    assert text.startswith('{"at":"2026-08-21T03:12:31.000005Z","components":{"code":')


def test_a_receipt_is_staged_until_it_is_settled() -> None:
    """The attempt's receipt and the live one differ in state and time only."""
    staged = receipt_of()
    live = settled(staged, AT + timedelta(seconds=9))
    assert (staged.state, live.state) == ("staged", "live")
    assert replace(live, state="staged").is_same_release(staged)
    assert not live.is_same_release(staged)


def test_a_receipt_is_only_made_for_the_versions_own_definition() -> None:
    """A version and the definition of another one make no receipt."""
    with pytest.raises(ValueError, match="v14 has another definition"):
        receipt_for(
            version_of(definition_of()),
            definition_of(temperature=1),
            ORIGIN,
            generation=1,
            kind="promote",
            decision=None,
            previous=None,
            at=AT,
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"definition": "d" * 64},
        {"files": {"prompts/system.md": "e" * 64}},
        {"files": {}, "executables": {"prompts/system.md": DIGEST, "tool": digest_bytes(b"tool")}},
        {
            "components": {
                "prompt": {"settings": {}, "paths": ["prompts/system.md"]},
                "generation": {"settings": {"temperature": 0.8, "max_tokens": 48}, "paths": []},
                "code": {"settings": {}, "paths": ["tool"]},
            }
        },
    ],
)
def test_files_and_settings_have_the_definition_digest(changes: dict[str, Any]) -> None:
    """A digest, a file, an executable bit or a setting that was exchanged is noticed."""
    with pytest.raises(ValueError, match="its files and settings have the digest"):
        read_payload(altered(**changes))


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**53) + 1, 2**53 - 1)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=4,
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_setting_keeps_its_digest_on_the_way(values: dict[str, Any]) -> None:
    """Whatever settings a definition has, its receipt is read back with the same digest."""
    definition = Definition({"generation": Component(values)})
    receipt = receipt_of(definition)
    assert read_payload(receipt.payload()).contents().digest == definition.digest


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "the receipt's format is not 1"),
        ({"format": True}, "the receipt's format is not 1"),
        ({"registry": "../x"}, "`registry` is not"),
        ({"epoch": 0}, "`epoch` is not"),
        ({"system": "Support"}, "`system` is not"),
        ({"environment": "-"}, "`environment` is not"),
        ({"generation": 0}, "`generation` is not"),
        ({"generation": True}, "`generation` is not"),
        ({"generation": 28.0}, "`generation` is not"),
        ({"generation": 10**8}, "`generation` is not"),
        ({"kind": "sideways"}, "`kind` is not"),
        ({"state": "maybe"}, "`state` is not"),
        ({"version": "C" * 64}, "`version` is not"),
        ({"label": "v014"}, "`label` is not"),
        ({"label": "v\u0661"}, "`label` is not"),
        ({"folder": "generations/../../etc"}, "`folder` is not"),
        ({"folder": "elsewhere/00000028"}, "`folder` is not"),
        ({"files": {"../prompts/system.md": DIGEST}}, "`files` is not"),
        ({"files": {"prompts/system.md": "short"}}, "`files` is not"),
        ({"executables": ["tool"]}, "`executables` is not"),
        ({"components": {"prompt": {"settings": {}}}}, "`components` is not"),
        ({"decision": "two words"}, "`decision` is not"),
        ({"ungated": 0}, "`ungated` is not"),
        ({"previous": {"generation": 27}}, "`previous` is not"),
        ({"previous": {"generation": 28, "version": "c" * 64}}, "`previous` is not before it"),
        ({"at": "yesterday"}, "`at` is not"),
        ({"kind": "break_glass"}, "says that it passed the gate"),
        ({"executables": {"prompts/system.md": DIGEST}}, "listed both as executable and not"),
        ({"files": {}}, "do not name the same paths"),
        ({"label": ...}, "`label` is missing"),
        ({"extra": 1}, "it has keys that Lockgate does not write"),
    ],
)
def test_a_payload_that_is_not_ours_is_refused(changes: dict[str, Any], why: str) -> None:
    """Every key has one type and range; none is missing and none is added."""
    with pytest.raises(ValueError, match=why):
        checked(altered(**changes))


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Two wrong keys are both named."""
    with pytest.raises(ValueError, match="`epoch` is not .*; `label` is not "):
        checked(altered(epoch=-1, label="none"))


def test_an_impossible_time_is_refused() -> None:
    """A time that only looks like one is not taken for a time."""
    with pytest.raises(ValueError, match="month"):
        read_payload(altered(at="2026-13-21T03:12:31.000005Z"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"format": NaN}', "not JSON"),
        ('{"format": 1, "format": 1}', "stands twice"),
        ("é", "not ASCII"),
    ],
)
def test_a_text_that_is_no_payload_is_refused(text: str, why: str) -> None:
    """Text that is not one JSON object, in one way of reading it, is no receipt."""
    with pytest.raises(ValueError, match=why):
        checked(text)


def test_a_receipt_file_holds_a_text_and_a_signature() -> None:
    """The file is JSON around the exact signed text."""
    assert opened(sealed('{"a": 1}', None)) == ('{"a": 1}', None)
    assert json.loads(sealed("text", "armour")) == {"payload": "text", "signature": "armour"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b'{"payload": "x"}',
        b'{"payload": "x", "signature": null, "more": 1}',
        b'{"payload": {}, "signature": null}',
        b'{"payload": "x", "signature": 1}',
        b" " * (MAX_BYTES + 1),
    ],
)
def test_a_file_that_is_no_receipt_file_is_refused(data: bytes) -> None:
    """Anything else, and anything that is too large, is not read as a receipt."""
    with pytest.raises(ValueError):
        opened(data)


def test_a_receipt_that_is_too_large_is_not_written() -> None:
    """What no reader would read is refused by the writer."""
    with pytest.raises(ValueError, match="at most"):
        sealed("x" * MAX_BYTES, None)


@pytest.mark.parametrize(
    "path", ["", "/etc", "a//b", "./a", "a/..", "a\\b", "a\nb", "a\x7f", "\ud800", "x" * 1025, 7]
)
def test_no_path_leads_out_of_the_folder(path: object) -> None:
    """A path that climbs, is absolute or steers a terminal is refused."""
    assert path_trouble(path) is not None


@pytest.mark.parametrize("path", ["a", "prompts/übung.md", ".hidden/x", "a b", "👩‍💻.md"])
def test_the_names_people_give_are_paths(path: str) -> None:
    """Spaces, umlauts and joined emoji are fine."""
    assert path_trouble(path) is None


def test_going_back_needs_only_receipts() -> None:
    """A rollback from receipts names the kept folder, a newer generation and what it leaves."""
    way_back = receipt_of(generation=26, folder="generations/00000026", state="live", previous=None)
    live = receipt_of(state="live", version="d" * 64)
    back = going_back(way_back, live, 29, AT)
    assert (back.generation, back.folder, back.kind) == (29, "generations/00000026", "rollback")
    assert (back.version, back.definition) == (way_back.version, way_back.definition)
    assert back.previous == Previous(28, "d" * 64)
    assert read_payload(back.payload()) == back


def test_going_back_works_when_what_is_live_cannot_be_read() -> None:
    """A damaged live receipt does not stop the way back."""
    way_back = receipt_of(generation=26, folder="generations/00000026", previous=None)
    assert going_back(way_back, None, 29, AT).previous is None


def test_what_never_passed_the_gate_stays_marked() -> None:
    """Going back to a version that came by break-glass does not wash the mark off."""
    way_back = receipt_of(generation=26, kind="break_glass", ungated=True, previous=None)
    assert going_back(way_back, None, 29, AT).ungated


def test_a_newer_epoch_comes_after_any_generation() -> None:
    """After a restore generations may begin lower, and still come later."""
    old, new = receipt_of(generation=28), receipt_of(generation=3, epoch=2, previous=None)
    assert old.is_before(new) and not new.is_before(old)
