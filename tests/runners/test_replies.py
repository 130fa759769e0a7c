"""What a version's process says is read as something that was written by a stranger."""

import json
from typing import Any

import pytest

from lockgate.ports import CaseFailed, Reply
from lockgate.runners.replies import OutOfStep, facts_in, message_in, reply_in, value_problem


def reply_to(message: Any) -> Reply:
    return reply_in(message_in(json.dumps(message).encode()), "5", 12.5)


def test_a_reply_carries_the_output_and_what_it_cost() -> None:
    """Tokens are taken as told."""
    reply = reply_to({"id": "5", "output": [1], "tokens_in": 7, "tokens_out": 0})

    assert reply == Reply(output=[1], latency_ms=12.5, tokens_in=7, tokens_out=0)


def test_an_output_is_all_that_has_to_be_told() -> None:
    """An output of `null` is an output."""
    assert reply_to({"id": "5", "output": None, "error": None}) == Reply(None, 12.5, None, None)


@pytest.mark.parametrize("told", [1, -1, "3", None, [[]]])
def test_a_latency_is_never_taken_as_told(told: Any) -> None:
    """A version that is judged by its latency does not get to say what that was."""
    assert reply_to({"id": "5", "output": 1, "latency_ms": told}).latency_ms == 12.5


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"loading...", "the reply is not JSON (Expecting value: line 1 column 1 (char 0)): `loa"),
        (b"\x1b[2J", "the reply is not JSON (Expecting value: line 1 column 1 (char 0)): `\\x1b["),
        (b'{"id": "5", "output": NaN}', "the reply is not JSON (NaN is not JSON): `{"),
        (b'{"id": "5", "output": -Infinity}', "the reply is not JSON (-Infinity is not JSON)"),
        (b'{"id": "5", "output": "\xff"}', "the reply is not UTF-8 (byte 23)"),
        (b"[1]", "the reply is not a JSON object: `[1]`"),
        (b"[" * 50_000, "the reply is nested deeper than 100 levels"),
        (b'{"n": ' + b"9" * 5000 + b"}", "the reply is not JSON (Exceeds the limit (4300 digits)"),
    ],
)
def test_a_line_that_is_no_message_is_out_of_step(line: bytes, text: str) -> None:
    """The error says what is wrong with the line and quotes it safely."""
    with pytest.raises(OutOfStep) as failed:
        message_in(line)

    assert str(failed.value).startswith(text)
    assert str(failed.value).isprintable()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"id": "4", "output": 1}, 'the reply has the id `"4"`, the question had `"5"`'),
        ({"id": 5, "output": 1}, 'the reply has the id `5`, the question had `"5"`'),
        ({"id": [[]], "output": 1}, 'the reply has the id a list, the question had `"5"`'),
        ({"id": "\x1b", "output": 1}, 'the reply has the id `"\\u001b"`, the question had `"5"`'),
        ({"output": 1}, 'the reply has no id, the question had `"5"`'),
        ({}, 'the reply has no id, the question had `"5"`'),
    ],
)
def test_a_reply_to_another_question_is_out_of_step(message: Any, text: str) -> None:
    """An answer is never booked to a case it does not belong to."""
    with pytest.raises(OutOfStep) as failed:
        reply_to(message)

    assert str(failed.value) == text


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"error": "no index"}, "no index"),
        ({"error": "bad \u202e text", "output": 1}, "bad \\u202e text"),
        ({"error": ""}, "an error without a text"),
        ({"error": {"code": 3}}, "`error` is no text: an object"),
        ({"error": False}, "`error` is no text: `false`"),
        ({"error": "x" * 2001}, "x" * 2000 + "… (+1 characters)"),
        ({}, "the reply has neither `output` nor `error`"),
        ({"output": 2**53}, "the answer holds an integer beyond 2^53 - 1"),
        ({"output": 1, "tokens_in": 1.5}, "`tokens_in` is no count: `1.5`"),
        ({"output": 1, "tokens_out": [[1]]}, "`tokens_out` is no count: a list"),
        ({"output": 1, "tokens_out": -1}, "`tokens_out` is no count: `-1`"),
    ],
)
def test_an_error_that_belongs_to_the_question_leaves_the_process_in_step(
    told: dict[str, Any], text: str
) -> None:
    """The case fails with a clear text; the process may be asked again."""
    with pytest.raises(CaseFailed) as failed:
        reply_to({"id": "5", **told})

    assert str(failed.value).startswith(text)
    assert not isinstance(failed.value, OutOfStep)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": [1, -0.0, "\\ud83d\\ude00", null, true]}', None),
        (str(2**53 - 1), None),
        (str(-(2**53)), "holds an integer beyond 2^53 - 1"),
        ("[1e999]", "holds a number beyond what JSON can carry"),
        ('{"\\udc00": 1}', "holds a lone surrogate, which is not text"),
        ("[" * 100 + "]" * 100, None),
        ("[" * 100 + "1" + "]" * 100, None),
        ("[" * 101 + "]" * 101, "is nested deeper than 100 levels"),
        ('{"a":' * 101 + "1" + "}" * 101, "is nested deeper than 100 levels"),
    ],
)
def test_only_values_that_records_can_carry_are_answers(text: str, problem: str | None) -> None:
    """The limits are those of canonical JSON, and 100 levels of nesting."""
    assert value_problem(json.loads(text)) == problem


def test_facts_are_what_stands_beside_ready() -> None:
    """The word `ready` is not a fact."""
    assert facts_in({"ready": True, "model": "m-1"}) == {"model": "m-1"}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"ready": False, "error": "no weights"}, "no weights"),
        ({"ready": 1}, 'the first line must be `{"ready": true}`, it holds `ready`'),
        (
            {"id": "1", "output": 2},
            'the first line must be `{"ready": true}`, it holds `id, output`',
        ),
        ({}, 'the first line must be `{"ready": true}`, it holds nothing'),
        ({"ready": True, "n": 2**60}, "what it tells about itself holds an integer beyond"),
    ],
)
def test_a_process_that_is_not_ready_says_why(message: dict[str, Any], text: str) -> None:
    """Anything but `true` is not ready."""
    with pytest.raises(OutOfStep) as failed:
        facts_in(message)

    assert str(failed.value).startswith(text)
