"""The serving example serves what the gate let through, and goes on when what is published is bad."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from lockgate.domain.payload import opened, sealed
from lockgate.signing import ssh
from stories.serving import GREETINGS, TICKET, Sample, Serving

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A sample with v1 live and v2 and v3 ready; not to be changed."""
    made = Sample.make(tmp_path_factory.mktemp("serving") / "sample")
    made.registry.close()
    return made


@pytest.fixture
def sample(made: Sample, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A copy of it."""
    copy = made.copied(tmp_path / "sample")
    yield copy
    copy.registry.close()


def test_it_follows_what_is_live(sample: Sample) -> None:
    """Promote, promote, roll back: each is picked up, reported by id, and answers."""
    with Serving(sample) as app:
        assert app.version() == {
            "version": sample.version("v1").id,
            "label": "v1",
            "generation": 1,
            "state": "ok",
            "why": None,
        }
        assert app.reply() == GREETINGS["v1"]
        sample.promote("v2")
        app.until_serving("v2")
        assert app.version()["version"] == sample.version("v2").id
        assert app.reply() == GREETINGS["v2"]
        sample.roll_back()
        assert app.until_serving("v1")["generation"] == 3
        assert app.reply() == GREETINGS["v1"]
        assert sample.observed(app.address) == [(app.address, "match")]


def test_a_byte_changed_in_the_receipt_changes_nothing(sample: Sample) -> None:
    """The last good version goes on and says why; once the receipt is whole again, all is well."""
    with Serving(sample) as app:
        data = sample.receipt.read_bytes()
        sample.receipt.write_bytes(data.replace(b"generation", b"generatiom", 1))
        told = app.until_holding()
        assert "the receipt does not count" in told["why"]
        assert (told["label"], app.reply()) == ("v1", GREETINGS["v1"])
        assert sample.observed(app.address) == [(app.address, "match")]
        sample.receipt.write_bytes(data)
        app.until_serving("v1")


def test_a_receipt_signed_by_somebody_else_is_refused(sample: Sample, tmp_path: Path) -> None:
    """A newer receipt by another key is as good as none."""
    with Serving(sample) as app:
        ssh.make_key(tmp_path / "stranger", "stranger")
        sample.promote("v2")
        app.until_serving("v2")
        payload, _ = opened(sample.receipt.read_bytes())
        body = json.loads(payload) | {"generation": 3}
        forged = json.dumps(body, sort_keys=True, separators=(",", ":"))
        signature = ssh.sign(forged.encode(), key=tmp_path / "stranger").armored
        sample.receipt.write_bytes(sealed(forged, signature))
        why = app.until_holding()["why"]
        assert why == "the receipt does not count: its signature is not by a key that is trusted"
        assert (app.version()["generation"], app.reply()) == (2, GREETINGS["v2"])


def test_a_replayed_receipt_is_refused_also_after_a_restart(sample: Sample) -> None:
    """What was true once is not true again; the state file remembers that for the next process."""
    old = sample.receipt.read_bytes()
    why = (
        "the receipt is replayed: generation 1 of epoch 1, and generation 2 of epoch 1 was served "
        "here before"
    )
    with Serving(sample) as app:
        sample.promote("v2")
        app.until_serving("v2")
        sample.receipt.write_bytes(old)
        assert app.until_holding()["why"] == why
        assert app.reply() == GREETINGS["v2"]
    with Serving(sample) as again:
        assert again.version() == {
            "version": sample.version("v2").id,
            "label": "v2",
            "generation": 2,
            "state": "holding",
            "why": why,
        }
        assert again.reply() == GREETINGS["v2"]


def test_a_tampered_folder_is_noticed_and_not_served(sample: Sample) -> None:
    """What was loaded before goes on, the file is named, and `settle` mends it."""
    with Serving(sample, verify_every_s=0.2) as app:
        reply = sample.folder(1) / "prompts" / "reply.md"
        reply.chmod(0o644)
        reply.write_text(reply.read_text().replace(GREETINGS["v1"], "Pay here,"))
        assert "`prompts/reply.md` was changed" in app.until_holding()["why"]
        assert app.reply() == GREETINGS["v1"]
        sample.settle()
        app.until_serving("v1")


def test_a_new_version_whose_folder_was_tampered_with_is_never_served(sample: Sample) -> None:
    """It goes on with the version before, and `observe` says that it is behind."""
    with Serving(sample) as app:
        os.kill(app.pid, signal.SIGSTOP)
        sample.promote("v2")
        (sample.folder(2) / "extra.py").write_text("")
        os.kill(app.pid, signal.SIGCONT)
        told = app.until_holding()
        assert told["why"] == (
            "generation 2 is not what its receipt says: `extra.py` should not be there"
        )
        assert (told["label"], app.reply()) == ("v1", GREETINGS["v1"])
        assert sample.observed(app.address) == [(app.address, "stale")]


def test_a_version_that_dies_is_started_again(sample: Sample) -> None:
    """An answer is refused at most once; the next look starts it anew."""
    with Serving(sample) as app:
        children = Path(f"/proc/{app.pid}/task/{app.pid}/children")
        if not children.exists():
            pytest.skip("only Linux lists the children of a process")
        (worker,) = children.read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        assert app.ask("POST", "/answer", TICKET) == (
            503,
            {"error": "nothing can answer: its process has ended"},
        )
        app.until_serving("v1")
        assert app.reply() == GREETINGS["v1"]


def test_a_version_that_cannot_answer_takes_nothing_over(made: Sample, tmp_path: Path) -> None:
    """It is live and whole, and fails all the same: the one before goes on, and that is told."""
    sample = made.copied(tmp_path / "sample")
    code = sample.root / "systems" / "support-desk" / "assistant.py"
    line = "def _answer_ticket(ticket: str, settings: Settings) -> dict[str, Any]:\n"
    head, found, tail = code.read_text().partition(line)
    code.write_text(f'{head}{found}    assert len(ticket) > 9, "too short"\n{tail}')
    sample.register("No case of the suite is as short as the first question")
    with Serving(sample) as app:
        sample.promote("v4")
        told = app.until_holding()
        assert told["why"].startswith("v4 does not start: AssertionError: too short (assistant.py")
        assert (told["label"], app.reply()) == ("v1", GREETINGS["v1"])
    sample.registry.close()


def test_nothing_published_is_no_version(sample: Sample) -> None:
    """It starts all the same, says what is missing, and takes the first version that comes."""
    moved = sample.published.rename(sample.root / "away")
    with Serving(sample) as app:
        told = app.version()
        assert (told["version"], told["state"]) == (None, "holding")
        assert "nothing is published for support-desk in production" in told["why"]
        assert app.ask("POST", "/answer", {})[0] == 503
        assert sample.observed(app.address) == [(app.address, "unknown")]
        moved.rename(sample.published)
        app.until_serving("v1")


def test_instances_are_told_apart(sample: Sample, made: Sample, tmp_path: Path) -> None:
    """One that matches, one that serves what was never published here, one that is not there."""
    other = made.copied(tmp_path / "other")
    other.promote("v3")
    with Serving(sample) as app, Serving(other) as stranger:
        nobody = "http://127.0.0.1:1"
        assert sample.observed(app.address, stranger.address, nobody) == [
            (app.address, "match"),
            (stranger.address, "unreceipted"),
            (nobody, "unknown"),
        ]
    other.registry.close()


def test_a_question_that_is_none_is_refused(sample: Sample) -> None:
    """Bad JSON, another address, and an input that the version cannot answer."""
    with Serving(sample) as app:
        assert app.ask("POST", "/answer")[0] == 400
        assert app.ask("POST", "/other", {})[0] == 404
        assert app.ask("GET", "/answer")[0] == 404
        status, said = app.ask("POST", "/answer", {"letter": "none"})
        assert (status, said["label"]) == (500, "v1")
        assert said["error"].startswith("KeyError: 'ticket' (assistant.py:")
        assert app.reply() == GREETINGS["v1"]
