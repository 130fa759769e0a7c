"""`lockgate deploy-check`: what a pipeline may deploy, and what each kind of wrong looks like."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.desks import PUBLISHING, Desk, Said, copied, normal, process
from cli.hooks import go_on, hook, praise, promotion_cut_off, ready

CHECK = ("deploy-check", "production")

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)


@pytest.fixture
def desk(published: Desk) -> Desk:
    """A registry that publishes: v1 and then v2 went to production."""
    return published


def place(desk: Desk, environment: str = "production") -> Path:
    return desk.root / "published" / environment / "desk"


def receipt(desk: Desk, environment: str = "production") -> Path:
    return place(desk, environment) / "receipt.json"


def refused(desk: Desk, said: Said) -> str:
    """Return what a refusal prints; nothing goes to stdout."""
    assert said.out == ""
    return normal(said.err, desk.root)


def mended(desk: Desk, said: Said) -> None:
    """Run the command that the hint names, and see that the check passes then."""
    assert desk.follow(said).code == 0
    assert desk(*CHECK).code == 0


class TestWhatPasses:
    """What the gate let through last, whoever asks, and as often as they ask."""

    def test_what_is_live(self, desk: Desk) -> None:
        """A redeploy needs nothing new."""
        for _ in range(2):
            said = desk(*CHECK)
            assert (said.code, said.err) == (0, "")
            assert said.out == (
                "✔ v2 may be deployed to production: generation 2, promote, 4 files\n"
            )

    def test_as_json_it_names_what_may_be_deployed(self, desk: Desk) -> None:
        """Version, folder and how it came there."""
        told = desk.done(*CHECK, "--json").json
        version = desk.done("show", "v2", "--json").json["version"]
        assert told.pop("decision")
        assert told == {
            "system": "desk",
            "environment": "production",
            "version": version["id"],
            "label": "v2",
            "generation": 2,
            "kind": "promote",
            "state": "live",
            "ungated": False,
            "definition": version["definition"],
            "folder": str(place(desk) / "generations" / "00000002"),
            "files": 4,
            "signed": True,
            "instances": [],
        }

    def test_a_rollback(self, desk: Desk) -> None:
        """It is a newer generation of an older version."""
        desk.done("rollback", "production", "--yes")
        assert desk.done(*CHECK).out == (
            "✔ v1 may be deployed to production: generation 3, rollback, 4 files\n"
        )

    def test_a_copy_of_the_published_folder(self, desk: Desk, tmp_path: Path) -> None:
        """The pipeline's own folder is what is really going to be deployed."""
        shutil.copytree(place(desk) / "generations" / "00000002", tmp_path / "copy")
        desk.done(*CHECK, "--folder", str(tmp_path / "copy"))

    def test_nothing_is_written(self, desk: Desk) -> None:
        """It never mints: not a row, not a file."""
        files = {path: path.stat().st_mtime_ns for path in place(desk).rglob("*")}
        rows = desk.state()
        desk.done(*CHECK)
        assert desk.state() == rows
        assert {path: path.stat().st_mtime_ns for path in place(desk).rglob("*")} == files


class TestIntegrity:
    """Bytes that are not what was let through: exit code 6."""

    def test_a_tampered_folder(self, desk: Desk) -> None:
        """Every file is named, and `settle` writes it again."""
        folder = place(desk) / "generations" / "00000002"
        (folder / "answer.py").chmod(0o644)
        (folder / "answer.py").write_text("evil")
        (folder / "extra.py").write_text("")
        said = desk(*CHECK)
        assert said.code == 6
        assert refused(desk, said) == (
            "error: ROOT/published/production/desk/generations/ID is not what the receipt of "
            "generation 2 says\n"
            "  - `answer.py` was changed\n"
            "  - `extra.py` should not be there\n"
            "hint: have it written again: `lockgate settle production -s desk`\n"
        )
        mended(desk, said)

    def test_a_tampered_copy(self, desk: Desk, tmp_path: Path) -> None:
        """What the pipeline has is refused; what was published is still good."""
        shutil.copytree(desk.root / "systems/desk", tmp_path / "copy")
        said = desk(*CHECK, "--folder", str(tmp_path / "copy"))
        assert said.code == 6
        assert "`lockgate.lock` should not be there" in said.err
        assert said.hint == (
            "take the folder that was published: `lockgate deploy-check production -s desk --json` "
            "names it"
        )
        assert desk.follow(said).code == 0

    def test_a_byte_changed_in_the_receipt(self, desk: Desk) -> None:
        """The signature no longer fits."""
        data = receipt(desk).read_bytes()
        receipt(desk).write_bytes(data.replace(b'\\"label\\":\\"v2\\"', b'\\"label\\":\\"v9\\"'))
        said = desk(*CHECK)
        assert said.code == 6
        assert refused(desk, said) == (
            "error: the receipt `ROOT/published/production/desk/receipt.json` does not count: "
            "its text is not the one that was signed\n"
            "hint: have what is live published again: `lockgate settle production -s desk`\n"
        )
        mended(desk, said)

    def test_a_receipt_of_another_registry(self, desk: Desk, new_registry: Path) -> None:
        """Another host's key signed it."""
        other = copied(new_registry, desk.root / "other")
        shutil.rmtree(other / ".lockgate")
        for words in (("init", "."), ("ship", "--to", "staging", "-m", "Elsewhere")):
            (other / "policy.toml").write_text(PUBLISHING, encoding="utf-8")
            assert process(*words, cwd=other).returncode == 0, words
        foreign = other / "published" / "staging" / "desk" / "receipt.json"
        said = desk(*CHECK, "--receipt", str(foreign))
        assert said.code == 6
        assert refused(desk, said) == (
            "error: the receipt `ROOT/other/published/staging/desk/receipt.json` does not count: "
            "its signature is not by a key that is trusted\n"
            "hint: take the receipt that this registry published: `lockgate deploy-check "
            "production -s desk`\n"
        )
        assert desk.follow(said).code == 0

    def test_a_receipt_of_another_environment(self, desk: Desk) -> None:
        """The same key signed it, for staging: also laid in place it does not count."""
        shutil.copy(receipt(desk, "staging"), receipt(desk))
        said = desk(*CHECK)
        assert said.code == 6
        assert refused(desk, said) == (
            "error: the receipt `ROOT/published/production/desk/receipt.json` is foreign\n"
            "  - its environment is `staging`, not `production`\n"
            "hint: have what is live published again: `lockgate settle production -s desk`\n"
        )
        mended(desk, said)

    def test_a_receipt_of_another_system(self, desk: Desk) -> None:
        """The neighbour's receipt, handed in or laid in place."""
        other = desk.root / "systems" / "other"
        shutil.copytree(desk.root / "systems/desk", other)
        (other / "lockgate.lock").unlink()
        suite = (desk.root / "suites/desk.toml").read_text(encoding="utf-8")
        desk.write("suites/other.toml", suite.replace('system = "desk"', 'system = "other"'))
        desk.edit("systems/other/lockgate.toml", 'name = "desk"', 'name = "other"')
        desk.done("register", "-m", "A neighbour", cwd=other)
        desk.done("ship", "--to", "production", cwd=other)
        foreign = desk.root / "published" / "production" / "other" / "receipt.json"
        said = desk(*CHECK, "-s", "desk", "--receipt", str(foreign))
        assert (said.code, "  - its system is `other`, not `desk`\n" in said.err) == (6, True)
        shutil.copy(foreign, receipt(desk))
        said = desk(*CHECK, "-s", "desk")
        assert said.code == 6
        assert desk.follow(said).code == 0
        desk.done(*CHECK, "-s", "desk")

    def test_a_receipt_that_the_registry_contradicts(self, desk: Desk) -> None:
        """Signed by this host, for this generation, and yet another version: a way on is named."""
        old = desk.root / "old"
        shutil.copytree(desk.root / ".lockgate", old / ".lockgate")
        shutil.copytree(desk.root / "published", old / "published")
        for name in ("systems", "suites"):
            shutil.copytree(desk.root / name, old / name)
        for name in ("policy.toml", "deploy.sh"):
            shutil.copy(desk.root / name, old / name)
        praise(old, "splendid")
        assert process("ship", "--to", "production", "-m", "There", cwd=old).returncode == 0
        praise(desk.root, "superb")
        desk.done("ship", "--to", "production", "-m", "Here")
        shutil.rmtree(desk.root / "published")
        shutil.copytree(old / "published", desk.root / "published")
        said = desk(*CHECK)
        assert said.code == 6
        assert refused(desk, said) == (
            "error: the receipt says that generation 3 of production is v3 by promote; the "
            "registry says otherwise\n"
            "  - version `ID` by promote is what was recorded\n"
            "hint: `lockgate rollback production -s desk` takes the next generation and makes it "
            "certain\n"
        )
        desk.done("rollback", "production", "-s", "desk", "--yes")
        desk.done(*CHECK)


class TestOrder:
    """What was true once, or is not yet: exit code 1."""

    def test_a_replayed_receipt_in_place(self, desk: Desk) -> None:
        """An old receipt put back is refused by the registry's word, and replaced by `settle`."""
        old = receipt(desk).read_bytes()
        desk.done("rollback", "production", "--yes")
        receipt(desk).write_bytes(old)
        said = desk(*CHECK)
        assert said.code == 1
        assert refused(desk, said) == (
            "error: the receipt of generation 2 is replayed: generation 3 of production is live\n"
            "hint: have what is live published again: `lockgate settle production -s desk`\n"
        )
        mended(desk, said)

    def test_a_replayed_receipt_of_the_pipelines_own(self, desk: Desk, tmp_path: Path) -> None:
        """A receipt that was kept from the last time."""
        shutil.copy(receipt(desk), tmp_path / "kept.json")
        desk.done("rollback", "production", "--yes")
        said = desk(*CHECK, "--receipt", str(tmp_path / "kept.json"), "--json")
        assert said.code == 1
        assert said.json == {
            "error": "the receipt of generation 2 is replayed: generation 3 of production is live",
            "problems": [],
            "hint": "take the receipt that this registry published: "
            "`lockgate deploy-check production -s desk`",
            "exit_code": 1,
        }

    def test_an_attempt_that_is_not_settled(self, desk: Desk) -> None:
        """Somebody was cut off: nothing may be deployed until it is known how that ended."""
        promotion_cut_off(desk)
        said = desk(*CHECK)
        assert said.code == 1
        assert refused(desk, said) == (
            "error: generation 3 of production is not settled: ml-team is at it or was cut off\n"
            "hint: `lockgate settle production -s desk` finds out; its own hook names what it "
            'deploys: `lockgate deploy-check production -s desk --receipt "$LOCKGATE_RECEIPT"`\n'
        )
        go_on(desk)
        mended(desk, said)

    def test_nothing_was_ever_promoted(self, desk: Desk) -> None:
        """There is no receipt, and what makes one is named."""
        desk.edit("policy.toml", "[environments.bare]", "[environments.bare]\npublish = 'bare'")
        desk.done("policy", "apply")
        said = desk("deploy-check", "bare")
        assert said.code == 1
        assert refused(desk, said) == (
            "error: there is no receipt at ROOT/bare/desk/receipt.json\n"
            "hint: promote a version first: `lockgate promote VERSION --to bare`\n"
        )


class TestStaged:
    """A deploy hook may ask about its own attempt, for as long as that stands."""

    def test_a_hook_that_asks_about_itself_passes(self, desk: Desk) -> None:
        """The conditions are those of the attempt: a hold that came since does not matter."""
        hook(
            desk.root,
            "lockgate hold production -m 'came later'\n"
            'lockgate deploy-check production --receipt "$LOCKGATE_RECEIPT" '
            '--folder "$LOCKGATE_FOLDER" --json > checked.json',
        )
        praise(desk.root, "superb")
        desk.done("ship", "--to", "production", "-m", "One more")
        told = json.loads((desk.root / "checked.json").read_text())
        assert (told["label"], told["generation"], told["state"]) == ("v3", 3, "staged")

    def test_without_naming_its_receipt_it_is_told_how(self, desk: Desk) -> None:
        """What is live is not what it is about to deploy; the hook fails, and so does the attempt."""
        hook(desk.root, "lockgate deploy-check production")
        praise(desk.root, "superb")
        said = desk("ship", "--to", "production", "-m", "One more")
        assert said.code == 5
        assert 'deploy-check production -s desk --receipt "$LOCKGATE_RECEIPT"' in said.err
        assert desk.done(*CHECK).out.startswith("✔ v2 may be deployed to production: generation 2")

    def test_an_attempt_that_a_rollback_abandoned_is_refused(self, desk: Desk) -> None:
        """Its late hook finds out that it is too late."""
        staged = promotion_cut_off(desk)
        desk.done(*CHECK, "--receipt", str(staged))
        hook(desk.root, "lockgate deploy-check production --receipt staged.json; exit 0")
        said = desk.done("rollback", "production", "--yes")
        assert (
            "error: the staged receipt of generation 3 of production may not be deployed: its "
            "attempt was settled `abandoned`"
        ) in said.err
        late = desk(*CHECK, "--receipt", str(staged))
        assert late.code == 1
        assert refused(desk, late).splitlines()[0] == (
            "error: the receipt of generation 3 is replayed: generation 4 of production is live"
        )
        assert desk.follow(late).code == 0

    def test_an_attempt_that_failed_is_refused(self, desk: Desk) -> None:
        """A receipt kept from a hook that failed is worth nothing."""
        hook(desk.root, 'cp "$LOCKGATE_RECEIPT" kept.json; exit 3')
        praise(desk.root, "superb")
        assert desk("ship", "--to", "production", "-m", "One more").code == 5
        said = desk(*CHECK, "--receipt", "kept.json")
        assert said.code == 1
        assert refused(desk, said) == (
            "error: the staged receipt of generation 3 of production may not be deployed: its "
            "attempt was settled `failed`\n"
            "hint: `lockgate status -s desk` shows what is live now\n"
        )
        assert desk.follow(said).code == 0

    def test_what_went_live_since_is_not_staged_any_more(self, desk: Desk) -> None:
        """The staged receipt of what is live is refused; the live one is there."""
        hook(desk.root, 'cp "$LOCKGATE_RECEIPT" kept.json')
        praise(desk.root, "superb")
        desk.done("ship", "--to", "production", "-m", "One more")
        said = desk(*CHECK, "--receipt", "kept.json")
        assert (said.code, "its attempt was settled `live`" in said.err) == (1, True)


class TestSurroundings:
    """What is not there, or cannot be read, is told from what was refused."""

    def test_a_published_folder_that_is_missing(self, desk: Desk) -> None:
        """Something is live, so this is no refusal: exit code 3, and `settle` publishes it."""
        shutil.rmtree(desk.root / "published")
        said = desk(*CHECK)
        assert said.code == 3
        assert refused(desk, said) == (
            "error: generation 2 is live in production, but its receipt "
            "`ROOT/published/production/desk/receipt.json` is missing\n"
            "hint: have it published again: `lockgate settle production -s desk`\n"
        )
        mended(desk, said)

    def test_a_host_without_its_key(self, desk: Desk) -> None:
        """A signed receipt cannot be checked by a host that lost its key."""
        for path in desk.root.glob(".lockgate/host_key*"):
            path.unlink()
        said = desk(*CHECK)
        assert said.code == 6
        assert refused(desk, said) == (
            "error: the receipt `ROOT/published/production/desk/receipt.json` does not count: it "
            "is signed, and this host has no key\n"
            "hint: bring `.lockgate/host_key` and `.lockgate/host_key.pub` back from a backup\n"
        )

    def test_a_host_that_never_had_one(self, desk: Desk) -> None:
        """Unsigned receipts pass, because the registry says the same, and that is told."""
        for path in desk.root.glob(".lockgate/host_key*"):
            path.unlink()
        desk.done("settle", "production")
        said = desk.done(*CHECK)
        assert said.err == "note: its receipt is not signed: this host has no key\n"
        assert desk.done(*CHECK, "--json").json["signed"] is False

    def test_an_environment_that_publishes_nothing(self, desk: Desk) -> None:
        """Without `publish` there is nothing to check."""
        said = desk("deploy-check", "bare")
        assert said.code == 2
        assert refused(desk, said) == (
            "error: bare publishes nothing, so there is no receipt to check\n"
            'hint: set publish = "published/bare" in policy.toml, then `lockgate policy apply`\n'
        )

    def test_a_receipt_file_that_is_missing(self, desk: Desk) -> None:
        """A slip in its name is told as one."""
        said = desk(*CHECK, "--receipt", "gone.json")
        assert said.code == 2
        assert refused(desk, said) == (
            "error: there is no receipt at gone.json\n"
            "hint: take the receipt that this registry published: `lockgate deploy-check "
            "production -s desk`\n"
        )
        assert desk.follow(said).code == 0

    def test_a_promotion_onto_a_damaged_receipt(self, desk: Desk) -> None:
        """It is refused with a hint that mends it; then it goes through."""
        receipt(desk).write_text("damaged")
        ready(desk)
        said = desk("promote", "--to", "production")
        assert (said.code, "does not count" in said.err) == (6, True)
        mended(desk, said)
        desk.done("promote", "--to", "production")
        assert desk.done(*CHECK).out.startswith("✔ v3 may be deployed")

    def test_an_environment_that_is_none(self, desk: Desk) -> None:
        """Those that exist are listed."""
        said = desk("deploy-check", "prod")
        assert said.code == 2
        assert "production" in said.err

    def test_a_registry_that_is_none(self, desk: Desk) -> None:
        """Missing, or damaged: exit code 3, never a pass."""
        path = desk.root / ".lockgate" / "registry.db"
        data = path.read_bytes()
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(b"x" * len(data))
        assert (desk(*CHECK).code, "is not a Lockgate registry" in desk(*CHECK).err) == (3, True)
        path.unlink()
        said = desk(*CHECK)
        assert (said.code, "there is no registry" in said.err) == (3, True)

    def test_a_registry_that_somebody_writes_to(self, desk: Desk) -> None:
        """A writer does not keep a pipeline from asking."""
        with closing(sqlite3.connect(desk.root / ".lockgate" / "registry.db")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            desk.done(*CHECK)
