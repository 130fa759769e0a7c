"""Ask the running instances which version they are, and name what each answer means.

- The observe command prints a line an instance: its name and the version id it runs, or the id
  alone. An id may be cut to its first 8 digits or more.
- `match`: it runs what is live. `stale`: it runs a version that was published here before.
  `unreceipted`: it runs a version that no receipt here ever named. `unknown`: it named none.
- A command that fails, or does not answer in time, says nothing about any instance.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lockgate.deploy.hook import hook_environment, hook_problem
from lockgate.errors import InfrastructureFailed
from lockgate.shown import shown

MAX_OUTPUT_BYTES = 1 << 20
MIN_ID_DIGITS = 8
STATES = ("match", "stale", "unreceipted", "unknown")
_HINT = "run the `observe` command of the environment in policy.toml by hand, and read what it says"


@dataclass(frozen=True, slots=True)
class Instance:
    """One running instance, as the observe command told of it."""

    name: str
    """As it was told, or its place in the list; not safe to show."""
    version_text: str
    """What it says it runs; not safe to show."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An instance and what its answer means."""

    instance: Instance
    state: str
    """`match`, `stale`, `unreceipted` or `unknown`."""
    version: str | None
    """The whole version id, where it is known."""

    @property
    def name(self) -> str:
        """The instance, as it was told; not safe to show."""
        return self.instance.name


def observe(
    root: Path, argv: Sequence[str], timeout_s: float, facts: Mapping[str, str] | None = None
) -> list[Instance]:
    """Run the observe command and return the instances it names, in its order.

    Args:
        root: The registry's root, where it runs.
        argv: The words to run, without a shell.
        timeout_s: How long it may take.
        facts: Further variables, such as `LOCKGATE_SYSTEM` and `LOCKGATE_ENVIRONMENT`.

    Raises:
        InfrastructureFailed: It cannot be started, failed, ran out of time or wrote too much.
    """
    problem = hook_problem(root, argv)
    if problem:
        raise InfrastructureFailed(
            f"the instances cannot be asked: {problem}",
            hint="look at `observe` of the environment in policy.toml; make the script executable",
        )
    output = _output(root, argv, timeout_s, hook_environment(facts or {}))
    lines = [line.split(None, 1) for line in output.decode("utf-8", "replace").splitlines()]
    return [
        Instance(words[0], words[1].strip()) if len(words) == 2 else Instance(str(place), words[0])
        for place, words in enumerate(filter(None, lines), 1)
    ]


def _output(root: Path, argv: Sequence[str], timeout_s: float, variables: dict[str, str]) -> bytes:
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=root,
            env=variables,
            start_new_session=True,
        )
    except OSError as error:
        raise InfrastructureFailed(
            f"the instances cannot be asked: {shown(error.strerror or error)}", hint=_HINT
        ) from error
    with process:
        try:
            output, errors, trouble = _read(process, time.monotonic() + timeout_s)
            code = None if trouble else process.wait(1.0)
        except subprocess.TimeoutExpired:
            code, trouble = None, "it closed its output and went on"
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left behind goes with it
    if trouble == "late":
        trouble = f"it did not answer within {timeout_s:g} s"
    if trouble is None and code != 0:
        trouble = f"it ended with exit code {code}"
    if trouble is not None:
        said = [shown(line) for line in errors.decode("utf-8", "replace").splitlines()[-5:]]
        raise InfrastructureFailed(
            f"the instances could not be asked: {trouble}", problems=said, hint=_HINT
        )
    return output


def _read(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bytes, str | None]:
    """Read both outputs to their end, within time and size."""
    assert process.stdout is not None and process.stderr is not None
    texts = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    out, err = texts
    with selectors.DefaultSelector() as selector:
        for descriptor in texts:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = until - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                return texts[out], texts[err], "late"
            for key, _ in ready:
                data = os.read(key.fd, 65_536)
                texts[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
            if len(texts[out]) > MAX_OUTPUT_BYTES:
                return texts[out], texts[err], f"it wrote more than {MAX_OUTPUT_BYTES} bytes"
            texts[err] = texts[err][-MAX_OUTPUT_BYTES:]
    return texts[out], texts[err], None


def classify(
    instances: Sequence[Instance], live_version: str | None, receipted: Collection[str]
) -> list[Observed]:
    """Say what each instance's answer means.

    Args:
        instances: From `observe`.
        live_version: The version id that is live; `None` when nothing is.
        receipted: The version ids that any receipt of this environment ever named.
    """
    return [_observed(instance, live_version, receipted) for instance in instances]


def _observed(instance: Instance, live: str | None, receipted: Collection[str]) -> Observed:
    text = instance.version_text
    is_id = MIN_ID_DIGITS <= len(text) <= 64 and not text.strip("0123456789abcdef")
    if not is_id:
        return Observed(instance, "unknown", None)
    if live is not None and live.startswith(text):
        return Observed(instance, "match", live)
    known = [version for version in receipted if version.startswith(text)]
    if known:
        return Observed(instance, "stale", known[0] if len(known) == 1 else None)
    return Observed(instance, "unreceipted", text if len(text) == 64 else None)
