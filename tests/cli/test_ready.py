"""`lockgate ready`: one line for each thing a rollback needs, and the command that repairs it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.desks import Desk, normal
from lockgate.storage.registry import open_registry

HOOK = "deploy.sh"


@pytest.fixture
def shift(new: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Staging that publishes and has a hook, with v2 live and v1 to go back to."""
    new.edit(
        "policy.toml",
        "[environments.staging]",
        f'[environments.staging]\npublish = "published"\ndeploy = ["./{HOOK}"]',
    )
    new.write(HOOK, "#!/bin/sh\nexit 0\n").chmod(0o755)
    new.done("policy", "apply")
    new.done("ship", "--to", "staging", "-m", "first")
    prompt = new.root / "systems/desk/prompts/praise.txt"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "finest\n", encoding="utf-8")
    new.done("ship", "--to", "staging", "-m", "second")
    monkeypatch.setenv("LOCKGATE_KEY", str(new.root / ".lockgate" / "host_key"))
    return new


def line(text: str, rule: str) -> str:
    """Return what is said of one thing, as one line."""
    told: list[str] = []
    for row in text.splitlines():
        if row.startswith(" ") and told:
            told.append(row)
        elif row[9:].startswith(f"{rule} "):
            told = [row]
        elif told:
            break
    assert told, f"nothing about {rule} in\n{text}"
    return " ".join(" ".join(told).split())


def ready(desk: Desk, code: int) -> str:
    """Ask; the exit code has to be as it is expected."""
    said = desk("ready", "staging")
    assert said.code == code, said
    return said.out


def test_all_is_well(shift: Desk) -> None:
    """Every line says what was looked at; the note of the full check is all that is written."""
    before = shift.state()
    out = ready(shift, 0)
    after = shift.state()
    assert line(out, "registry") == "✔ ok registry takes a write, which was undone"
    assert line(out, "live") == "✔ ok live v2, generation 2"
    assert line(out, "way back").startswith("✔ ok way back v1: every byte of ")
    assert line(out, "way-back receipt").startswith("✔ ok way-back receipt v1, signed as it should")
    assert line(out, "receipt").startswith("✔ ok receipt ")
    assert line(out, "published").startswith("✔ ok published every byte of ")
    assert line(out, "hook") == f"✔ ok hook ./{HOOK}"
    assert line(out, "host key") == "✔ ok host key signs receipts, and they verify"
    assert line(out, "my key").startswith("✔ ok my key signs (SHA256:")
    assert " bytes free, v1 has " in line(out, "disk")
    assert out.endswith("✔ staging of desk: ready\n")
    assert before.pop("full_check") != after.pop("full_check")
    assert before == after


def test_as_json(shift: Desk) -> None:
    """Whether it is ready, and each check with its repair."""
    body = shift("ready", "staging", "--json").json
    assert (body["environment"], body["ready"]) == ("staging", True)
    assert {"registry", "clock", "disk", "hook", "way back"} <= {c["rule"] for c in body["checks"]}
    (shift.root / HOOK).unlink()
    said = shift("ready", "staging", "--json")
    assert (said.code, said.json["ready"]) == (1, False)


def test_the_hook_is_gone_or_cannot_run(shift: Desk) -> None:
    """Each way it could not be started."""
    (shift.root / HOOK).chmod(0o644)
    out = ready(shift, 1)
    assert line(out, "hook").startswith(f"✖ repair hook `./{HOOK}` is not executable `ls -l")
    assert out.endswith("✖ staging of desk: not ready: 1 to repair\n")
    (shift.root / HOOK).unlink()
    assert f"`./{HOOK}` is not there" in line(ready(shift, 1), "hook")


def test_a_script_that_the_hook_names_is_gone(shift: Desk) -> None:
    """The interpreter is there; what it is to run is not."""
    shift.edit("policy.toml", f'deploy = ["./{HOOK}"]', 'deploy = ["sh", "roll.sh", "--to=x.sh"]')
    shift.done("policy", "apply")
    assert "`roll.sh` is not there" in line(ready(shift, 1), "hook")
    shift.write("roll.sh", "exit 0\n")
    assert line(ready(shift, 0), "hook") == "✔ ok hook sh roll.sh --to=x.sh"


def test_the_target_is_damaged(shift: Desk) -> None:
    """A byte of v1 that only v1 has: found, told, and noted with what was wrong."""
    damage(shift, "v1", but="v2")
    told = line(ready(shift, 1), "way back")
    assert told.startswith("✖ repair way back")
    assert "v1" in told


def damage(desk: Desk, label: str, *, but: str) -> None:
    """Change a file's bytes in the registry that one version has and another has not."""
    with closing(open_registry(desk.root)) as registry:
        files = [
            set(
                registry.versions.definition(registry.versions.named("desk", name).definition)
                .files()
                .values()
            )
            for name in (label, but)
        ]
    (digest,) = files[0] - files[1]
    with closing(sqlite3.connect(desk.root / ".lockgate" / "registry.db")) as raw:
        sql = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'content'"
        triggers = raw.execute(sql).fetchall()
        for name, _ in triggers:
            raw.execute(f'DROP TRIGGER "{name}"')
        raw.execute("UPDATE content SET bytes = X'00' WHERE digest = ?", (digest,))
        for _, text in triggers:
            raw.execute(text)
        raw.commit()


def test_what_is_published_was_changed(shift: Desk) -> None:
    """A byte below the published folder; settle writes it again."""
    (changed,) = (shift.root / "published/desk/generations").glob("*2/prompts/praise.txt")
    changed.chmod(0o644)
    changed.write_text("other", encoding="utf-8")
    told = line(ready(shift, 1), "published")
    assert "was changed" in told and "`lockgate settle staging -s desk`" in told


def test_the_way_back_receipt_was_changed(shift: Desk) -> None:
    """Then --offline would not work, and it is told beforehand."""
    receipt = shift.root / "published/desk/way-back.json"
    receipt.write_text(receipt.read_text(encoding="utf-8").replace("v1", "v7"), encoding="utf-8")
    assert line(ready(shift, 1), "way-back receipt").startswith("✖ repair way-back receipt")


def test_the_host_key_is_gone(shift: Desk) -> None:
    """Receipts could not be signed."""
    (shift.root / ".lockgate/host_key").unlink()
    assert "no key" in line(ready(shift, 1), "host key")


def test_my_key(shift: Desk, tmp_path: Path) -> None:
    """Who is no reviewer is only warned; a reviewer without the right key is not ready."""
    missing = {"LOCKGATE_KEY": str(tmp_path / "none")}
    said = shift("ready", "staging", env=missing)
    assert said.code == 0
    assert line(said.out, "my key").startswith("⚠ look my key")
    assert "ml-team is no reviewer here" in line(said.out, "my key")


def test_a_reviewers_key(busy: Desk) -> None:
    """It has to be the one that the applied signers file gives them."""
    own = busy("ready", "production", "-s", "desk", **busy.signing("ml-lead"))
    assert line(own.out, "my key").startswith("✔ ok my key signs as ml-lead (SHA256:")
    other = busy(
        *("ready", "production", "-s", "desk"),
        actor="ml-lead",
        env={"LOCKGATE_KEY": busy.key("support-lead")},
    )
    assert other.code == 1
    told = line(other.out, "my key")
    assert "does not give ml-lead this key" in told and "`lockgate policy apply`" in told


def test_no_room(shift: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than the way back needs: stated, with the command that shows it."""
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    told = line(ready(shift, 1), "disk")
    assert told.startswith("✖ repair disk 1000 bytes free, v1 has ")
    assert "`df -h " in told


def test_the_clock_went_back(shift: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records would be given the newest time; somebody should set it right."""
    from builders import FixedClock

    monkeypatch.setattr("lockgate.storage.registry.SystemClock", FixedClock)
    told = line(ready(shift, 1), "clock")
    assert "before the newest record" in told and "`timedatectl status`" in told


def test_what_only_stops_promotions_is_a_warning(shift: Desk) -> None:
    """A hold and an open break-glass are told with what ends them; it is ready all the same."""
    shift.done("hold", "staging", "-m", "month end")
    prompt = shift.root / "systems/desk/prompts/praise.txt"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "grand\n", encoding="utf-8")
    shift.done("register", "-m", "third")
    shift.done(
        *("promote", "v3", "--to", "staging", "--break-glass", "--ticket", "T", "-m", "r", "--yes")
    )
    out = ready(shift, 0)
    assert "`lockgate lift staging -s desk -m REASON`" in line(out, "not held").replace(
        "-m REASON -s desk", "-s desk -m REASON"
    )
    assert "ml-team broke the glass for v3 as generation 3, ticket T" in line(out, "break-glass")
    assert line(out, "live") == "✔ ok live v3, generation 3, ungated"
    assert line(out, "way back").startswith("✔ ok way back v1") or "v2" in line(out, "way back")


def test_an_open_attempt(shift: Desk) -> None:
    """Nobody knows what runs: settle comes first."""
    from builders import append, attempt_of

    with closing(open_registry(shift.root)) as registry:
        v2 = registry.versions.named("desk", "v2")
        attempt = attempt_of(
            registry, v2, kind="break_glass", environment="staging", ticket="T", reason="r"
        )
        append(registry, attempt)
    told = line(ready(shift, 1), "settled")
    assert "generation 3, break_glass of v2 by promoter, is open: nobody works on it" in told
    assert "`lockgate settle staging -s desk`" in told


def test_a_run_that_nobody_works_on(shift: Desk) -> None:
    """It is told with the command that goes on with it, and stays as it is."""
    from builders import start_run

    with closing(open_registry(shift.root)) as registry:
        v2 = registry.versions.named("desk", "v2")
        suite = registry.applied.suite(registry.applied.suites("desk")["desk"].digest)
        run = start_run(registry, v2, suite)
    told = line(ready(shift, 0), "runs")
    assert told.startswith(f"⚠ look runs run {run.id[:8]} of v2 has not ended, and nobody works on")
    assert f"`lockgate evaluate v2 --resume {run.id[:8]} -s desk`" in told


def test_where_nothing_is_live(new: Desk) -> None:
    """There is nothing to roll back, and it says so; the rest is asked all the same."""
    new.done("register", "-m", "first")
    said = new("ready", "production", env={"LOCKGATE_KEY": "/nowhere"})
    assert said.code == 0
    assert line(said.out, "live") == "· - live nothing is live in production"
    assert normal(said.out).endswith("✔ production of desk: ready\n")


def test_who_may_not_write_is_told_why(open_to_all: Desk, nobody: tuple[str, ...]) -> None:
    """The write is a real one."""
    from cli.desks import process

    open_to_all.done("ship", "--to", "staging", "-m", "first")
    prompt = open_to_all.root / "systems/desk/prompts/praise.txt"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "finest\n", encoding="utf-8")
    open_to_all.done("ship", "--to", "staging", "-m", "second")
    for path in (open_to_all.root / ".lockgate").iterdir():
        path.chmod(0o444 if path.is_file() else 0o555)
    (open_to_all.root / ".lockgate").chmod(0o555)
    said = process("ready", "staging", cwd=open_to_all.root, before=nobody)
    if nobody:
        assert said.returncode == 1, said
        out = said.stdout.decode()
        assert "the registry cannot be written" in " ".join(out.split())
        assert line(out, "way back").startswith("✔ ok way back v1: every byte")
        assert out.endswith("staging of desk: not ready: 1 to repair\n")


@pytest.mark.parametrize(
    ("typed", "what"),
    [(("ready", "moon"), "there is no environment `moon`"), (("ready",), "needs `ENV`")],
)
def test_refusals(shift: Desk, typed: tuple[str, ...], what: str) -> None:
    """Exit 2, with what there is."""
    said = shift(*typed)
    assert (said.code, what in said.err, bool(said.hint)) == (2, True, True)
