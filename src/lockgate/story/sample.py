"""The sample registry that ships with Lockgate: where it is, and how a copy is made of it.

- A copy is plain text in a new folder; nothing recorded comes with it.
- Reviewers are roles with throw-away keys made on the spot; without ssh-keygen they are claimed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lockgate.errors import LockgateError, Refused, UsageMistake

REVIEWERS = ("ml-lead", "support-lead")
KEYS = "keys"
"""Folder below the copy that holds the reviewers' throw-away keys."""
_PARTS = ("policy.toml", "suites", "systems", "story", "story.toml", "serve")


def sample_folder() -> Path:
    """Return the folder of the shipped sample.

    Raises:
        UsageMistake: This installation came without it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sample_registry", package.parents[1] / "sample_registry"):
        if (folder / "policy.toml").is_file():
            return folder
    raise UsageMistake(
        "this installation came without the sample", hint="install lockgate from its wheel"
    )


def copy_sample(target: Path) -> bool:
    """Copy the sample into a new or empty folder and make keys for its reviewers.

    Returns:
        Whether the reviewers have keys; without ssh-keygen their names are only claimed.

    Raises:
        Refused: The folder holds something already.
    """
    if target.exists() and any(target.iterdir()):
        raise Refused(
            f"`{target}` is not empty", hint="name a new folder: `lockgate demo some-new-folder`"
        )
    target.mkdir(parents=True, exist_ok=True)
    source = sample_folder()
    for name in _PARTS:
        part = source / name
        if part.is_dir():
            shutil.copytree(
                part, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
            )
        else:
            shutil.copyfile(part, target / name)
    return _make_keys(target)


def _make_keys(target: Path) -> bool:
    from lockgate.domain.approval import signer_line
    from lockgate.signing import ssh as signing

    lines = []
    try:
        (target / KEYS).mkdir(mode=0o700)
        for reviewer in REVIEWERS:
            public = signing.make_key(target / KEYS / reviewer, reviewer)
            lines.append(signer_line(reviewer, public))
    except LockgateError:
        _accept_claimed(target / "policy.toml")
        return False
    (target / "signers").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return True


def _accept_claimed(policy: Path) -> None:
    lines = policy.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("signers =")]
    text = "\n".join(kept).replace("accept_claimed = false", "accept_claimed = true")
    policy.write_text(text + "\n", encoding="utf-8")
