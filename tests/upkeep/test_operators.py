"""Ways to make a version worse: deterministic, of the version's own bytes, and only where they fit."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from lockgate.domain.components import Component, Definition
from lockgate.upkeep.operators import (
    OPERATORS,
    NotApplicable,
    Worse,
    make_worse,
    without_examples,
)

BY_NAME = {operator.name: operator for operator in OPERATORS}


class Made:
    """A definition with its bytes."""

    def __init__(self, **parts: tuple[dict[str, Any], dict[str, str]]) -> None:
        self.bytes: dict[str, bytes] = {}
        components = {}
        for name, (settings, texts) in parts.items():
            files = {}
            for path, text in texts.items():
                digest = sha256(text.encode()).hexdigest()
                self.bytes[digest] = text.encode()
                files[path] = digest
            components[name] = Component(settings, files)
        self.definition = Definition(components)

    def worse(self, name: str) -> Worse:
        """Apply an operator."""
        return make_worse(BY_NAME[name], self.definition, self.bytes.__getitem__)

    def text(self, worse: Worse, path: str) -> str:
        """Return what a file holds in the worse version."""
        digest = worse.definition.files()[path]
        return {**self.bytes, **worse.contents}[digest].decode()


PROMPT = "You sort tickets.\nBe short.\nBe kind.\nName the queue.\n"
EXAMPLES = '{"ticket": "a", "queue": "b"}\n{"ticket": "c", "queue": "d"}\n'
TOOL = {
    "name": "route",
    "parameters": {"properties": {"queue": {"enum": ["a"]}}, "required": ["queue"]},
}


@pytest.fixture
def made() -> Made:
    """A version that has something for every operator."""
    return Made(
        prompt=({}, {"p/system.md": PROMPT, "p/examples.jsonl": EXAMPLES}),
        generation=({"temperature": 0.2, "max_tokens": 9}, {}),
        tools=({}, {"t/route.json": json.dumps(TOOL)}),
        retrieval=({"top_k": 5}, {"h/1.md": "one", "h/2.md": "two", "h/3.md": "three"}),
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_gives_another_definition_and_the_same_one_each_time(made: Made, name: str) -> None:
    """What it made once it makes again, with the bytes that are new and no others."""
    worse, again = made.worse(name), made.worse(name)
    assert worse.definition.digest == again.definition.digest != made.definition.digest
    new = set(worse.definition.files().values()) - set(made.definition.files().values())
    assert set(worse.contents) == new
    assert all(sha256(data).hexdigest() == digest for digest, data in worse.contents.items())


def test_touches_its_own_part_only(made: Made) -> None:
    """Whatever else a version is made of stays as it is."""
    parts = {
        name: {
            part
            for part, digest in made.worse(name).definition.component_digests.items()
            if made.definition.component_digests[part] != digest
        }
        for name in BY_NAME
    }
    assert parts == {
        "drop-examples": {"prompt"},
        "truncate-prompt": {"prompt"},
        "blank-prompt": {"prompt"},
        "raise-temperature": {"generation"},
        "break-tools": {"tools"},
        "lower-top-k": {"retrieval"},
        "shuffle-index": {"retrieval"},
    }


def test_examples_go_and_the_prompt_stays(made: Made) -> None:
    """The words say how many went, and from where."""
    worse = made.worse("drop-examples")
    assert made.text(worse, "p/examples.jsonl") == ""
    assert made.text(worse, "p/system.md") == PROMPT
    assert worse.words == "2 examples dropped (p/examples.jsonl)"


@pytest.mark.parametrize(
    ("path", "text", "left", "count"),
    [
        ("e.jsonl", EXAMPLES, "", 2),
        ("e.json", '[{"a": 1}, {"a": 2}, 3]', "[]\n", 3),
        ("e.csv", 'ticket,queue\n"a\nb",c\nd,e\n', "ticket,queue\n", 2),
        ("e.txt", "# words\n1 free\n2 prize\n1 casino\n1 winner\n3 loan\n", "# words\n", 5),
    ],
)
def test_knows_examples_by_what_they_look_like(path: str, text: str, left: str, count: int) -> None:
    """JSON lines, a JSON list, a table and a list of words."""
    assert without_examples(path, text.encode()) == (left.encode(), count)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("system.md", PROMPT),
        ("system.txt", PROMPT + "Never guess.\nSay so.\n"),
        ("config.json", '{"a": [1]}'),
        ("broken.json", "{"),
        ("bytes.jsonl", "\udcff"),
    ],
)
def test_takes_nothing_else_for_examples(path: str, text: str) -> None:
    """Sentences, settings and bytes are no lists."""
    assert without_examples(path, text.encode("utf-8", "surrogateescape")) is None


def test_a_prompt_is_cut_at_a_line(made: Made) -> None:
    """The first half stays."""
    assert (
        made.text(made.worse("truncate-prompt"), "p/system.md") == "You sort tickets.\nBe short.\n"
    )


def test_a_broken_tool_is_still_json(made: Made) -> None:
    """It says nothing any more about what it takes, and can be read."""
    tool = json.loads(made.text(made.worse("break-tools"), "t/route.json"))
    assert tool == {"name": "route", "parameters": {"properties": {}}}


def test_the_index_is_mixed_up_completely(made: Made) -> None:
    """Every file has another one's content; the bytes are the same ones."""
    before, after = made.definition.files(), made.worse("shuffle-index").definition.files()
    changed = [path for path in before if before[path] != after[path]]
    assert changed == ["h/1.md", "h/2.md", "h/3.md"]
    assert sorted(before.values()) == sorted(after.values())


def test_settings_are_made_worse(made: Made) -> None:
    """Temperature 2, one document."""
    generation = made.worse("raise-temperature").definition.settings()["generation"]
    assert generation == {"temperature": 2.0, "max_tokens": 9}
    assert made.worse("lower-top-k").definition.settings()["retrieval"] == {"top_k": 1}


@pytest.mark.parametrize(
    ("name", "parts", "why"),
    [
        ("drop-examples", {"prompt": ({}, {"a.md": PROMPT})}, "no file of examples"),
        ("drop-examples", {"prompt": ({}, {"a.jsonl": ""})}, "no file of examples"),
        ("truncate-prompt", {"prompt": ({}, {"a.json": "{}"})}, "no text file"),
        ("blank-prompt", {"prompt": ({}, {"a.md": " \n"})}, "no text file"),
        ("raise-temperature", {"generation": ({}, {})}, "no `temperature`"),
        ("raise-temperature", {"generation": ({"temperature": 2}, {})}, "is 2 already"),
        ("raise-temperature", {}, "no `temperature`"),
        ("break-tools", {"tools": ({}, {"a.json": '{"type": "object"}'})}, "no tool"),
        ("break-tools", {"tools": ({}, {"a.json": "{"})}, "no tool"),
        ("lower-top-k", {"retrieval": ({"top_k": 1}, {})}, "is 1 already"),
        ("lower-top-k", {"retrieval": ({"top_k": "5"}, {})}, "no `top_k`"),
        ("shuffle-index", {"retrieval": ({}, {"a": "x"})}, "fewer than two"),
        ("shuffle-index", {"retrieval": ({}, {"a": "x", "b": "x"})}, "fewer than two"),
    ],
)
def test_says_why_it_does_not_apply(name: str, parts: dict[str, Any], why: str) -> None:
    """A version without the part is left alone."""
    with pytest.raises(NotApplicable, match=why):
        Made(**parts).worse(name)


def test_a_prompt_that_is_only_a_list_is_cut_too() -> None:
    """Where the list is all the prompt there is, it is the text."""
    words = "".join(f"{n} word\n" for n in range(6))
    made = Made(prompt=({}, {"words.txt": words}))
    assert made.text(made.worse("truncate-prompt"), "words.txt") == "0 word\n1 word\n2 word\n"
    with pytest.raises(NotApplicable, match="which drop-examples leaves out"):
        made.worse("blank-prompt")
