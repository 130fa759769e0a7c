"""`lockgate review`: three questions, and what each kind of wrong looks like."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.desks import Desk, Said, normal

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)
REVIEW = ("review",)
CHECK = ("deploy-check", "production")


@pytest.fixture
def desk(published: Desk) -> Desk:
    """A registry that publishes: v1 and then v2 went to production, which runs two instances."""
    version = published.done("show", "v2", "--json").json["version"]["id"]
    published.write("running", f"desk-1 {version}\ndesk-2 {version}\n")
    published.write("observe.sh", "#!/bin/sh\ncat running\n").chmod(0o755)
    published.edit(
        "policy.toml",
        'deploy_timeout = "30s"',
        'deploy_timeout = "30s"\nobserve = ["./observe.sh"]',
    )
    published.done("policy", "apply")
    return published


def place(desk: Desk) -> Path:
    """Return what production publishes."""
    return desk.root / "published" / "production" / "desk"


def findings(said: Said) -> dict[str, dict[str, Any]]:
    """Return the findings of a review by their rules."""
    return {
        finding["rule"]: finding
        for question in said.json["questions"]
        for finding in question["findings"]
    }


def wrong(desk: Desk, code: int) -> dict[str, dict[str, Any]]:
    """Review; return what is neither right nor skipped."""
    said = desk(*REVIEW, "--json")
    assert said.code == code, said
    return {
        rule: finding
        for rule, finding in findings(said).items()
        if finding["outcome"] not in ("pass", "skipped")
    }


def change_object(desk: Desk, digest: str, data: bytes) -> None:
    """Change an object as no lockgate would, and leave every rule in force."""
    with closing(sqlite3.connect(desk.root / ".lockgate" / "registry.db")) as connection:
        name = "content_never_updated"
        (rule,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
        connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE content SET bytes = ? WHERE digest = ?", (data, digest))
        connection.execute(rule)
        connection.commit()


def test_a_clean_review(desk: Desk) -> None:
    """Every question says what was looked at; it is recorded, and the next one names it."""
    said = desk.done(*REVIEW, env={"COLUMNS": "100"})
    assert normal(said.out) == CLEAN
    assert said.err == "this is the first review: what happened counts from the beginning\n"
    said = desk.done(*REVIEW)
    assert normal(said.err) == "the one before: WHEN, clean\n"
    assert "0 went live since the review of" in said.out


CLEAN = """\
✔ Is anything reaching production outside the gate?  nothing found
  ✔ ledger                   25 entries and their records hold, up to WHEN
  ✔ answers                  32 answers of 2 runs that decisions rest on, as they were given
  ✔ registry rules           every table and trigger is as it was made
  ✔ policy.toml              the file is what is applied
  ✔ suite files              1 suite, each file is what is applied
  ✔ decisions staging        1 went live since the beginning: 1 by promote
  ✔ break-glass staging      none since the beginning
  ✔ objects staging          v1: every byte of 4 files hashed, 672 bytes
  ✔ receipt staging          generation 1, v1, promote, published WHEN, as
                             recorded
  ✔ published staging        every byte of 4 files of generation 1 hashed
  · instances staging        it has no `observe` command, so nobody can ask what runs
  ✔ decisions production     2 went live since the beginning: 2 by promote
  ✔ break-glass production   none since the beginning
  ✔ objects production       v2: every byte of 4 files hashed, 677 bytes
  ✔ receipt production       generation 2, v2, promote, published WHEN, as
                             recorded
  ✔ published production     every byte of 4 files of generation 2 hashed
  ✔ instances production     2 instances run v2
  · live bare                nothing was ever promoted there

✔ Has the definition drifted from what teams do?  nothing found
  ✔ components               code, generation, model, prompt in what counts now; looked at the
                             newest 2 releases
  ✔ pinned model             no name floats in v1, v2
  ✔ secret check             not overridden since the beginning in the newest 2 releases
  ✔ unclaimed files          each of 4 files in `systems/desk` belongs to a component
  ✔ folder and lock          `systems/desk` is v2, as its lock says

✔ Does the way back still work?  nothing found
  · rehearsal                no environment of the applied policy takes rehearsals, so nobody tries
                             the way back
  · way back staging         v1 is the first that was live there: there is no other
  · way-back receipt staging none yet: there was only one version
  ✔ way back production      v1: every byte of 4 files hashed, 672 bytes
  ✔ way-back receipt production v1, signed as it should be; every byte of 4 files of generation 1
                             hashed

review of desk: clean, WHEN by ml-team
"""


def test_json(desk: Desk) -> None:
    """One value: the questions with their findings, and each finding with how many it looked at."""
    body = desk.done(*REVIEW, "--json").json
    assert (body["outcome"], body["is_broken"], body["is_recorded"]) == ("clean", False, True)
    assert [one["question"] for one in body["questions"]] == [
        "Is anything reaching production outside the gate?",
        "Has the definition drifted from what teams do?",
        "Does the way back still work?",
    ]
    found = {one["rule"]: one for q in body["questions"] for one in q["findings"]}
    assert found["instances production"]["numbers"]["looked_at"] == 2
    assert found["decisions production"]["numbers"]["looked_at"] == 2


class TestOneByte:
    """A byte of what is published, of the registry's objects, or of an instance's id."""

    def test_of_the_published_folder(self, desk: Desk) -> None:
        """Whichever file and whichever byte: both name the file, with exit code 6."""
        folder = place(desk) / "generations" / "00000002"
        for path in sorted(folder.rglob("*")):
            if path.is_dir():
                continue
            data = path.read_bytes()
            path.chmod(0o644)
            for at in {0, len(data) // 2, len(data) - 1}:
                path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
                name = path.relative_to(folder).as_posix()
                found = wrong(desk, 6)
                assert list(found) == ["published production"]
                assert f"`{name}` was changed" in found["published production"]["reason"]
                assert "lockgate settle production" in found["published production"]["hint"]
                said = desk(*CHECK)
                assert said.code == 6
                assert f"`{name}` was changed" in said.err
            path.write_bytes(data)
        assert desk(*REVIEW).code == 0

    def test_of_the_registrys_objects(self, desk: Desk) -> None:
        """Whichever object of what is live: both name its file, with exit code 6."""
        view = desk.done("show", "v2", "--json").json
        for component in view["components"]:
            for file in component["files"]:
                path = place(desk) / "generations" / "00000002" / file["path"]
                data = path.read_bytes()
                for at in {0, len(data) - 1}:
                    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                    change_object(desk, file["digest"], changed)
                    found = wrong(desk, 6)
                    reason = found["objects production"]["reason"]
                    assert f"`{file['path']}` was changed in the registry" in reason
                    said = desk(*CHECK)
                    assert said.code == 6
                    assert f"`{file['path']}` was changed or is missing in the registry" in said.err
                change_object(desk, file["digest"], data)
        assert desk(*REVIEW).code == 0

    def test_of_an_answer_that_a_decision_rests_on(self, desk: Desk) -> None:
        """A score that was changed after its run had ended is found, and the run is named."""
        path = desk.root / ".lockgate" / "registry.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            name = "answer_never_updated"
            (rule,) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = ?", (name,)
            ).fetchone()
            connection.execute(f'DROP TRIGGER "{name}"')
            (case, scores) = connection.execute(
                "SELECT case_id, scores FROM answer WHERE scores LIKE '%1.0%' LIMIT 1"
            ).fetchone()
            connection.execute(
                "UPDATE answer SET scores = ? WHERE case_id = ?",
                (scores.replace("1.0", "0.0"), case),
            )
            connection.execute(rule)
        found = wrong(desk, 6)
        assert list(found) == ["answers"]
        assert "not the answers it ended with" in found["answers"]["reason"]

    def test_of_an_instances_id(self, desk: Desk) -> None:
        """Whichever digit of the id: the instance is named; what is live may still be deployed."""
        running = (desk.root / "running").read_text()
        begin = running.rindex(" ") + 1
        for at in range(begin, begin + 64, 7):
            other = "0" if running[at] != "0" else "1"
            desk.write("running", running[:at] + other + running[at + 1 :])
            found = wrong(desk, 1)
            assert list(found) == ["instances production"]
            assert found["instances production"]["reason"].startswith(
                "1 of 2 instances: `desk-2` runs a version that was never published here"
            )
            said = desk(*CHECK)
            assert said.code == 0
            assert said.err == (
                "note: instance `desk-2` runs a version that was never published here\n"
            )
            assert len(desk.done(*CHECK, "--json").json["instances"]) == 1


class TestOutsideTheGate:
    """What reached production, or could reach it, past the gate."""

    def test_an_instance_that_was_not_restarted(self, desk: Desk) -> None:
        """It runs what was live before, and is told with the label of that."""
        version = desk.done("show", "v1", "--json").json["version"]["id"]
        desk.write("running", f"desk-1 {version}\n")
        found = wrong(desk, 1)
        assert found["instances production"]["reason"] == (
            "1 of 1 instance: `desk-1` runs what was live before (v1)"
        )

    def test_nobody_can_be_asked(self, desk: Desk) -> None:
        """That is no clean bill: nobody knows what runs."""
        desk.write("observe.sh", "#!/bin/sh\nexit 3\n")
        assert wrong(desk, 1)["instances production"]["outcome"] == "inconclusive"
        assert "note: the instances could not be asked" in desk(*CHECK).err
        desk.write("observe.sh", "#!/bin/sh\n")
        assert "no instance answered" in wrong(desk, 1)["instances production"]["reason"]

    def test_a_receipt_that_was_changed(self, desk: Desk) -> None:
        """Its signature does not fit any more."""
        path = place(desk) / "receipt.json"
        path.write_text(path.read_text().replace("v2", "v3"))
        found = wrong(desk, 6)
        assert "does not count" in found["receipt production"]["reason"]
        assert found["receipt production"]["hint"].endswith("`lockgate settle production -s desk`")

    def test_an_older_receipt(self, desk: Desk) -> None:
        """It was true once; publishing what is live mends it."""
        shutil.copy(place(desk) / "way-back.json", place(desk) / "receipt.json")
        found = wrong(desk, 1)
        assert (
            "it still says generation 1, v1, and v2 is live as generation 2"
            in (found["receipt production"]["reason"])
        )

    def test_no_receipt(self, desk: Desk) -> None:
        """What is live has to be published."""
        (place(desk) / "receipt.json").unlink()
        found = wrong(desk, 1)
        assert found["receipt production"]["reason"].endswith("and no receipt is published")

    def test_another_key(self, desk: Desk) -> None:
        """A server that looks for the host's key finds somebody else's."""
        path = desk.root / "published" / "production" / "host_key.pub"
        other = desk.root / "other"
        import subprocess

        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
        path.write_text(other.with_name("other.pub").read_text())
        found = wrong(desk, 6)
        assert "is another key than this host signs with" in found["host key production"]["reason"]

    def test_a_generation_nobody_knows(self, desk: Desk) -> None:
        """A folder of a generation above all that were taken."""
        (place(desk) / "generations" / "00000009").mkdir()
        found = wrong(desk, 1)
        assert found["generations production"]["reason"] == (
            "generation 9 is published, and the registry knows none above 2"
        )

    def test_a_record_that_was_changed(self, desk: Desk) -> None:
        """The ledger names its number and its kind; a rule that is gone is named, too."""
        with closing(sqlite3.connect(desk.root / ".lockgate" / "registry.db")) as connection:
            connection.execute("DROP TRIGGER version_never_updated")
            connection.execute("UPDATE version SET owner = 'somebody' WHERE label = 'v2'")
            connection.commit()
        said = desk(*REVIEW, "--json")
        assert said.code == 6
        assert said.json["is_recorded"] is False
        found = findings(said)
        assert "(version): its record is not what was recorded" in found["ledger"]["reason"]
        assert "tables or triggers are missing or changed" in found["registry rules"]["reason"]
        said = desk(*REVIEW)
        assert "not recorded by" in said.out
        assert "the registry cannot be written, so this review is not recorded" in said.err

    def test_files_that_were_not_applied(self, desk: Desk) -> None:
        """A policy and a suite that differ ask for something nobody applied."""
        desk.edit("policy.toml", '"30s"', '"31s"')
        suite = desk.root / "suites" / "desk.jsonl"
        suite.write_text("".join(suite.read_text().splitlines(keepends=True)[:-1]))
        found = wrong(desk, 1)
        assert found["policy.toml"]["reason"] == "the file differs from what is applied"
        assert "`lockgate policy apply`" in found["policy.toml"]["hint"]
        assert found["suite files"]["reason"] == "`desk`: the file differs from what is applied"
        assert "`lockgate suite apply -s desk`" in found["suite files"]["hint"]

    def test_an_open_attempt(self, desk: Desk) -> None:
        """Nobody knows how it ended; the command finds out."""
        from cli.hooks import promotion_cut_off

        promotion_cut_off(desk)
        found = wrong(desk, 1)
        assert found["settled production"]["hint"] == "`lockgate settle production -s desk`"

    def test_a_quarantined_version_is_live(self, desk: Desk) -> None:
        """A definition that hurt users elsewhere is still live here."""
        desk.done("promote", "v2", "--to", "staging")
        desk.done("rollback", "production", "--yes")
        found = wrong(desk, 1)
        assert "v2 is live as generation 2 and quarantined" in found["live staging"]["reason"]


class TestDefinition:
    """What teams do against what is recorded."""

    def test_a_file_nobody_claims(self, desk: Desk) -> None:
        """It is part of what people work with, and of no version."""
        desk.write("systems/desk/helper.py", "")
        found = wrong(desk, 1)
        assert found["unclaimed files"]["reason"] == (
            "1 file in `systems/desk` belong to no component: `helper.py`"
        )
        assert "[ignore] files" in found["unclaimed files"]["hint"]

    def test_the_folder_is_not_its_lock(self, desk: Desk) -> None:
        """What somebody changed and nobody registered."""
        desk.write("systems/desk/prompts/praise.txt", "other\n")
        found = wrong(desk, 1)
        assert "is not v2 any more" in found["folder and lock"]["reason"]

    def test_the_lock_is_behind(self, desk: Desk) -> None:
        """Somebody else's release is newer than what this folder builds on."""
        desk.done("checkout", "v1", "elsewhere")
        found = findings(desk(*REVIEW, "-C", "elsewhere", "--json"))
        assert found["folder and lock"]["reason"] == (
            "its lock names v1, and v2 is the newest release"
        )

    def test_a_component_that_is_no_longer_recorded(self, desk: Desk) -> None:
        """The newest release has no tools any more, while what is live has."""
        toml = desk.root / "systems/desk/lockgate.toml"
        text = toml.read_text()
        desk.write("systems/desk/tools/route.json", '{"type": "object"}')
        toml.write_text(text + '\n[tools]\nfiles = ["tools/*.json"]\n')
        desk.done("register", "-m", "With a tool")
        shutil.rmtree(desk.root / "systems/desk/tools")
        toml.write_text(text.replace('files = ["prompts/*.txt"]', 'files = ["prompts/*.txt"]'))
        desk.write("systems/desk/prompts/praise.txt", "other\n")
        desk.done("register", "-m", "Without")
        found = wrong(desk, 1)
        assert found["components"]["reason"].startswith(
            "v4 (the newest release) has no `tools`, which v3 has"
        )

    def test_a_floating_name_and_a_kept_secret(self, desk: Desk) -> None:
        """Both were allowed by somebody, and both are named."""
        toml = desk.root / "systems/desk/lockgate.toml"
        lines = toml.read_text().splitlines(keepends=True)
        toml.write_text(
            "".join(
                'floating = "the vendor has no dates"\n' if line.startswith("revision") else line
                for line in lines
            )
        )
        desk.write("systems/desk/prompts/praise.txt", "AKIAIOSFODNN7QXAMPLA\n")
        desk.done("register", "-m", "Floating", "--keep-secrets", "it is revoked")
        found = wrong(desk, 1)
        assert "the vendor has no dates" in found["pinned model"]["reason"]
        assert "overridden since the beginning for v3 by ml-team" in found["secret check"]["reason"]
        assert "secret check" not in wrong(desk, 1), "what was told once is told"

    def test_no_folder_is_no_mistake(self, desk: Desk) -> None:
        """The host of the registry need not hold the folder."""
        shutil.rmtree(desk.root / "systems")
        said = desk.done(*REVIEW, "-s", "desk", "--json")
        assert findings(said)["folder"]["outcome"] == "skipped"


class TestWayBack:
    """What a rollback would need."""

    def test_its_objects_are_damaged(self, desk: Desk) -> None:
        """The registry could not restore it."""
        view = desk.done("show", "v1", "--json").json
        prompt = next(c for c in view["components"] if c["name"] == "prompt")["files"][1]
        change_object(desk, prompt["digest"], b"x")
        found = wrong(desk, 6)
        assert "not intact" in found["way back production"]["reason"]

    def test_its_receipt_or_folder_is_damaged(self, desk: Desk) -> None:
        """Without the registry there would be no way back."""
        folder = place(desk) / "generations" / "00000001"
        (folder / "answer.py").chmod(0o644)
        (folder / "answer.py").write_text("evil")
        found = wrong(desk, 6)
        assert "`answer.py` was changed" in found["way-back receipt production"]["reason"]
        path = place(desk) / "way-back.json"
        path.write_text(path.read_text().replace("v1", "v7"))
        found = wrong(desk, 6)
        assert "does not count" in found["way-back receipt production"]["reason"]

    def test_never_rehearsed(self, desk: Desk) -> None:
        """Where rehearsals are taken, somebody has to have tried one."""
        desk.edit(
            "policy.toml",
            '[environments.staging]\nstakes = "low"',
            '[environments.staging]\nstakes = "low"\nrehearsal = true\nprotects = "production"',
        )
        desk.done("policy", "apply")
        found = wrong(desk, 1)
        assert found["rehearsal staging"]["reason"] == "never rehearsed"
        assert found["rehearsal staging"]["hint"] == "`lockgate rehearse staging -s desk`"


def test_every_object_is_hashed_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many environments and questions are about it."""
    from lockgate.storage.objects import Objects

    desk.done("promote", "v2", "--to", "staging")
    hashed: list[str] = []
    true = Objects.is_intact

    def counted(self: Objects, digest: str) -> bool:
        hashed.append(digest)
        return true(self, digest)

    monkeypatch.setattr(Objects, "is_intact", counted)
    desk.done(*REVIEW)
    assert len(hashed) == len(set(hashed)) == 5


def test_a_rollback_without_the_registry(desk: Desk) -> None:
    """Until it is recorded it is a finding with the command that records it; then all is well."""
    desk.done("rollback", "production", "--offline", "--yes")
    version = desk.done("show", "v1", "--json").json["version"]["id"]
    desk.write("running", f"desk-1 {version}\n")
    found = wrong(desk, 1)
    assert found["receipt production"]["reason"] == (
        "it says generation 3, v1, made without the registry, where v2 is live as generation 2"
    )
    assert found["receipt production"]["hint"].endswith("`lockgate settle production -s desk`")
    desk.done("settle", "production")
    said = desk(*REVIEW, "--json")
    assert findings(said)["receipt production"]["outcome"] == "pass"
    assert findings(said)["published production"]["outcome"] == "pass"
    assert not said.json["is_broken"]
