"""A signature counts when one of the trusted keys made it, for this use, over this text."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from deploy.world import World, is_gone
from lockgate.deploy import sshsig
from lockgate.deploy.sshsig import CannotVerify, signature_problem, trusted_keys
from lockgate.signing import ssh

TEXT = b'{"format": 1}'


def test_a_signature_by_the_trusted_key_counts(world: World) -> None:
    """What the host signed verifies with its public half."""
    assert signature_problem(TEXT, world.key.sign(TEXT), [world.key.public()]) is None


def test_any_trusted_key_will_do(world: World, tmp_path: Path) -> None:
    """While a key is being changed, a trust file holds both."""
    other = trusted_keys(ssh.make_key(tmp_path / "other", "other"))
    assert signature_problem(TEXT, world.key.sign(TEXT), [*other, world.key.public()]) is None


def test_a_large_text_is_verified_too(world: World) -> None:
    """A receipt of thousands of files does not fit into a pipe at once."""
    text = b"x" * 3_000_000
    assert signature_problem(text, world.key.sign(text), [world.key.public()]) is None


def test_another_text_does_not_count(world: World) -> None:
    """One changed byte is told as such."""
    found = signature_problem(TEXT + b" ", world.key.sign(TEXT), [world.key.public()])
    assert found == "its text is not the one that was signed"


def test_another_key_does_not_count(world: World, tmp_path: Path) -> None:
    """A key that is not trusted is told as such."""
    other = ssh.sign(TEXT, key=Path(_key(tmp_path))).armored
    found = signature_problem(TEXT, other, [world.key.public()])
    assert found == "its signature is not by a key that is trusted"


def test_a_signature_for_another_use_does_not_count(world: World, tmp_path: Path) -> None:
    """The same key's signature on, say, a commit is no receipt."""
    message = tmp_path / "message"
    message.write_bytes(TEXT)
    private = world.root / ".lockgate" / "host_key"
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", private, message], check=True
    )
    armored = message.with_name("message.sig").read_text()
    found = signature_problem(TEXT, armored, [world.key.public()])
    assert found == "its signature was made for another use"


@pytest.mark.parametrize(
    "armored",
    [
        "",
        "no signature",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\né\n-----END SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\n" + "A" * 9000 + "\n-----END SSH SIGNATURE-----",
    ],
)
def test_what_is_no_signature_does_not_count(world: World, armored: str) -> None:
    """Damaged armour is a reason, never a crash and never a yes."""
    assert signature_problem(TEXT, armored, [world.key.public()]) is not None


def test_without_ssh_keygen_nothing_is_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool is not the same as a wrong signature."""
    armored = world.key.sign(TEXT)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotVerify, match="not on the PATH"):
        signature_problem(TEXT, armored, [world.key.public()])


@pytest.mark.parametrize("ignored", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_program_that_buries_its_children_is_not_fooled(
    world: World, tmp_path: Path, ignored: signal.Handlers
) -> None:
    """Where no exit code can be learned a wrong signature still is one, and a right one right."""
    armored = world.key.sign(TEXT)
    stranger = ssh.sign(TEXT, key=Path(_key(tmp_path))).armored
    before = signal.signal(signal.SIGCHLD, ignored)
    try:
        assert signature_problem(TEXT, armored, [world.key.public()]) is None
        for message, signature in ((TEXT + b" ", armored), (TEXT, stranger)):
            assert signature_problem(message, signature, [world.key.public()]) is not None
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_tool_that_hangs_is_ended(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a time limit, after which nothing is known, and no process is left."""
    armored = world.key.sign(TEXT)
    tool = tmp_path / "bin" / "ssh-keygen"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(sshsig, "TIME_LIMIT_S", 0.3)
    with pytest.raises(CannotVerify, match="did not answer within 0.3 s"):
        signature_problem(TEXT, armored, [world.key.public()])
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_an_old_tool_is_told_as_such(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool that does not know `-Y verify` is not a wrong signature."""
    armored = world.key.sign(TEXT)
    tool = tmp_path / "ssh-keygen"
    tool.write_text("#!/bin/sh\necho usage: ssh-keygen >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotVerify, match="older than OpenSSH"):
        signature_problem(TEXT, armored, [world.key.public()])


def test_nothing_is_left_open(world: World) -> None:
    """A server may verify for years."""
    armored = world.key.sign(TEXT)
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        signature_problem(TEXT, armored, [world.key.public()])
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_nothing_is_left_on_disk(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A serving process that is killed while it verifies leaves no files about."""
    (tmp_path / "scratch").mkdir()
    armored = world.key.sign(TEXT)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    signature_problem(TEXT, armored, [world.key.public()])
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_trust_file_is_read_as_people_write_it() -> None:
    """Comments, blank lines and allowed-signers lines are fine; only keys are taken."""
    text = (
        "# the registry host\n\nssh-ed25519 AAAAone lockgate-host\n"
        'lockgate-host namespaces="lockgate" ssh-rsa AAAAtwo=\n'
    )
    assert trusted_keys(text) == ["ssh-ed25519 AAAAone", "ssh-rsa AAAAtwo="]


@pytest.mark.parametrize("text", ["", "# none", "ssh-ed25519", "ssh-x\x00y AAAA", "x" * 20_000])
def test_a_trust_file_without_a_key_is_refused(text: str) -> None:
    """An empty or damaged trust file never means that everybody is trusted."""
    with pytest.raises(ValueError):
        trusted_keys(text)


def _key(folder: Path) -> str:
    ssh.make_key(folder / "stranger", "stranger")
    return str(folder / "stranger")
