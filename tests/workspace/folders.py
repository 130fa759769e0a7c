"""Write the folder of a small system, for the tests of what people write."""

from __future__ import annotations

from pathlib import Path

SYSTEM = '[system]\nname = "support-desk"\nowner = "support-ml"\n'
MODEL = '[model]\nname = "char-ngrams"\nrevision = "2026-08-06"\n'
RUN = '[run]\nkind = "python"\ntarget = "assistant:answer"\n'
CODE = '[code]\nfiles = ["assistant.py"]\n'
BARE = SYSTEM + MODEL + RUN
"""The least that `lockgate.toml` has to say."""

PROGRAM = SYSTEM + MODEL + '[run]\nkind = "command"\ncommand = ["cat"]\n'
"""The least of a system that needs no file at all."""


def with_files(root: Path, settings: str, files: dict[str, str | bytes]) -> Path:
    """Write `lockgate.toml` and files by their paths."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "lockgate.toml").write_text(settings, encoding="utf-8")
    for path, data in files.items():
        whole = root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(data.encode() if isinstance(data, str) else data)
    return root
