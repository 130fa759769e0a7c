"""The host's own key: made once, without questions, and readable by those who publish."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deploy.world import World
from lockgate.deploy.host_key import HostKey, make_host_key
from lockgate.deploy.sshsig import signature_problem
from lockgate.errors import IntegrityBroken, LockgateError, Refused
from lockgate.signing import ssh


def test_the_key_is_made_for_its_owner_alone(world: World) -> None:
    """The private half is 0600, without a passphrase, and both halves are there."""
    private = world.root / ".lockgate" / "host_key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert world.public_key.read_text().startswith("ssh-ed25519 AAAA")
    assert sorted(path.name for path in private.parent.iterdir()) == ["host_key", "host_key.pub"]


def test_making_it_again_changes_nothing(world: World) -> None:
    """A second `init` keeps the key that servers trust."""
    before = world.public_key.read_bytes()
    make_host_key(world.root / ".lockgate", ssh.make_key)
    assert world.public_key.read_bytes() == before


def test_a_making_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    """Only a whole key is a key: the public half alone is replaced with a fitting pair."""
    (tmp_path / "host_key.pub").write_text("ssh-ed25519 AAAAold\n")
    make_host_key(tmp_path, ssh.make_key)
    key = HostKey(tmp_path, ssh)
    assert signature_problem(b"text", key.sign(b"text"), [key.public()]) is None


def test_a_team_may_share_the_key(world: World) -> None:
    """A key that the group can read signs as well, also for its owner."""
    private = world.root / ".lockgate" / "host_key"
    private.chmod(0o640)
    assert world.key.sign(b"text").startswith("-----BEGIN SSH SIGNATURE-----")
    assert stat.S_IMODE(private.stat().st_mode) == 0o640


def test_a_key_that_everybody_can_read_is_refused(world: World) -> None:
    """A key for all signs nothing."""
    private = world.root / ".lockgate" / "host_key"
    private.chmod(0o644)
    with pytest.raises(Refused, match="everybody on this machine") as caught:
        world.key.sign(b"text")
    assert caught.value.hint == f"chmod 600 {private}"


def test_a_key_that_is_gone_is_named(world: World) -> None:
    """Without the private half the message names the file."""
    private = world.root / ".lockgate" / "host_key"
    private.unlink()
    with pytest.raises(LockgateError, match="host_key` cannot be read: No such file"):
        world.key.sign(b"text")


def test_a_damaged_public_half_can_be_made_again(world: World) -> None:
    """The hint is the command that writes it from the private half."""
    before = world.key.public()
    world.public_key.write_text("nothing")
    with pytest.raises(IntegrityBroken, match="cannot be used") as caught:
        world.key.public()
    assert os.system(caught.value.hint) == 0
    assert world.key.public() == before


def test_the_public_half_lies_beside_what_is_published(world: World) -> None:
    """A new server finds the key there, and a copy that was exchanged is put right."""
    world.go_live(1)
    copy = world.publisher.folder / "host_key.pub"
    assert world.key.public() in copy.read_text()
    copy.write_text("ssh-ed25519 AAAAother\n")
    world.go_live(2)
    assert world.key.public() in copy.read_text()
