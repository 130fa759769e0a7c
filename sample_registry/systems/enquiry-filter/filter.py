"""Tell spam from real enquiries on a booking page, one JSON line in, one out.

    {"start": {"settings": {...}, "seed": 7}}    ->  {"ready": true}
    {"id": "e-001", "input": {"enquiry": "..."}} ->  {"id": "e-001", "output": {...}}

The weights of the words and phrases in `prompts/words.txt` that an enquiry holds are added up, a
link counts once more, and from the threshold upward it is spam. Ends when its input ends.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

LINK = re.compile(r"https?://|www\b|\w\.example\b")


def main() -> None:
    """Answer the lines of standard input until it ends."""
    model = json.loads(sys.stdin.readline())["start"]["settings"]["model"]
    weights = read_weights(Path("prompts/words.txt"))
    _say({"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        try:
            _say({"id": question["id"], "output": judge(question["input"], weights, model)})
        except (KeyError, TypeError, AttributeError) as error:
            _say({"id": question["id"], "error": f"no text under `enquiry`: {error!r}"})


def judge(question: dict[str, Any], weights: dict[str, float], model: dict[str, Any]) -> Any:
    """Return `spam` and the `score` it comes from; 0 is neutral."""
    text = question["enquiry"].lower()
    words = " " + " ".join(re.findall(r"[\w%$']+", text)) + " "
    score = sum(weight for phrase, weight in weights.items() if f" {phrase} " in words)
    if LINK.search(text):
        score += model["link_weight"]
    return {"spam": score >= model["threshold"], "score": round(score, 2)}


def read_weights(path: Path) -> dict[str, float]:
    """Read lines of a weight and a word or phrase; `#` begins a comment.

    Raises:
        ValueError: A line does not begin with a number.
    """
    weights = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        weight, _, phrase = line.partition("#")[0].strip().partition(" ")
        if phrase:
            weights[phrase.strip().lower()] = float(weight)
    return weights


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - standard output is the protocol


if __name__ == "__main__":
    main()
