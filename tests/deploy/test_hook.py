"""A deploy hook runs at most once, outlives whoever started it, and always tells how it ended."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.world import is_gone
from lockgate.deploy import hook
from lockgate.deploy.files import open_lock, take_lock
from lockgate.deploy.hook import (
    HookRun,
    HookStatus,
    Job,
    follow,
    hook_digest,
    last_lines,
    start,
    status,
    stop,
)
from lockgate.deploy.hook_runner import process_mark
from lockgate.errors import InfrastructureFailed, Refused, RegistryTrouble, StaleGeneration

WAIT = "{ read -r go < go; } 2> /dev/null"
"""Waits until the test writes to the pipe `go`."""


class Hooks:
    """A registry's root with a hook script, and the runs that a test starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".lockgate" / "hooks"
        self.started: list[HookRun] = []
        os.mkfifo(root / "go")
        os.mkfifo(root / "up")

    def run(self, generation: int = 28) -> HookRun:
        return HookRun(self.folder, "support-desk", "production", generation)

    def script(self, text: str) -> list[str]:
        path = self.root / "deploy.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return ["./deploy.sh"]

    def job(self) -> Job:
        return Job(self.root / "staged.json", self.root / "new", "a" * 64, self.root / "old")

    def start(
        self, text: str, generation: int = 28, *, timeout_s: float = 30.0, grace_s: float = 5.0
    ) -> HookRun:
        run = self.run(generation)
        self.started.append(run)
        start(self.root, run, self.script(text), self.job(), timeout_s=timeout_s, grace_s=grace_s)
        return run

    def is_up(self) -> None:
        """Wait until the hook says that it is where the test wants it: `echo > up`."""
        (self.root / "up").read_text()

    def go(self) -> None:
        """Let a hook that waits go on."""
        (self.root / "go").write_text("\n")

    def ended(self, run: HookRun) -> HookStatus:
        """Follow a hook to its end."""
        for _ in follow(run):
            pass
        return status(run)


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Hooks]:
    made = Hooks(tmp_path)
    yield made
    for run in made.started:
        stop(run, grace_s=0.2)


class TestEndings:
    """How a hook ended is known long after everybody has gone."""

    def test_a_hook_that_ends_well(self, hooks: Hooks) -> None:
        """Exit code 0 is the only success."""
        run = hooks.start("echo pods restarted; exit 0")
        ended = hooks.ended(run)
        assert (ended.state, ended.ending, ended.exit_code) == ("ended", "exit", 0)
        assert ended.is_success
        assert ended.started is not None and ended.ended is not None
        assert ended.started <= ended.ended
        assert ended.words() == "ended with exit code 0 after 0 s"

    def test_a_hook_that_fails(self, hooks: Hooks) -> None:
        """Another exit code is told, with the last lines."""
        run = hooks.start("echo one; echo two >&2; exit 3")
        ended = hooks.ended(run)
        assert (ended.ending, ended.exit_code, ended.is_success) == ("exit", 3, False)
        assert last_lines(run) == ("one", "two")
        assert last_lines(run, 1) == ("two",)

    def test_a_hook_that_is_killed(self, hooks: Hooks) -> None:
        """A signal from elsewhere is told by its name."""
        run = hooks.start("kill -9 $$")
        ended = hooks.ended(run)
        assert (ended.ending, ended.signal, ended.is_success) == ("signal", "SIGKILL", False)
        assert ended.words() == "was killed by SIGKILL after 0 s"

    def test_a_hook_that_takes_too_long(self, hooks: Hooks) -> None:
        """At the time limit it is told to end, and it may say goodbye."""
        run = hooks.start("trap 'echo bye; exit 0' TERM; echo > up; " + WAIT, timeout_s=0.5)
        hooks.is_up()
        ended = hooks.ended(run)
        assert (ended.ending, ended.is_success) == ("timeout", False)
        assert last_lines(run) == ("bye",)

    def test_a_hook_that_ignores_being_told(self, hooks: Hooks) -> None:
        """After the grace its whole group is killed, with children that ignore TERM as well."""
        text = "trap '' TERM; sh -c 'echo $$ > child; exec sleep 60' & echo > up; wait; sleep 60"
        run = hooks.start(text, timeout_s=0.3, grace_s=0.3)
        hooks.is_up()
        ended = hooks.ended(run)
        assert ended.ending == "timeout"
        assert ended.pid is not None and is_gone(ended.pid)
        assert is_gone(int((hooks.root / "child").read_text()))

    def test_a_program_that_no_system_can_run(self, hooks: Hooks) -> None:
        """A script without an interpreter is executable, and still cannot be started."""
        argv = hooks.script("true")
        (hooks.root / "deploy.sh").write_text("#!/no/such/interpreter\n")
        run = hooks.run()
        start(hooks.root, run, argv, hooks.job(), timeout_s=5)
        ended = hooks.ended(run)
        assert (ended.ending, ended.is_success) == ("unstartable", False)
        assert ended.words() == "could not be started: No such file or directory"

    def test_what_a_hook_leaves_running_stays(self, hooks: Hooks) -> None:
        """A server that a simple hook starts in the background is not killed with it."""
        run = hooks.start("sleep 60 > /dev/null 2>&1 & echo $! > child; echo started")
        assert hooks.ended(run).is_success
        child = int((hooks.root / "child").read_text())
        try:
            assert process_mark(child) is not None
        finally:
            os.kill(child, signal.SIGKILL)

    def test_a_child_that_keeps_the_output_open_delays_nothing(self, hooks: Hooks) -> None:
        """The hook has ended when its own process has, whoever still holds its output."""
        run = hooks.start("sleep 60 & echo $! > child; echo done")
        ended = hooks.ended(run)
        os.kill(int((hooks.root / "child").read_text()), signal.SIGKILL)
        assert ended.is_success
        assert ended.elapsed_s is not None and ended.elapsed_s < 10
        assert last_lines(run) == ("done",)

    def test_a_hook_that_never_started(self, hooks: Hooks) -> None:
        """No record and no lock: nothing ran."""
        assert status(hooks.run()) == HookStatus("absent")
        assert status(hooks.run()).words() == "never started"
        assert [seen.state for seen in follow(hooks.run())] == ["absent"]


class TestWhatItSees:
    """A hook gets the facts of its attempt, an allowed environment, and nobody to ask."""

    def test_the_facts_of_the_attempt(self, hooks: Hooks) -> None:
        """Receipt, folders, version, and the generation as its fencing number."""
        run = hooks.start("env | grep ^LOCKGATE_ | sort")
        hooks.ended(run)
        assert last_lines(run) == (
            "LOCKGATE_ENVIRONMENT=production",
            f"LOCKGATE_FOLDER={hooks.root}/new",
            "LOCKGATE_GENERATION=28",
            f"LOCKGATE_PREVIOUS_FOLDER={hooks.root}/old",
            f"LOCKGATE_RECEIPT={hooks.root}/staged.json",
            "LOCKGATE_SYSTEM=support-desk",
            f"LOCKGATE_VERSION={'a' * 64}",
        )

    def test_the_environment_is_allow_listed(
        self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A secret of the shell stays there, unless this machine says that hooks get it."""
        monkeypatch.setenv("API_KEY", "hidden")
        monkeypatch.setenv("KUBECONFIG", "/etc/kube")
        monkeypatch.setenv("LOCKGATE_HOOK_VARIABLES", "KUBECONFIG, NOT_SET")
        run = hooks.start('echo "$API_KEY,$KUBECONFIG,$HOME"')
        hooks.ended(run)
        assert last_lines(run) == (f",/etc/kube,{os.environ['HOME']}",)

    def test_it_runs_in_the_root_without_terminal_or_input(self, hooks: Hooks) -> None:
        """Nothing can ask, and no signal that was ignored here is ignored there."""
        text = "pwd; cat; tty; (: < /dev/tty) 2> /dev/null || echo no terminal; kill -HUP $$"
        run = hooks.start(text)
        assert hooks.ended(run).signal == "SIGHUP"
        assert last_lines(run) == (str(hooks.root), "not a tty", "no terminal")

    def test_no_shell_reads_the_words(self, hooks: Hooks) -> None:
        """`$HOME; id` is one word for the script."""
        argv = [*hooks.script('echo "$#:$1"'), "$HOME; id"]
        run = hooks.run()
        start(hooks.root, run, argv, hooks.job(), timeout_s=10)
        hooks.ended(run)
        assert last_lines(run) == ("1:$HOME; id",)

    def test_files_of_ours_are_closed(self, hooks: Hooks) -> None:
        """The hook inherits neither the lock nor anything else: only its own three."""
        run = hooks.start("ls /proc/self/fd 2> /dev/null | head -4 | tr '\\n' ' '")
        hooks.ended(run)
        assert last_lines(run) == ("0 1 2 3 ",)


class TestOutput:
    """What a hook writes is followed as it comes, and kept within bounds."""

    def test_lines_come_while_it_runs(self, hooks: Hooks) -> None:
        """A caller sees a line long before the end, and how long it has been running."""
        run = hooks.start(f"echo 3/5 pods restarted; {WAIT}; echo done")
        seen: list[str] = []
        states = []
        for progress in follow(run):
            states.append(progress.state)
            assert progress.elapsed_s >= 0
            seen += progress.lines
            if seen == ["3/5 pods restarted"] and states.count("running") == 1:
                hooks.go()
        assert seen == ["3/5 pods restarted", "done"]
        assert (states[0], states[-1]) == ("running", "ended")

    def test_a_silent_hook_lets_the_caller_redraw(self, hooks: Hooks) -> None:
        """Something comes at least every 0.2 s."""
        run = hooks.start(WAIT)
        looks = follow(run)
        began = time.monotonic()
        for _ in range(5):
            assert next(looks).lines == ()
        elapsed_s = time.monotonic() - began
        hooks.go()
        assert list(looks)[-1].state == "ended"
        assert elapsed_s < 5 * 0.2 + 1.0

    def test_leaving_the_follower_does_not_stop_the_hook(self, hooks: Hooks) -> None:
        """A closed terminal is no reason to stop; another one takes over from the beginning."""
        run = hooks.start(f"echo one; {WAIT}; echo two")
        looks = follow(run)
        assert next(looks).lines == ("one",)
        looks.close()
        assert status(run).state == "running"
        hooks.go()
        assert [line for progress in follow(run) for line in progress.lines] == ["one", "two"]

    def test_lines_are_safe_to_show(self, hooks: Hooks) -> None:
        """Escapes are spelled out, a progress bar is lines, and a last line needs no end."""
        run = hooks.start(r"printf '\033[2Jred\n10 %%\r20 %%\r\n\377\nend'")
        lines = [line for progress in follow(run) for line in progress.lines]
        assert lines == ["\\x1b[2Jred", "10 %", "20 %", "\ufffd", "end"]
        assert last_lines(run) == tuple(lines)

    def test_a_flood_is_bounded_and_does_not_stall(
        self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Beyond the cap only the end is kept, and how much was not."""
        monkeypatch.setattr(hook, "LOG_CAP_BYTES", 100_000)
        monkeypatch.setattr(hook, "LOG_TAIL_BYTES", 1_000)
        run = hooks.start("head -c 20000000 /dev/zero; echo; echo the last word")
        assert hooks.ended(run).is_success
        assert 100_000 < run.log.stat().st_size < 102_000
        text = run.log.read_bytes()
        assert b"\n[lockgate: more output than is kept; only its end follows]\n" in text
        assert b"[lockgate: 19899015 bytes were not kept]\n" in text
        assert last_lines(run)[-1] == "the last word"

    def test_the_log_holds_ten_mebibytes(self) -> None:
        """The bound is what the documentation says."""
        assert hook.LOG_CAP_BYTES == 10 * 1024 * 1024


class TestOnce:
    """A generation's hook runs at most once, and never out of turn."""

    def test_it_is_not_started_twice(self, hooks: Hooks) -> None:
        """Neither while it runs nor after it has ended."""
        run = hooks.start(f"echo ran >> times; {WAIT}")
        with pytest.raises(Refused, match="generation 28 of production is running already") as no:
            hooks.start("echo ran >> times")
        assert no.value.hint == (
            "`lockgate settle production -s support-desk` says how it ended and what follows"
        )
        hooks.script(WAIT)
        hooks.go()
        hooks.ended(run)
        with pytest.raises(Refused, match="was started before"):
            hooks.start("echo ran >> times")
        assert (hooks.root / "times").read_text() == "ran\n"

    def test_of_many_starters_one_wins(self, hooks: Hooks) -> None:
        """Racing processes start one hook."""
        argv = hooks.script("echo ran >> times")
        context = multiprocessing.get_context("fork")
        racers = [context.Process(target=_start_quietly, args=(hooks, argv)) for _ in range(6)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert sorted(racer.exitcode or 0 for racer in racers) == [0, 1, 1, 1, 1, 1]
        hooks.ended(hooks.run())
        assert (hooks.root / "times").read_text() == "ran\n"

    def test_a_stopped_generation_never_starts(self, hooks: Hooks) -> None:
        """A promotion that was abandoned before its hook began cannot begin it later."""
        assert stop(hooks.run()).state == "absent"
        with pytest.raises(Refused, match="was stopped before it started"):
            hooks.start("echo ran > times")
        assert not (hooks.root / "times").exists()
        assert status(hooks.run()).state == "absent"

    def test_an_older_generation_is_too_late(self, hooks: Hooks) -> None:
        """Once generation 29 was started, 28 never is; other environments do not matter."""
        hooks.ended(hooks.start("true", 29))
        with pytest.raises(
            StaleGeneration, match="the hook of generation 29 was started meanwhile"
        ):
            hooks.start("echo ran > times", 28)
        assert not (hooks.root / "times").exists()
        other = HookRun(hooks.folder, "support-desk", "staging", 3)
        start(hooks.root, other, hooks.script("true"), hooks.job(), timeout_s=10)
        assert hooks.ended(other).is_success

    @pytest.mark.parametrize(
        ("spoil", "what"),
        [
            (lambda path: path.unlink(), "`./deploy.sh` is not there"),
            (lambda path: path.chmod(0o644), "`./deploy.sh` is not executable"),
        ],
    )
    def test_a_script_that_cannot_be_started_is_told_before(
        self, hooks: Hooks, spoil: Callable[[Path], object], what: str
    ) -> None:
        """Nothing is on record, so it can be started once it was put right."""
        argv = hooks.script("true")
        spoil(hooks.root / "deploy.sh")
        with pytest.raises(InfrastructureFailed, match=what) as caught:
            start(hooks.root, hooks.run(), argv, hooks.job(), timeout_s=5)
        assert "policy.toml" in caught.value.hint
        assert status(hooks.run()).state == "absent"
        hooks.ended(hooks.start("true"))
        assert status(hooks.run()).is_success

    def test_a_program_on_the_path_will_do(self, hooks: Hooks) -> None:
        """A hook need not be a script of ours."""
        run = hooks.run()
        start(hooks.root, run, ["true"], hooks.job(), timeout_s=5)
        assert hooks.ended(run).is_success
        with pytest.raises(InfrastructureFailed, match="`no-such-thing` is not on the PATH"):
            start(hooks.root, hooks.run(29), ["no-such-thing"], hooks.job(), timeout_s=5)

    def test_a_folder_that_cannot_be_written_starts_nothing(self, hooks: Hooks) -> None:
        """Without a record there is no hook."""
        hooks.folder.parent.mkdir(exist_ok=True)
        hooks.folder.write_text("in the way")
        with pytest.raises(RegistryTrouble, match="cannot be used"):
            start(hooks.root, hooks.run(), hooks.script("true"), hooks.job(), timeout_s=5)
        hooks.folder.unlink()

    def test_a_record_that_cannot_be_written_starts_nothing(self, hooks: Hooks) -> None:
        """The hook runs only after it is on record that it may have."""
        hooks.run().record.with_name(f"{hooks.run().record.name}.new").mkdir(parents=True)
        with pytest.raises(
            InfrastructureFailed, match="the deploy hook was not started: .*Is a dir"
        ):
            hooks.start("echo ran > times")
        assert not (hooks.root / "times").exists()
        assert status(hooks.run()).state == "absent"


class TestStopping:
    """A hook that hangs never stands in the way of going back."""

    def test_it_is_asked_to_end(self, hooks: Hooks) -> None:
        """TERM comes first, and what it says then is kept."""
        run = hooks.start("trap 'echo stopping; exit 0' TERM; echo > up; " + WAIT)
        hooks.is_up()
        ended = stop(run)
        assert (ended.state, ended.ending, ended.is_success) == ("ended", "stopped", False)
        assert last_lines(run) == ("stopping",)
        assert ended.words() == "was stopped after 0 s"

    def test_it_is_killed_when_it_does_not_listen(self, hooks: Hooks) -> None:
        """With children that do not listen either."""
        text = "trap '' TERM; sh -c 'echo $$ > child; exec sleep 60' & echo > up; wait; sleep 60"
        run = hooks.start(text, grace_s=0.2)
        hooks.is_up()
        ended = stop(run, grace_s=0.2)
        assert ended.ending == "stopped"
        assert ended.pid is not None and is_gone(ended.pid)
        assert is_gone(int((hooks.root / "child").read_text()))

    def test_stopping_is_safe_to_repeat(self, hooks: Hooks) -> None:
        """What has ended stays as it ended."""
        run = hooks.start("exit 7")
        hooks.ended(run)
        for _ in range(2):
            assert (stop(run).ending, stop(run).exit_code) == ("exit", 7)

    def test_many_may_stop_it_at_once(self, hooks: Hooks) -> None:
        """Two people on call both succeed."""
        run = hooks.start(WAIT)
        context = multiprocessing.get_context("fork")
        people = [context.Process(target=stop, args=(run,)) for _ in range(3)]
        for person in people:
            person.start()
        for person in people:
            person.join()
        assert [person.exitcode for person in people] == [0, 0, 0]
        assert status(run).ending == "stopped"

    def test_a_starter_that_is_overtaken_runs_nothing(self, hooks: Hooks) -> None:
        """Stopped between its claim and its start, the hook never runs, however late it comes."""
        argv = hooks.script("echo ran > times")
        hooks.folder.mkdir(parents=True)
        lock = open_lock(str(hooks.run().lock))
        assert take_lock(lock)
        assert stop(hooks.run()).state == "absent"
        trouble = hook._launched(hooks.root, hooks.run(), argv, hooks.job(), lock, 5.0, 1.0)
        os.close(lock)
        assert trouble == "ok"
        assert hooks.ended(hooks.run()).ending == "stopped"
        assert not (hooks.root / "times").exists()

    def test_a_stop_file_is_enough(self, hooks: Hooks) -> None:
        """Whoever may write to the folder can stop another user's hook, without a signal."""
        run = hooks.start(WAIT)
        run.stop.touch()
        assert hooks.ended(run).ending == "stopped"


class TestKills:
    """Whatever is killed, whoever comes later knows how it stands."""

    def test_it_outlives_the_command_that_started_it(self, hooks: Hooks) -> None:
        """`kill -9` of the promotion, with its whole group, does not stop the hook."""
        code = (
            "import sys; from pathlib import Path\n"
            "from lockgate.deploy.hook import HookRun, Job, start\n"
            "root = Path(sys.argv[1])\n"
            "run = HookRun(root / '.lockgate/hooks', 'support-desk', 'production', 28)\n"
            "start(root, run, ['./deploy.sh'], Job(root, root, 'a', None), timeout_s=30)\n"
            "print('started', flush=True)\n"
            "sys.stdin.read()\n"
        )
        hooks.script(f"{WAIT}; echo finished")
        starter = subprocess.Popen(
            [sys.executable, "-c", code, hooks.root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        hooks.started.append(hooks.run())
        with starter:
            assert starter.stdout is not None
            assert starter.stdout.readline() == b"started\n"
            os.killpg(starter.pid, signal.SIGKILL)
        assert status(hooks.run()).state == "running"
        hooks.go()
        assert hooks.ended(hooks.run()).is_success
        assert last_lines(hooks.run()) == ("finished",)

    def test_a_runner_that_is_killed_leaves_a_hook_that_is_seen(self, hooks: Hooks) -> None:
        """The hook goes on alone: it is still running, and can still be stopped."""
        run = hooks.start(f"trap '' PIPE; echo > up; {WAIT}")
        hooks.is_up()
        kill_runner(run)
        left = status(run)
        assert left.state == "running"
        assert left.pid is not None and process_mark(left.pid) is not None
        with pytest.raises(Refused, match="was started before"):
            hooks.start("true")
        ended = stop(run, grace_s=1.0)
        assert ended.ending == "stopped"
        assert is_gone(left.pid)
        assert status(run).ending == "stopped"

    def test_what_nobody_saw_end_is_told_as_lost(self, hooks: Hooks) -> None:
        """Runner and hook both killed: it may have done anything, and that is what is said."""
        run = hooks.start(WAIT)
        pid = status(run).pid
        assert pid is not None
        kill_runner(run)
        os.killpg(pid, signal.SIGKILL)
        assert is_gone(pid)
        left = status(run)
        assert (left.state, left.ending, left.is_success) == ("ended", "lost", False)
        assert left.words() == "was cut off: nobody saw how it ended"
        assert stop(run).ending == "lost"

    def test_a_process_under_an_old_number_is_not_the_hook(self, hooks: Hooks) -> None:
        """A process id that was given to somebody else is neither waited for nor killed."""
        run = hooks.start(WAIT)
        kill_runner(run)
        hooks.go()
        record = json.loads(run.record.read_text())
        pid = record["pid"]
        assert is_gone(pid)
        run.record.write_text(json.dumps({**record, "pid": os.getpid()}))
        assert status(run).ending == "lost"
        assert stop(run).ending == "lost"

    def test_a_runner_that_does_not_answer_is_ended(
        self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A frozen runner does not keep a hook alive."""
        monkeypatch.setattr(hook, "_FORCE_AFTER_S", 0.1)
        run = hooks.start(WAIT)
        runner = json.loads(run.record.read_text())["runner"]
        os.kill(runner, signal.SIGSTOP)
        ended = stop(run, grace_s=0.3)
        assert ended.ending == "stopped"
        assert ended.pid is not None and is_gone(ended.pid)
        assert is_gone(runner)

    def test_a_damaged_record_is_not_taken_for_nothing(self, hooks: Hooks) -> None:
        """It was started, and nobody knows more; it is not started again."""
        run = hooks.start("true")
        hooks.ended(run)
        run.record.write_text("{")
        assert status(run).ending == "lost"
        with pytest.raises(Refused, match="was started before"):
            hooks.start("true")


class TestKeeping:
    """What hooks leave behind does not grow without bound."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hook, "KEPT_RUNS", 3)

    def generations(self, hooks: Hooks, environment: str = "production") -> list[int]:
        paths = hooks.folder.glob(f"support-desk.{environment}.*.log")
        return sorted(int(path.name.split(".")[2]) for path in paths)

    def test_the_newest_records_and_logs_are_kept(self, hooks: Hooks) -> None:
        """Each start takes the oldest away, whole; another environment's stay."""
        other = HookRun(hooks.folder, "support-desk", "staging", 1)
        start(hooks.root, other, hooks.script("true"), hooks.job(), timeout_s=10)
        hooks.ended(other)
        for generation in range(1, 6):
            hooks.ended(hooks.start(f"echo {generation}", generation))
        assert self.generations(hooks) == [3, 4, 5]
        assert last_lines(hooks.run(3)) == ("3",)
        assert not list(hooks.folder.glob("support-desk.production.0000000[12].*"))
        assert self.generations(hooks, "staging") == [1]

    def test_fifty_of_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The bound is what the documentation says."""
        monkeypatch.undo()
        assert hook.KEPT_RUNS == 50

    def test_one_that_still_runs_is_not_forgotten(self, hooks: Hooks) -> None:
        """It can still be seen and stopped."""
        running = hooks.start(WAIT, 1)
        for generation in range(2, 6):
            hooks.ended(hooks.start("true", generation))
        assert status(running).state == "running"
        assert self.generations(hooks) == [1, 3, 4, 5]
        assert stop(running).ending == "stopped"

    def test_a_forgotten_generation_is_never_started_again(self, hooks: Hooks) -> None:
        """The newer ones still say that it is too late."""
        for generation in range(1, 5):
            hooks.ended(hooks.start("true", generation))
        assert status(hooks.run(1)).state == "absent"
        with pytest.raises(StaleGeneration, match="the hook of generation 4 was started meanwhile"):
            hooks.start("echo ran > times", 1)
        assert not (hooks.root / "times").exists()

    def test_what_cannot_be_removed_stops_no_hook(self, hooks: Hooks) -> None:
        """Tidying up is no reason not to deploy."""
        for generation in range(1, 4):
            hooks.ended(hooks.start("true", generation))
        (hooks.folder / "support-desk.production.00000001.stop").mkdir()
        assert hooks.ended(hooks.start("true", 4)).is_success


class TestDigest:
    """The attempt names the hook by a digest, so that a changed hook is noticed."""

    def test_it_covers_the_words_and_the_scripts(self, hooks: Hooks) -> None:
        """Other words, other bytes, and a script that is named as a word, are other hooks."""
        argv = hooks.script("true")
        digests = {hook_digest(hooks.root, argv), hook_digest(hooks.root, [*argv, "--fast"])}
        hooks.script("false")
        digests.add(hook_digest(hooks.root, argv))
        (hooks.root / "roll.py").write_text("one")
        digests.add(hook_digest(hooks.root, ["python3", "roll.py"]))
        (hooks.root / "roll.py").write_text("two")
        digests.add(hook_digest(hooks.root, ["python3", "roll.py"]))
        (hooks.root / "roll.py").unlink()
        digests.add(hook_digest(hooks.root, ["python3", "roll.py"]))
        assert len(digests) == 6

    def test_it_is_the_same_everywhere(self, hooks: Hooks) -> None:
        """Where the registry lies, and what is outside it, does not count."""
        argv = [*hooks.script("true"), "/etc/hostname"]
        script = hashlib.sha256(b"#!/bin/sh\ntrue\n").hexdigest()
        text = f'{{"argv":["./deploy.sh","/etc/hostname"],"files":{{"deploy.sh":"{script}"}}}}'
        assert hook_digest(hooks.root, argv) == hashlib.sha256(text.encode()).hexdigest()

    def test_a_script_that_leads_outside_is_not_read(self, hooks: Hooks, tmp_path: Path) -> None:
        """A link out of the root counts as a word only."""
        before = hook_digest(hooks.root, ["./link"])
        (hooks.root / "link").symlink_to("/etc/hostname")
        assert hook_digest(hooks.root, ["./link"]) == before


def kill_runner(run: HookRun) -> None:
    """Kill the process that looks after a hook, and wait until it is gone."""
    runner = json.loads(run.record.read_text())["runner"]
    os.kill(runner, signal.SIGKILL)
    assert is_gone(runner)


def _start_quietly(hooks: Hooks, argv: list[str]) -> None:
    try:
        start(hooks.root, hooks.run(), argv, hooks.job(), timeout_s=10)
    except Refused:
        os._exit(1)
    os._exit(0)
