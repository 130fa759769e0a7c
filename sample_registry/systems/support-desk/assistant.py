"""Answer support tickets: choose the queue, name handbook articles, draft the reply.

The queue comes from a naive Bayes classifier over character n-grams. Its training data is its
prompt: the definitions in `prompts/queues.md` and the examples in `prompts/examples.jsonl`, read
once per process. Everything is deterministic, sampling included.
"""

import hashlib
import json
import math
import random
import re
from functools import lru_cache
from pathlib import Path
from sqlite3 import Connection
from string import Template
from typing import Any

from search import build_index, find_articles

FALLBACK_QUEUE = "howto"
SMOOTHING = 0.1  # added to every n-gram count, so that an unseen one does not rule a queue out
URGENT_QUEUES = frozenset({"access", "privacy"})
AMOUNT = re.compile(r"[€£$] ?(\d+(?:\.\d\d)?)|(\d+(?:\.\d\d)?) ?(?:€|£|euros?\b|pounds?\b)", re.I)

Settings = dict[str, dict[str, Any]]


def answer(input: dict[str, str], settings: Settings) -> dict[str, Any]:
    """Answer one input.

    Args:
        input: `{"ticket": text}` or `{"question": text}`.
        settings: Settings of the version, component by component.

    Returns:
        For a ticket its queue, the confidence (0 to 1), handbook articles, tool calls and a reply;
        for a question the articles.
    """
    if "question" in input:
        return {"articles": _articles(input["question"], settings["retrieval"])}
    return _answer_ticket(input["ticket"], settings)


def _answer_ticket(ticket: str, settings: Settings) -> dict[str, Any]:
    model, generation = settings["model"], settings["generation"]
    shares = _shares(ticket, model["ngram_min"], model["ngram_max"])
    queue = _choose(ticket, shares, generation.get("temperature", 0.0))
    confidence = shares.get(queue, 0.0)
    if queue not in _allowed_queues():
        queue = FALLBACK_QUEUE
    articles = _articles(ticket, settings["retrieval"])
    return {
        "queue": queue,
        "confidence": round(confidence, 4),
        "articles": articles,
        "calls": _calls(ticket, queue),
        "reply": _reply(queue, articles, generation.get("max_tokens", 120)),
    }


# Triage


def _shares(ticket: str, ngram_min: int, ngram_max: int) -> dict[str, float]:
    """Return how likely each queue is, in alphabetical order; the shares add up to 1."""
    queues, counts, totals, logs = _trained(ngram_min, ngram_max)
    known = sorted(gram for gram in _ngrams(ticket, ngram_min, ngram_max) if gram in counts)
    if not known:
        return {queue: 1 / len(queues) for queue in queues}
    scores = []
    for place, total in enumerate(totals):
        seen = sum(logs[counts[gram][place]] for gram in known)
        # Overlapping n-grams repeat each other; dividing by the root keeps the shares modest.
        scores.append((seen - len(known) * math.log(total)) / math.sqrt(len(known)))
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    return {queue: weight / sum(weights) for queue, weight in zip(queues, weights, strict=True)}


def _choose(ticket: str, shares: dict[str, float], temperature: float) -> str:
    """Take the likeliest queue at temperature 0; above, draw one, for equal text the same."""
    if not shares:
        return FALLBACK_QUEUE
    if temperature <= 0:
        return max(shares, key=lambda queue: shares[queue])
    weights = [share ** (1 / temperature) for share in shares.values()]
    seed = int.from_bytes(hashlib.sha256(ticket.encode("utf-8")).digest()[:8], "big")
    return random.Random(seed).choices(list(shares), weights)[0]


@lru_cache(maxsize=4)
def _trained(
    ngram_min: int, ngram_max: int
) -> tuple[list[str], dict[str, list[int]], list[float], list[float]]:
    """Count in how many texts of each queue an n-gram stands.

    Returns:
        The queues, the counts per n-gram, the smoothed total per queue, and the logarithm of each
        smoothed count.
    """
    texts = _training_texts()
    queues = sorted({queue for queue, _ in texts})
    place = {queue: number for number, queue in enumerate(queues)}
    counts: dict[str, list[int]] = {}
    totals = [0] * len(queues)
    for queue, text in texts:
        column = place[queue]
        grams = _ngrams(text, ngram_min, ngram_max)
        totals[column] += len(grams)
        for gram in grams:
            if gram not in counts:
                counts[gram] = [0] * len(queues)
            counts[gram][column] += 1
    smoothed = [total + SMOOTHING * len(counts) for total in totals]
    logs = [math.log(count + SMOOTHING) for count in range(len(texts) + 1)]
    return queues, counts, smoothed, logs


def _training_texts() -> list[tuple[str, str]]:
    """Return (queue, text) for every phrase of a definition and every example."""
    texts = []
    for queue, definition in _sections("prompts/queues.md").items():
        texts += [(queue, phrase) for phrase in re.split(r"[.,:;]", definition) if phrase.strip()]
    for line in Path("prompts/examples.jsonl").read_text(encoding="utf-8").splitlines():
        if line.strip():
            example = json.loads(line)
            texts.append((example["queue"], example["ticket"]))
    return texts


def _ngrams(text: str, shortest: int, longest: int) -> set[str]:
    """Return the set of character n-grams of a text, across word borders."""
    text = re.sub(r"[0-9]+", "0", text.lower().replace("'", "").replace("?", " ? "))
    text = " " + re.sub(r"[^a-z0?]+", " ", text).strip() + " "
    return {
        text[start : start + length]
        for length in range(shortest, longest + 1)
        for start in range(len(text) - length + 1)
    }


# Articles


def _articles(text: str, retrieval: dict[str, Any]) -> list[str]:
    index = _index(retrieval["tokenizer"], retrieval["chunking"])
    return find_articles(index, text, retrieval["top_k"])


@lru_cache(maxsize=4)
def _index(tokenizer: str, chunking: str) -> Connection:
    return build_index(Path("handbook"), tokenizer, chunking)


# Tools and reply


def _calls(ticket: str, queue: str) -> list[dict[str, Any]]:
    """Return the tool calls a ticket leads to, as the desk's software takes them."""
    priority = "high" if queue in URGENT_QUEUES else "normal"
    calls = [{"tool": "route_ticket", "arguments": {"queue": queue, "priority": priority}}]
    amount = AMOUNT.search(ticket)
    if queue == "refunds" and amount:
        arguments = {"amount": float(amount[1] or amount[2]), "reason": ticket[:200]}
        calls.append({"tool": "open_refund", "arguments": arguments})
    return calls


@lru_cache(maxsize=1)
def _allowed_queues() -> frozenset[str]:
    """Return the queues the routing tool accepts; none when its schema does not say."""
    schema = json.loads(Path("tools/route_ticket.json").read_text(encoding="utf-8"))
    return frozenset(schema.get("properties", {}).get("queue", {}).get("enum", ()))


def _reply(queue: str, articles: list[str], max_tokens: int) -> str:
    """Fill the template's `letter` with the queue's own sentence; a token is a word here."""
    sections = _sections("prompts/reply.md")
    letter = Template(sections.get("letter", "")).safe_substitute(
        queue=queue, sentence=sections.get(queue, ""), articles=", ".join(articles[:3]) or "none"
    )
    words = re.findall(r"\s*\S+", letter)
    return "".join(words[:max_tokens]).strip()


@lru_cache(maxsize=4)
def _sections(path: str) -> dict[str, str]:
    """Return the text below each second-level heading of a Markdown file, by heading."""
    parts = re.split(r"(?m)^## +(.+)$", Path(path).read_text(encoding="utf-8"))
    return {name.strip(): text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
