"""What `lockgate init` writes: a policy, a small system that runs, and a suite that judges it.

- Files that are there already are left alone; a system that is there gets a policy and no suite.
- Everything is plain text that is meant to be edited.
"""

from __future__ import annotations

import json
from pathlib import Path

_POLICY = """\
# What each environment asks of a version. It counts once applied: `lockgate policy apply`.

[environments.staging]
stakes = "low"                    # a pass promotes at once
max_age = "7d"                    # how long a decision stands
{staging_rules}
[environments.production]
stakes = "low"                    # "high" asks reviewers; see the lines below
requires = ["staging"]            # promoted there first, with the same definition
max_age = "7d"
# stakes = "high"
# reviewers = ["ml-lead"]
# signers = "signers"             # ml-lead namespaces="lockgate" ssh-ed25519 AAAA...
{production_rules}"""

_RULES = """
[environments.{environment}.systems.{system}]
rules = [
  {{ suite = "{system}", metric = "accuracy", min = {least}, max_drop = {drop} }},
]
"""

_NO_RULES = """
# Without rules for a system, a completed run on every suite of it is all that is asked:
# [environments.{environment}.systems.{system}]
# rules = [{{ suite = "NAME", metric = "accuracy", min = {least}, max_drop = {drop} }}]
"""

_SYSTEM = """\
# What a version of this system is: every setting and every file that changes how it behaves.

[system]
name = "{system}"
owner = "{owner}"

[model]
name = "keyword-counter"
revision = "1"                    # pinned: a name alone could change behind your back

[prompt]
files = ["prompts/*.txt"]

[generation]
fallback = "question"

[code]
files = ["answer.py"]

[run]
kind = "python"
target = "answer:answer"
"""

_ANSWER = '''\
"""Sorts a message by the words it contains; replace this with your own system."""

from pathlib import Path

WORDS = {
    path.stem: path.read_text(encoding="utf-8").split() for path in Path("prompts").glob("*.txt")
}


def answer(input, settings):
    """Return the label whose words occur most often in the message."""
    message = input["message"].lower()
    hits = {label: sum(word in message for word in words) for label, words in WORDS.items()}
    best = max(sorted(hits), key=hits.get)
    return {"label": best if hits[best] else settings["generation"]["fallback"]}
'''

_PROMPTS = {
    "complaint": "broken wrong late refund angry never",
    "praise": "thanks thank great love perfect",
    "question": "how where when can what",
}

_SUITE = """\
# How versions are judged. It counts once applied: `lockgate suite apply`.

[suite]
system = "{system}"
description = "Messages and the label they should get"
cases = "{system}.jsonl"
timeout_s = 10.0

[[scorers]]
metric = "accuracy"
kind = "exact"
field = "label"
expected = "label"
"""

_CASES = (
    ("It arrived broken and nobody answers my mails", "complaint"),
    ("The order is two weeks late", "complaint"),
    ("You sent the wrong size, again", "complaint"),
    ("I want a refund for this", "complaint"),
    ("Thanks, that was quick", "praise"),
    ("I love the new colours", "praise"),
    ("A great shop with great people", "praise"),
    ("Perfect, exactly what I hoped for", "praise"),
    ("How do I change my address?", "question"),
    ("Where is my invoice?", "question"),
    ("When do you open on Sunday?", "question"),
    ("Can I pay by bank transfer?", "question"),
    ("My parcel never came", "complaint"),
    ("This is the third time I write about the same thing", "complaint"),
    ("Best purchase of the year", "praise"),
    ("Is it possible to collect the parcel myself?", "question"),
)


def write_starter(root: Path, system: str, owner: str) -> list[Path]:
    """Write the starter's files where none are yet.

    Returns:
        The files that were written.
    """
    folder = root / "systems" / system
    has_system = (root / "lockgate.toml").exists() or any(root.glob("systems/*/lockgate.toml"))
    texts: dict[Path, str] = {root / "policy.toml": _policy(system, has_suite=not has_system)}
    if not has_system:
        texts[folder / "lockgate.toml"] = _SYSTEM.format(system=system, owner=owner)
        texts[folder / "answer.py"] = _ANSWER
        for label, words in _PROMPTS.items():
            texts[folder / "prompts" / f"{label}.txt"] = "\n".join(words.split()) + "\n"
        texts[root / "suites" / f"{system}.toml"] = _SUITE.format(system=system)
        texts[root / "suites" / f"{system}.jsonl"] = "".join(
            json.dumps(
                {"id": f"m-{n:02}", "input": {"message": text}, "expected": {"label": label}}
            )
            + "\n"
            for n, (text, label) in enumerate(_CASES, 1)
        )
    written = []
    for path, text in texts.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def _policy(system: str, *, has_suite: bool) -> str:
    rules = _RULES if has_suite else _NO_RULES
    return _POLICY.format(
        staging_rules=rules.format(environment="staging", system=system, least="0.60", drop="0.10"),
        production_rules=rules.format(
            environment="production", system=system, least="0.70", drop="0.05"
        ),
    )
