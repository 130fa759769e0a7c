"""A version's process sees nothing of ours and does not outlive us."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asked_versions import (
    command_runner,
    eventually,
    is_running,
    outcomes,
    python_runner,
    write_program,
    write_version,
)

SEEN = """
import os, pathlib, sys

def answer(input, settings):
    return {
        "environment": dict(os.environ),
        "home": sorted(os.listdir(pathlib.Path.home())),
        "cwd": os.getcwd(),
        "path": sys.path,
        "session": os.getsid(0) == os.getpid(),
        "files": sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else [],
    }
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a version sees when our own environment holds a secret."""
    monkeypatch.setenv("SUPPORT_API_KEY", "sk-secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/of/ours")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    folder = write_version(tmp_path / "version", assistant=SEEN)
    [output] = outcomes(python_runner(folder), 0)
    return output


def test_the_environment_is_an_allow_list(seen: dict[str, Any]) -> None:
    """No key, no path and no setting of ours is visible."""
    environment = seen["environment"]
    private = {"HOME", "TMPDIR"}

    assert {key: value for key, value in environment.items() if key not in private} == {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_CORETYPE": "Haswell",
    }
    assert private < environment.keys()


def test_home_and_temporary_folders_are_private_and_gone_afterwards(seen: dict[str, Any]) -> None:
    """The version finds an empty home, and nothing stays behind."""
    home = Path(seen["environment"]["HOME"])

    assert seen["home"] == []
    assert home.parent.name.startswith("lockgate-")
    assert not home.parent.exists()


def test_the_versions_folder_is_current_and_first_to_import_from(
    seen: dict[str, Any], tmp_path: Path
) -> None:
    """Modules come from the version, then from the interpreter; never from PYTHONPATH."""
    assert seen["cwd"] == str(tmp_path / "version")
    assert seen["path"][0] == seen["cwd"]
    assert "/somewhere/of/ours" not in seen["path"]
    assert not any(entry.endswith("lockgate/runners") for entry in seen["path"])


def test_a_version_runs_in_a_session_of_its_own(seen: dict[str, Any]) -> None:
    """Ctrl-C in our terminal does not reach it."""
    assert seen["session"] is True


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to list open files")
def test_no_open_file_of_ours_is_inherited(seen: dict[str, Any]) -> None:
    """The three standard ones, the protocol's two, and the listing itself."""
    assert len(seen["files"]) == 6


def test_the_folder_is_left_as_it_was(tmp_path: Path) -> None:
    """Importing writes no bytecode beside the version's files."""
    folder = write_version(tmp_path / "version", assistant="import helper\n" + SEEN, helper="")

    outcomes(python_runner(folder), 0)

    assert sorted(path.name for path in folder.iterdir()) == ["assistant.py", "helper.py"]


def test_lockgate_need_not_be_importable_for_a_version(tmp_path: Path) -> None:
    """The worker is a file of its own that uses the standard library alone."""
    worker = Path(__file__).parents[2] / "src" / "lockgate" / "runners" / "worker.py"
    folder = write_version(tmp_path / "version", assistant="def answer(i, s): return [i, s]")

    bare = subprocess.run(
        [sys.executable, "-I", "-S", worker, str(os.getpid()), "python", "assistant:answer"],
        cwd=folder,
        input='{"start": {"settings": {}, "seed": 1}}\n{"id": "q", "input": 5, "seed": 1}\n',
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert bare.stderr == ""
    assert json.loads(bare.stdout.splitlines()[1])["output"] == [5, {}]


PARENT = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from asked_versions import command_runner, python_runner, question
from lockgate.evals.engine import ask_all

if __name__ == "__main__":
    runner = {kind}_runner(Path({folder!r}), timeout_s=600.0)
    for _ in ask_all([question()], runner, stop_after_errors=None):
        pass
"""
BUSY = "import os\nopen({pid!r}, 'w').write(str(os.getpid()) + '!')\n"


@pytest.mark.parametrize("kind", ["python", "command"])
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_workers_end_when_we_are_killed(tmp_path: Path, kind: str) -> None:
    """Even a worker that is busy and deaf to everything does not outlive a `kill -9`."""
    pid_file = tmp_path / "pid"
    busy = BUSY.format(pid=str(pid_file))
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n"
    if kind == "python":
        write_version(
            tmp_path / "version",
            assistant=f"def answer(i, s):\n    exec({busy + deaf!r})\n",
        )
    else:
        write_program(tmp_path / "version", "say({'ready': True})\n" + busy + deaf)
    script = tmp_path / "parent.py"
    script.write_text(
        PARENT.format(kind=kind, folder=str(tmp_path / "version"), tests=str(Path(__file__).parent))
    )
    parent = subprocess.Popen(
        [sys.executable, script], env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    )
    try:
        eventually(lambda: pid_file.exists() and pid_file.read_text().endswith("!"))
        worker = int(pid_file.read_text().rstrip("!"))
        assert is_running(worker)

        parent.send_signal(signal.SIGKILL)
        parent.wait(15)

        assert eventually(lambda: not is_running(worker))
    finally:
        parent.kill()
        parent.wait(15)


def test_a_program_gets_the_same_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds of versions are kept apart from our secrets alike."""
    monkeypatch.setenv("SUPPORT_API_KEY", "sk-secret")
    write_program(
        tmp_path / "version",
        """
        say({"ready": True})
        for line in sys.stdin:
            say({"id": json.loads(line)["id"], "output": sorted(os.environ)})
        """,
    )

    [names] = outcomes(command_runner(tmp_path / "version"), 0)

    assert "SUPPORT_API_KEY" not in names
    assert {"PATH", "HOME", "TMPDIR"} <= set(names)
