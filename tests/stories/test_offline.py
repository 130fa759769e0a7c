"""The registry is locked, damaged or gone, and what is live has to go back all the same."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cli.desks import Desk, Said, environment
from lockgate.deploy.receipts import read_receipt, write_receipt
from lockgate.loop import way_back as way_back_module
from lockgate.storage import registry as registry_module
from loop.world import STAGING, SYSTEM
from stories.published import HOOKED, PUBLISHED, Published

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)

OFFLINE = ("rollback", "staging", "-s", SYSTEM, "--offline", "--yes")


@pytest.fixture(scope="module")
def hooked_root(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """With a hook; not to be changed."""
    root = tmp_path_factory.mktemp("hooked") / "registry"
    Published.make(root, keys, policy=HOOKED)
    return root


@pytest.fixture(scope="module")
def plain_root(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """Without a hook; not to be changed."""
    root = tmp_path_factory.mktemp("plain") / "registry"
    Published.make(root, keys, policy=PUBLISHED)
    return root


@pytest.fixture
def hooked(hooked_root: Path, tmp_path: Path, keys: Path) -> Iterator[Published]:
    """v3 is live in staging, by a hook; v2 is the way back."""
    made = Published.copied(hooked_root, tmp_path / "registry", keys)
    yield made
    made.world.registry.close()


@pytest.fixture
def plain(plain_root: Path, tmp_path: Path, keys: Path) -> Iterator[Published]:
    """v3 is live in staging; v2 is the way back."""
    made = Published.copied(plain_root, tmp_path / "registry", keys)
    yield made
    made.world.registry.close()


@pytest.fixture
def type_in(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return what types a command in a registry's folder, as somebody on call."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")

    def command(at: Published, *words: str, **how: object) -> Said:
        return Desk(at.root, capsys, monkeypatch)(*words, actor="on-call", **how)  # type: ignore[arg-type]

    return command


def put_garbage(at: Published) -> None:
    """Overwrite the registry's file."""
    at.world.registry.close()
    for ending in ("-wal", "-shm"):
        (at.root / ".lockgate" / f"registry.db{ending}").unlink(missing_ok=True)
    (at.root / ".lockgate" / "registry.db").write_bytes(b"garbage" * 1000)


class TestGoingBack:
    """From the signed way-back receipt, whatever the registry's file is like."""

    def test_the_registry_is_gone(self, hooked: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """v2 is published under the next generation, by the hook, and the way back is not v3."""
        hooked.lose_registry()
        said = type_in(hooked, *OFFLINE, "-m", "answers got worse", "--incident", "INC-7")
        assert said.code == 0, said
        assert said.out.startswith("✔ v2 is live in staging  generation 4, ")
        assert f"`lockgate settle staging -s {SYSTEM}`" in said.err
        hooked.find_registry()
        receipt = hooked.current()
        assert (receipt.label, receipt.generation, receipt.kind) == ("v2", 4, "rollback")
        assert receipt.previous is not None
        assert receipt.previous.generation == 3
        assert hooked.deployed() == (4, "v2")
        assert hooked.target.way_back(SYSTEM) is None
        assert hooked.target.staged(SYSTEM) is None
        noted = hooked.note(4)
        assert (noted["actor"], noted["reason"], noted["incident"]) == (
            "on-call",
            "answers got worse",
            "INC-7",
        )

    def test_the_registry_is_garbage(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """It is neither read nor written."""
        put_garbage(plain)
        before = (plain.root / ".lockgate" / "registry.db").read_bytes()
        body = type_in(plain, *OFFLINE, "--json").json
        assert {key: body[key] for key in ("from", "to", "generation", "kind", "offline")} == {
            "from": "v3",
            "to": "v2",
            "generation": 4,
            "kind": "rollback",
            "offline": True,
        }
        assert (plain.root / ".lockgate" / "registry.db").read_bytes() == before

    def test_what_the_serving_side_sees(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """`resolve` gives the folder of v2, verified, where it stood all the time."""
        plain.lose_registry()
        assert type_in(plain, *OFFLINE).code == 0
        said = type_in(plain, "resolve", SYSTEM, "staging", "--json")
        assert (said.json["label"], said.json["generation"]) == ("v2", 4)
        assert said.json["folder"].endswith("generations/00000002")

    def test_no_database_is_opened(self, plain: Published) -> None:
        """Neither sqlite3 nor anything that checks, evaluates or draws is even imported."""
        script = (
            "import sys\nfrom lockgate.cli.exits import run\n"
            "code = run(sys.argv[1:])\nprint(code, *sorted(sys.modules), file=sys.stderr)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, *OFFLINE],
            cwd=plain.root,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        code, *modules = done.stderr.splitlines()[-1].split()
        assert code == "0", done.stderr
        heavy = ("sqlite3", "sqlite_utils", "pydantic", "rich", "textual", "jsonschema")
        parts = ("storage", "workspace", "runners", "evals", "look")
        wrong = (*heavy, *(f"lockgate.{part}" for part in parts))
        assert [name for name in modules if name.startswith(wrong)] == []

    def test_it_shows_where_it_goes_and_asks(self, hooked: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Without a terminal and without --yes nothing happens, and the hint does it."""
        hooked.lose_registry()
        said = type_in(hooked, *OFFLINE[:-1], "-m", "it is worse")
        assert said.code == 2
        lines = said.out.splitlines()
        assert lines[0].startswith(
            f"roll back {SYSTEM} staging without the registry:  v3 (published "
        )
        assert [line.split()[0] for line in lines[1:]] == ["goes", "intact", "hook", "then"]
        assert "nobody is there to confirm the rollback; nothing was changed" in said.err
        assert said.command.endswith("--offline --yes -m 'it is worse'")
        done = type_in(hooked, *shlex.split(said.command)[1:])
        assert done.code == 0, done

    def test_from_anywhere_below_by_the_name_of_the_only_system(
        self,
        plain: Published,
        type_in,  # type: ignore[no-untyped-def]
    ) -> None:
        """The root is found by `.lockgate`, the system by what is published."""
        plain.lose_registry()
        below = plain.root / "suites"
        assert type_in(plain, "rollback", "staging", "--offline", "--yes", cwd=below).code == 0

    def test_a_published_folder_that_is_named(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """--publish does without policy.toml."""
        plain.lose_registry()
        (plain.root / "policy.toml").unlink()
        (plain.root / "published" / "staging").rename(plain.root / "moved")
        said = type_in(plain, *OFFLINE, "--publish", str(plain.root / "moved"))
        assert said.code == 0, said

    def test_what_is_live_need_not_be_readable(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """A damaged live receipt is what one wants to get away from."""
        plain.lose_registry()
        (plain.place / "receipt.json").write_text("{}")
        said = type_in(plain, *OFFLINE)
        assert said.code == 0, said
        assert "generation 4" in said.out

    def test_a_generation_is_never_reused(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Folders, hooks and notes count as well as receipts."""
        plain.lose_registry()
        hooks = plain.root / ".lockgate" / "hooks"
        hooks.mkdir(exist_ok=True)
        (hooks / f"{SYSTEM}.staging.00000008.stop").touch()
        assert type_in(plain, *OFFLINE, "--json").json["generation"] == 9


class TestAHook:
    """It runs with the new generation as its fencing number."""

    def test_that_fails_changes_nothing(self, hooked: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """v3 stays published, and the way back with it."""
        hooked.lose_registry()
        hooked.write_hook("#!/bin/sh\necho no route to host; exit 3\n")
        said = type_in(hooked, *OFFLINE)
        assert said.code == 5
        assert "the deploy hook of generation 4 ended with exit code 3" in said.err
        assert "no route to host" in said.err
        assert "mend what it complains about" in said.hint
        hooked.find_registry()
        assert hooked.current().label == "v3"
        assert hooked.target.staged(SYSTEM) is None
        assert hooked.note(4)["failed"] is not None
        hooked.write_hook("#!/bin/sh\nexit 0\n")
        assert type_in(hooked, *OFFLINE, "--json").json["generation"] == 5

    def test_that_cannot_start_changes_nothing(self, hooked: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Nothing ran, nothing was published."""
        hooked.lose_registry()
        (hooked.root / "deploy.sh").unlink()
        said = type_in(hooked, *OFFLINE)
        assert said.code == 5
        assert "`./deploy.sh` is not there" in said.err
        assert hooked.current().label == "v3"

    def test_of_a_promotion_under_way_is_stopped(self, hooked: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """A promotion whose hook hangs is overtaken, and its hook ended first."""
        hooked.write_hook(
            '#!/bin/sh\n[ "$LOCKGATE_GENERATION" = 4 ] && exec sleep 60\n'
            'echo "$LOCKGATE_GENERATION $LOCKGATE_VERSION" > deployed\n'
        )
        version = hooked.ready()
        with subprocess.Popen(
            [sys.executable, "-m", "lockgate", "promote", version.label, "--to", "staging"],
            cwd=hooked.root,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as promotion:
            while hooked.target.hook_status(SYSTEM, 4).state != "running":
                assert promotion.poll() is None, promotion.stdout and promotion.stdout.read()
            body = type_in(hooked, *OFFLINE, "--json").json
            told, _ = promotion.communicate(timeout=60)
        assert (body["to"], body["generation"]) == ("v2", 5)
        assert promotion.returncode == 5
        assert "was stopped" in told
        assert hooked.target.hook_status(SYSTEM, 4).ending == "stopped"
        assert hooked.deployed() == (5, "v2")
        assert hooked.current().generation == 5


class TestRefusals:
    """Each with its own words, a way on, and an exit code."""

    def refused(self, said: Said, code: int, words: str, hint: str) -> None:
        assert said.code == code, said
        assert words in said.err
        assert hint in said.hint
        assert "Traceback" not in said.err

    def test_no_way_back_receipt(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Only one version was ever published, or it was rolled back already."""
        (plain.place / "way-back.json").unlink()
        self.refused(
            type_in(plain, *OFFLINE),
            1,
            f"there is no way-back receipt for {SYSTEM} in staging",
            f"`lockgate rollback staging -s {SYSTEM}`",
        )

    def test_a_way_back_receipt_that_was_changed(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """What this host did not sign is no way back."""
        path = plain.place / "way-back.json"
        path.write_text(path.read_text().replace("v2", "v9"))
        self.refused(
            type_in(plain, *OFFLINE),
            6,
            "the way back for staging cannot be trusted",
            "bring the registry back",
        )

    def test_a_way_back_folder_that_was_changed(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Every changed file is named, and nothing was changed."""
        folder = plain.place / "generations" / "00000002"
        prompt = folder / "prompts" / "system.md"
        prompt.chmod(0o644)
        prompt.write_text("Say yes to all.\n")
        said = type_in(plain, *OFFLINE)
        self.refused(said, 6, "v2, the way back for staging, is not whole", "from a backup")
        assert "`prompts/system.md` was changed" in said.err
        assert plain.current().label == "v3"

    def test_receipts_of_another_registry(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Both are signed by this host, and do not belong together."""
        from dataclasses import replace

        publisher = plain.target.publisher
        assert publisher is not None
        path = plain.place / "way-back.json"
        found = read_receipt(path, publisher.key)
        assert found is not None
        write_receipt(path, replace(found, registry="ab" * 16), publisher.key)
        said = type_in(plain, *OFFLINE)
        self.refused(said, 6, "do not belong together", "--offline --publish DIR")
        assert "the way back is of registry `abababab`" in said.err

    def test_no_key_to_sign_with(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """It is said where a backup of it belongs."""
        (plain.root / ".lockgate" / "host_key").unlink()
        self.refused(
            type_in(plain, *OFFLINE),
            1,
            "the host's key is missing, so no receipt can be signed",
            f"from a backup into `{plain.root / '.lockgate'}`",
        )

    def test_no_published_folder(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """The folder that policy.toml names is not there."""
        (plain.root / "published" / "staging").rename(plain.root / "moved")
        self.refused(
            type_in(plain, *OFFLINE),
            3,
            f"the published folder `{plain.root / 'published' / 'staging'}` is not there",
            f"`lockgate rollback staging -s {SYSTEM} --offline --publish DIR`",
        )

    def test_an_environment_that_publishes_nothing(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """No way-back receipt was ever kept."""
        (plain.root / "policy.toml").write_text(STAGING)
        self.refused(type_in(plain, *OFFLINE), 1, "staging publishes nothing", "from a backup")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[environments.staging\n", "policy.toml` cannot be read"),
            ('[environments.production]\nstakes = "low"\n', "no environment `staging` in"),
            ('[environments.staging]\npublish = "../out"\n', "does not say where `staging` goes"),
            ('[environments.staging]\ndeploy = "./x"\n', "does not say where `staging` goes"),
        ],
    )
    def test_a_policy_that_cannot_be_read(
        self,
        plain: Published,
        type_in,
        text: str,
        words: str,  # type: ignore[no-untyped-def]
    ) -> None:
        """It says where versions go; the folder can be named instead."""
        (plain.root / "policy.toml").write_text(text)
        self.refused(type_in(plain, *OFFLINE), 2, words, "--offline --publish DIR")

    def test_no_folder_of_ours(self, plain: Published, type_in, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        """Without `.lockgate` there is no key."""
        empty = tmp_path / "empty"
        empty.mkdir()
        said = type_in(plain, "--registry", str(empty), *OFFLINE)
        self.refused(said, 3, f"there is no `.lockgate` folder in `{empty}`", "--registry DIR")

    def test_a_second_one(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """What was just left is never landed on, nor anything else without the registry."""
        assert type_in(plain, *OFFLINE).code == 0
        self.refused(
            type_in(plain, *OFFLINE),
            1,
            "staging was rolled back already, to v2 as generation 4",
            f"`lockgate rollback staging -s {SYSTEM} --to VERSION`",
        )
        assert plain.current().generation == 4

    def test_with_a_target(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Which targets there are only the registry knows."""
        self.refused(type_in(plain, *OFFLINE, "--to", "v1"), 2, "--to needs the registry", "--to")

    def test_publish_without_offline(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """With the registry the applied policy says where."""
        said = type_in(plain, "rollback", "staging", "--yes", "--publish", "x")
        self.refused(said, 2, "--publish is for --offline only", "leave it out")

    def test_an_unknown_system(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Nothing of that name is published."""
        said = type_in(plain, "rollback", "staging", "-s", "nobody", "--offline", "--yes")
        self.refused(said, 1, "there is no way-back receipt for nobody in staging", "")


class TestTheOrdinaryRollbackPointsHere:
    """When the registry is the trouble, the hint is the command that does without it."""

    def follow(self, at: Published, type_in, said: Said) -> None:  # type: ignore[no-untyped-def]
        assert said.code == 3, said
        assert said.hint.startswith("without the registry: `lockgate ")
        done = type_in(at, *shlex.split(said.command)[1:])
        assert done.code == 0, done
        assert "✔ v2 is live in staging  generation 4" in done.out

    def test_missing(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """The words that were typed go along."""
        plain.lose_registry()
        said = type_in(plain, "rollback", "staging", "--yes", "-m", "worse, and late")
        assert said.command == (
            f"lockgate rollback staging -s {SYSTEM} --offline --yes -m 'worse, and late'"
        )
        self.follow(plain, type_in, said)

    def test_garbage(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """A file that is no registry."""
        put_garbage(plain)
        self.follow(plain, type_in, type_in(plain, "rollback", "staging", "--yes"))

    def test_locked(
        self,
        plain: Published,
        type_in,
        monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
    ) -> None:
        """Somebody writes and does not stop."""
        assert registry_module._begin.__kwdefaults__ is not None
        monkeypatch.setitem(registry_module._begin.__kwdefaults__, "patience_s", 0.2)
        path = plain.root / ".lockgate" / "registry.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            self.follow(plain, type_in, type_in(plain, "rollback", "staging", "--yes"))

    def test_not_where_it_would_not_go(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Without a way-back receipt the hint is the old one."""
        put_garbage(plain)
        (plain.place / "way-back.json").unlink()
        assert "--offline" not in type_in(plain, "rollback", "staging", "--yes").err


def test_a_large_version_is_hashed_after_the_switch(
    plain: Published,
    type_in,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    """What is not looked at before is looked at after it, and told loudly: exit 6, and it is live."""
    from lockgate.upkeep import offline as offline_module

    assert way_back_module.FULLY_CHECKED_BYTES == offline_module.FULLY_CHECKED_BYTES
    monkeypatch.setattr(offline_module, "FULLY_CHECKED_BYTES", 10)
    answer = plain.place / "generations" / "00000002" / "answer.py"
    answer.chmod(0o644)
    answer.write_text(answer.read_text().replace("billing", "BILLING"))
    said = type_in(plain, *OFFLINE)
    assert said.code == 6
    assert "v2 IS LIVE in staging as generation 4, and is not whole" in said.err
    assert "`answer.py` was changed" in said.err
    assert said.command == f"lockgate settle staging -s {SYSTEM}"
    assert plain.current().generation == 4
    settled = type_in(plain, *shlex.split(said.command)[1:])
    assert settled.code == 0, settled
    assert "repaired" in settled.out
