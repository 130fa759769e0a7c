"""Deploy hooks from outside: what a person sees and a pipeline gets when one fails, hangs or dies."""

from __future__ import annotations

import os
import signal
from contextlib import closing

from cli.desks import Desk, normal
from cli.hooks import go_on, hook, praise, promotion_cut_off, promotion_under_way, ready, under_way
from deploy.world import is_gone
from lockgate import wiring
from lockgate.deploy.hook import HookRun, hook_digest, status

PROMOTE = ("promote", "--to", "production")


def log(desk: Desk, generation: int) -> str:
    """Return what a generation's hook wrote, as it was kept."""
    path = desk.root / ".lockgate" / "hooks" / f"desk.production.{generation:08d}.log"
    return path.read_text(encoding="utf-8")


def live(desk: Desk) -> tuple[str, int]:
    """Return what may be deployed."""
    told = desk.done("deploy-check", "production", "--json").json
    return told["label"], told["generation"]


def run_of(desk: Desk, generation: int) -> HookRun:
    return HookRun(desk.root / ".lockgate" / "hooks", "desk", "production", generation)


def test_its_output_is_streamed_and_kept(published: Desk) -> None:
    """What it says stands on stderr, and in a file afterwards."""
    hook(published.root, 'echo "to $LOCKGATE_ENVIRONMENT: $LOCKGATE_GENERATION"; echo beside >&2')
    ready(published)
    said = published.done(*PROMOTE)
    assert "to production: 3\n" in said.err and "beside\n" in said.err
    assert log(published, 3) == "to production: 3\nbeside\n"


def test_the_attempt_names_the_hook_by_its_digest(published: Desk) -> None:
    """A hook that was changed is another one, and the record shows it."""
    hook(published.root, "echo changed")
    ready(published)
    published.done(*PROMOTE)
    with closing(wiring.open_registry(published.root, read_only=True)) as registry:
        newest, before = registry.releases.deployments("desk", "production", limit=2)
    wanted = hook_digest(published.root, ("./deploy.sh",))
    assert newest.attempt.hook_digest == wanted != before.attempt.hook_digest


def test_a_hook_that_fails(published: Desk) -> None:
    """Exit code 5; what was live is live, and the next attempt takes the next generation."""
    hook(published.root, "echo no route to host; exit 3")
    ready(published)
    said = published(*PROMOTE)
    assert said.code == 5
    assert normal(said.err).splitlines()[-2:] == [
        "error: the deploy hook of generation 3 ended with exit code 3 after 0 s; what was live "
        "in production before still is",
        "hint: mend what it complains about, then run it again; its output is in "
        "`.lockgate/hooks/desk.production.ID.log`",
    ]
    assert log(published, 3) == "no route to host\n"
    assert live(published) == ("v2", 2)
    hook(published.root, "exit 0")
    published.done(*PROMOTE)
    assert live(published) == ("v3", 4)


def test_a_hook_that_takes_too_long(published: Desk) -> None:
    """At its time limit it is stopped, with all that it started."""
    published.edit("policy.toml", 'deploy_timeout = "30s"', 'deploy_timeout = "1s"')
    published.done("policy", "apply")
    hook(published.root, "sleep 60 & echo $! > child; wait")
    ready(published)
    said = published(*PROMOTE)
    assert said.code == 5
    assert "generation 3 ran out of time after 1 s and was stopped; what was live" in said.err
    assert is_gone(int((published.root / "child").read_text()))
    assert live(published) == ("v2", 2)


def test_a_hook_that_cannot_be_started(published: Desk) -> None:
    """Nothing ran, and the hint says what to do."""
    (published.root / "deploy.sh").chmod(0o644)
    ready(published)
    said = published(*PROMOTE)
    assert (said.code, "`./deploy.sh` is not executable" in said.err) == (5, True)
    assert live(published) == ("v2", 2)


def test_a_hook_that_is_killed_half_way(published: Desk) -> None:
    """Its end is seen and told by the signal's name."""
    promotion = promotion_under_way(published)
    pid = status(run_of(published, 3)).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    _, err = promotion.communicate(timeout=60)
    assert promotion.returncode == 5
    assert "generation 3 was killed by SIGKILL after" in err
    assert live(published) == ("v2", 2)


def test_whoever_leaves_while_it_runs_stops_nothing(published: Desk) -> None:
    """Ctrl-C is exit code 130 and names `settle`, which takes it to its end."""
    promotion = promotion_under_way(published)
    promotion.send_signal(signal.SIGINT)
    _, err = promotion.communicate(timeout=60)
    assert promotion.returncode == 130
    assert "what was begun goes on" in err and "Traceback" not in err
    assert "hint: `lockgate settle production -s desk` takes it from here\n" in err
    go_on(published)
    told = published.done("settle", "production", "-s", "desk").out
    assert told.startswith("✔ production generation 3 (v3): live, its hook ended with exit code 0")
    assert live(published) == ("v3", 3)


def test_whoever_leaves_a_rollback_stops_nothing(published: Desk) -> None:
    """The way back goes on as well, and nobody waits for a lock that was left behind."""
    os.mkfifo(published.root / "go")
    hook(published.root, "echo up; read go < go")
    rollback = under_way(published, "rollback", "production", "--yes")
    rollback.send_signal(signal.SIGINT)
    _, err = rollback.communicate(timeout=60)
    assert (rollback.returncode, "Traceback" in err) == (130, False)
    assert "hint: `lockgate settle production -s desk` takes it from here\n" in err
    go_on(published)
    published.done("settle", "production")
    assert live(published) == ("v1", 3)


def test_a_promotion_that_is_killed_leaves_its_hook(published: Desk) -> None:
    """The hook ends by itself; `settle` finds out how, follows it, and is safe to repeat."""
    promotion_cut_off(published)
    assert status(run_of(published, 3)).state == "running"
    go_on(published)
    assert "live, its hook ended with exit code 0" in published.done("settle", "production").out
    assert log(published, 3) == "up\ndone\n"
    assert live(published) == ("v3", 3)
    assert "everything is settled" in published.done("settle", "production").out


def test_a_rollback_stops_a_hook_that_hangs(published: Desk) -> None:
    """It takes the next generation, tells its own hook so, and the late one never counts."""
    promotion = promotion_under_way(published)
    hook(published.root, "echo $LOCKGATE_GENERATION > fenced")
    published.done("rollback", "production", "--yes")
    assert (published.root / "fenced").read_text() == "4\n"
    promotion.communicate(timeout=60)
    assert promotion.returncode in (1, 5)  # refused, or told that its hook was stopped
    assert status(run_of(published, 3)).ending == "stopped"
    assert live(published) == ("v1", 4)


def test_no_shell_reads_the_words(published: Desk) -> None:
    """Words of the policy reach the hook as they stand there."""
    published.edit("policy.toml", '["./deploy.sh"]', '["./deploy.sh", "$HOME; id > here"]')
    published.done("policy", "apply")
    hook(published.root, 'echo "$#:$1"')
    praise(published.root, "superb")
    published.done("ship", "--to", "production", "-m", "One more")
    assert log(published, 3) == "1:$HOME; id > here\n"
    assert not (published.root / "here").exists()
