"""Signatures are made and checked by the real `ssh-keygen`, which never gets to ask anything."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lockgate.domain.approval import parse_signers, signer_line
from lockgate.errors import LockgateError, Refused, RegistryTrouble, UsageMistake
from lockgate.signing import ssh

MESSAGE = b"lockgate decision: 1\nword: yes\n"
NOW = datetime(2026, 8, 21, 3, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys and without an agent, and a folder for temporary files to be seen in."""
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ssh.tempfile, "tempdir", str(tmp_path / "temporary"))
    for variable in ("SSH_AUTH_SOCK", "LOCKGATE_KEY", "SSH_ASKPASS", "DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "home"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    ssh.make_key(tmp_path / "lead key", "lead")
    return tmp_path / "lead key"


@pytest.fixture
def other_key(tmp_path: Path) -> Path:
    ssh.make_key(tmp_path / "other", "other")
    return tmp_path / "other"


@pytest.fixture
def locked_key(tmp_path: Path) -> Path:
    path = tmp_path / "locked"
    keygen("-t", "ed25519", "-N", "open sesame", "-f", str(path))
    return path


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A real agent of this test's own, ended by its own process id."""
    socket = tmp_path / "agent"
    started = subprocess.run(
        ["ssh-agent", "-s", "-a", str(socket)], capture_output=True, text=True, check=True
    )
    pid = int(started.stdout.split("SSH_AGENT_PID=")[1].split(";")[0])
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    os.kill(pid, 15)


def keygen(*words: str) -> str:
    return subprocess.run(
        ["ssh-keygen", "-q", *words],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    ).stdout


def add_to_agent(path: Path, passphrase: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
    answer.chmod(0o700)
    subprocess.run(
        ["ssh-add", "-q", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"},
    )


def public(path: Path) -> str:
    return path.with_name(f"{path.name}.pub").read_text()


def allowed(name: str, path: Path, options: str = "") -> bytes:
    line = signer_line(name, public(path))
    return line.replace('"lockgate"', f'"lockgate"{options}').encode()


def refusal(caught: pytest.ExceptionInfo[LockgateError]) -> str:
    return str(caught.value)


def test_a_signature_verifies_under_the_name_of_its_key(key: Path) -> None:
    """Signing and verifying agree on the key, and with `ssh-keygen -l`."""
    signature = ssh.sign(MESSAGE, key=key)
    found = ssh.verify(MESSAGE, signature.armored, allowed("ml-lead", key), "ml-lead", at=NOW)
    assert found == signature.fingerprint == keygen("-l", "-f", str(key)).split()[1]


@pytest.mark.parametrize("words", [("rsa", "-b", "2048"), ("ecdsa", "-b", "384")])
def test_other_kinds_of_key_sign_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    """RSA and ECDSA keys that people already have are as good."""
    path = tmp_path / "old"
    keygen("-t", *words, "-N", "", "-f", str(path))
    signature = ssh.sign(MESSAGE, key=path)
    assert ssh.fingerprint(public(path)) == signature.fingerprint
    assert ssh.verify(MESSAGE, signature.armored, allowed("ml-lead", path), "ml-lead", at=NOW) == (
        signature.fingerprint
    )


def test_a_signature_made_with_plain_ssh_keygen_counts(key: Path, tmp_path: Path) -> None:
    """A reviewer on another machine needs nothing but OpenSSH; mail may wrap the lines anew."""
    text = tmp_path / "text"
    text.write_bytes(MESSAGE)
    keygen("-Y", "sign", "-n", "lockgate", "-f", str(key), str(text))
    armored = (tmp_path / "text.sig").read_text()
    mailed = "\r\n  " + armored.replace("\n", "\r\n") + "\r\n"
    assert ssh.verify(MESSAGE, mailed, allowed("ml-lead", key), "ml-lead", at=NOW)


def test_nothing_stays_behind(key: Path, tmp_path: Path) -> None:
    """Messages and signatures are gone from the temporary folder, also after a refusal."""
    signature = ssh.sign(MESSAGE, key=key)
    ssh.principals(MESSAGE, signature.armored, allowed("ml-lead", key), at=NOW)
    with pytest.raises(Refused):
        ssh.verify(b"other", signature.armored, allowed("ml-lead", key), "ml-lead", at=NOW)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_another_text_is_refused(key: Path) -> None:
    """One byte more, and the signature says nothing."""
    signature = ssh.sign(MESSAGE, key=key)
    with pytest.raises(Refused) as caught:
        ssh.verify(MESSAGE + b" ", signature.armored, allowed("ml-lead", key), "ml-lead", at=NOW)
    assert refusal(caught) == (
        "the signature does not verify as `ml-lead` at 2026-08-21 03:10 UTC: "
        "the text that was signed is another one\n"
        "hint: sign exactly the text you were shown: ssh-keygen -Y sign -n lockgate -f KEY FILE"
    )


def test_a_signature_for_another_use_is_refused(key: Path, tmp_path: Path) -> None:
    """What was signed for git or mail is no approval."""
    text = tmp_path / "text"
    text.write_bytes(MESSAGE)
    keygen("-Y", "sign", "-n", "git", "-f", str(key), str(text))
    armored = (tmp_path / "text.sig").read_text()
    with pytest.raises(Refused, match="it was made for another use than `-n lockgate`"):
        ssh.verify(MESSAGE, armored, allowed("ml-lead", key), "ml-lead", at=NOW)
    assert ssh.principals(MESSAGE, armored, allowed("ml-lead", key), at=NOW) == []


def test_a_key_listed_for_another_use_is_refused(key: Path) -> None:
    """A key that may sign for git only does not sign here."""
    signers = allowed("ml-lead", key).replace(b'"lockgate"', b'"git"')
    with pytest.raises(Refused, match="the key is not listed for this use"):
        ssh.verify(MESSAGE, ssh.sign(MESSAGE, key=key).armored, signers, "ml-lead", at=NOW)


def test_another_name_is_refused(key: Path, other_key: Path) -> None:
    """Nobody signs under the name of another reviewer, listed or not."""
    signature = ssh.sign(MESSAGE, key=key)
    signers = allowed("ml-lead", key) + allowed("support-lead", other_key)
    for name in ("support-lead", "stranger"):
        with pytest.raises(Refused, match="does not list its key under that name"):
            ssh.verify(MESSAGE, signature.armored, signers, name, at=NOW)


def test_a_name_that_could_be_a_pattern_is_never_asked_for(key: Path) -> None:
    """`*` is nobody."""
    with pytest.raises(UsageMistake, match=r"`\*` cannot be a signer: it needs 1 to 64"):
        ssh.verify(
            MESSAGE, ssh.sign(MESSAGE, key=key).armored, allowed("ml-lead", key), "*", at=NOW
        )


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_key_counts_while_it_was_valid(
    key: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validity is judged at the given time in UTC, wherever and whenever it is checked."""
    monkeypatch.setenv("TZ", zone)
    signers = allowed("ml-lead", key, ',valid-after="20260801",valid-before="20260821031000"')
    parse_signers(signers)
    armored = ssh.sign(MESSAGE, key=key).armored

    def verified(*at: int) -> str:
        return ssh.verify(
            MESSAGE, armored, signers, "ml-lead", at=datetime(*at, tzinfo=UTC)  # type: ignore[misc]
        )  # fmt: skip

    assert verified(2026, 8, 21, 3, 9, 59)
    assert verified(2026, 8, 1)
    with pytest.raises(Refused, match="at 2026-08-21 03:11 UTC: the key had expired"):
        verified(2026, 8, 21, 3, 11)
    with pytest.raises(Refused, match="at 2026-07-31 23:59 UTC: the key was not valid yet"):
        verified(2026, 7, 31, 23, 59)


def test_who_signed_is_found_in_the_signers_file(key: Path, other_key: Path) -> None:
    """The name comes from the key; an unknown key, an expired one or another text gives none."""
    signature = ssh.sign(MESSAGE, key=key)
    signers = allowed("support-lead", other_key) + allowed("ml-lead", key)
    assert ssh.principals(MESSAGE, signature.armored, signers, at=NOW) == ["ml-lead"]
    assert ssh.principals(b"other", signature.armored, signers, at=NOW) == []
    assert ssh.principals(MESSAGE, signature.armored, b"", at=NOW) == []
    expired = allowed("ml-lead", key, ',valid-before="20260101"')
    assert ssh.principals(MESSAGE, signature.armored, expired, at=NOW) == []


def test_a_pattern_in_a_signers_file_names_nobody(key: Path) -> None:
    """Even a file that was never checked cannot make a pattern into a reviewer."""
    signers = allowed("ml-lead", key).replace(b"ml-lead", b"*")
    assert ssh.principals(MESSAGE, ssh.sign(MESSAGE, key=key).armored, signers, at=NOW) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it does not go from `-----BEGIN SSH SIGNATURE-----` to"),
        ("-----BEGIN SSH SIGNATURE-----\nAAAA\n", "it does not go from"),
        ("-----BEGIN SSH SIGNATURE-----\nAA*A\n-----END SSH SIGNATURE-----", "is not a signature"),
        ("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----", "is not a signature"),
        ("-----BEGIN SSH SIGNATURE-----\nÄÄÄÄ\n-----END SSH SIGNATURE-----", "it does not go"),
        ("A" * 65_537, "has 65537 characters; at most 65536 count"),
    ],
)
def test_what_is_no_signature_is_refused_before_it_is_used(
    text: str, why: str, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that is cut, damaged or endless never reaches `ssh-keygen`."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageMistake) as caught:
        ssh.verify(MESSAGE, text, allowed("ml-lead", key), "ml-lead", at=NOW)
    assert why in caught.value.what
    assert caught.value.hint == (
        "hand in the whole .sig file that `ssh-keygen -Y sign -n lockgate -f KEY FILE` writes"
    )


def test_a_damaged_signature_is_refused(key: Path) -> None:
    """A changed bit inside a well-formed signature does not verify."""
    armored = ssh.sign(MESSAGE, key=key).armored
    lines = armored.splitlines()
    blob = bytearray(base64.b64decode("".join(lines[1:-1])))
    blob[-1] ^= 1
    broken = "\n".join((lines[0], base64.b64encode(blob).decode(), lines[-1]))
    with pytest.raises(Refused, match="does not verify as `ml-lead`"):
        ssh.verify(MESSAGE, broken, allowed("ml-lead", key), "ml-lead", at=NOW)


def test_a_locked_key_fails_at_once(locked_key: Path) -> None:
    """Without an agent a passphrase is never asked for; the hint unlocks the key."""
    started = time.monotonic()
    with pytest.raises(Refused) as caught:
        ssh.sign(MESSAGE, key=locked_key)
    assert time.monotonic() - started < ssh.TIME_LIMIT_S / 2
    assert refusal(caught) == (
        f"key `{locked_key}` is locked with a passphrase, and no agent holds it\n"
        f'hint: eval "$(ssh-agent -s)" && ssh-add {locked_key}'
    )


def test_a_locked_key_asks_nothing_on_a_terminal(locked_key: Path) -> None:
    """Also with a terminal and an askpass program at hand nobody is asked."""
    master, slave = os.openpty()
    script = (
        "import fcntl, sys, termios\n"
        "from pathlib import Path\n"
        "from lockgate.errors import Refused\n"
        "from lockgate.signing import ssh\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "try:\n"
        "    ssh.sign(b'text', key=Path(sys.argv[1]))\n"
        "except Refused as refused:\n"
        "    print(refused.what.split(' is ')[1])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(locked_key)],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "DISPLAY": ":0", "SSH_ASKPASS": "/bin/true"},
        timeout=ssh.TIME_LIMIT_S,
    )
    os.close(slave)
    os.set_blocking(master, False)
    try:
        asked = os.read(master, 4096)
    except (BlockingIOError, OSError):
        asked = b""
    os.close(master)
    assert (ended.stdout, asked) == (b"locked with a passphrase, and no agent holds it\n", b"")


def test_the_message_is_never_taken_for_a_passphrase(locked_key: Path) -> None:
    """A text that begins with the passphrase does not unlock the key."""
    with pytest.raises(Refused, match="is locked with a passphrase"):
        ssh.sign(b"open sesame\n", key=locked_key)


@pytest.mark.usefixtures("agent")
def test_an_agent_signs_for_a_locked_key(locked_key: Path, tmp_path: Path) -> None:
    """The private file, its public half alone, or no file at all: the agent has the key."""
    add_to_agent(locked_key, "open sesame", tmp_path)
    expected = ssh.fingerprint(public(locked_key))
    assert ssh.sign(MESSAGE, key=locked_key).fingerprint == expected
    elsewhere = tmp_path / "elsewhere.pub"
    elsewhere.write_text(public(locked_key))
    assert ssh.sign(MESSAGE, key=elsewhere).fingerprint == expected
    assert ssh.sign(MESSAGE).fingerprint == expected
    assert ssh.fingerprint(ssh.public_key()) == expected


@pytest.mark.usefixtures("agent")
def test_an_agent_without_the_key_says_how_to_add_it(locked_key: Path) -> None:
    """With an agent running the hint is one command."""
    with pytest.raises(Refused) as caught:
        ssh.sign(MESSAGE, key=locked_key)
    assert caught.value.hint == f"ssh-add {locked_key}"


def test_an_agent_that_is_gone_is_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stale agent socket counts as no agent."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(Refused, match="and no agent holds one"):
        ssh.sign(MESSAGE)


def test_the_usual_key_is_found(home: Path, key: Path, other_key: Path) -> None:
    """The first usual file in `~/.ssh` is taken."""
    (home / ".ssh").mkdir()
    other_key.rename(home / ".ssh" / "id_rsa")
    key.rename(home / ".ssh" / "id_ed25519")
    assert ssh.sign(MESSAGE).fingerprint == ssh.fingerprint(public(key))


def test_the_variable_names_the_key(home: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`LOCKGATE_KEY` goes before the usual files, and `~` is home."""
    key.rename(home / "work key")
    monkeypatch.setenv("LOCKGATE_KEY", "~/work key")
    assert ssh.sign(MESSAGE).fingerprint == ssh.fingerprint(public(key))
    monkeypatch.setenv("LOCKGATE_KEY", "~/nothing")
    with pytest.raises(UsageMistake) as caught:
        ssh.sign(MESSAGE)
    assert refusal(caught) == (
        f"key `{home}/nothing` from LOCKGATE_KEY is not there, or is not a file\n"
        "hint: set LOCKGATE_KEY to a key file, or make a key: "
        "ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519"
    )


def test_without_any_key_everything_that_was_tried_is_named() -> None:
    """The message lists every place, the hint makes a key."""
    with pytest.raises(Refused) as caught:
        ssh.sign(MESSAGE)
    assert refusal(caught) == (
        "there is no key to sign with: LOCKGATE_KEY is not set, `~/.ssh` has none of id_ed25519, "
        "id_ecdsa, id_rsa, and no agent holds one\n"
        "hint: set LOCKGATE_KEY to a key file, or make a key: "
        "ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519"
    )


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    """A wrong file is a slip in the words, not a refusal."""
    path = tmp_path / "notes"
    path.write_text("hello\n")
    path.chmod(0o600)
    for use in (lambda: ssh.sign(MESSAGE, key=path), lambda: ssh.public_key(path)):
        with pytest.raises(UsageMistake, match=f"key `{path}` is not a private key: "):
            use()


def test_a_public_key_alone_cannot_sign(key: Path, tmp_path: Path) -> None:
    """The hint adds the private key that belongs beside it."""
    alone = tmp_path / "alone.pub"
    alone.write_text(public(key))
    with pytest.raises(Refused) as caught:
        ssh.sign(MESSAGE, key=alone)
    assert refusal(caught) == (
        f"key `{alone}` is a public key, and neither an agent nor a file beside it has the "
        f"private one\nhint: ssh-add {tmp_path / 'alone'}"
    )


def test_a_key_that_others_can_read_says_how_to_close_it(key: Path) -> None:
    """The hint is the command, with the path quoted."""
    key.chmod(0o644)
    with pytest.raises(Refused) as caught:
        ssh.sign(MESSAGE, key=key)
    assert refusal(caught) == (f"key `{key}` can be read by other users\nhint: chmod 600 '{key}'")
    subprocess.run(["sh", "-c", caught.value.hint], check=True)
    assert ssh.sign(MESSAGE, key=key)


def test_without_openssh_the_message_says_what_to_install(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing, verifying and making keys refuse with the same words."""
    signature = ssh.sign(MESSAGE, key=key)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ssh.find_ssh_keygen() is None
    for use in (
        lambda: ssh.sign(MESSAGE, key=key),
        lambda: ssh.verify(MESSAGE, signature.armored, b"", "ml-lead", at=NOW),
        lambda: ssh.make_key(tmp_path / "new", "new"),
    ):
        with pytest.raises(Refused) as caught:
            use()
        assert refusal(caught) == (
            "`ssh-keygen` is not on the PATH, and nothing else signs or verifies here\n"
            "hint: install OpenSSH 8.9 or newer: apt install openssh-client, or brew install openssh"
        )


def test_a_tool_that_hangs_is_ended(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time limit the tool and what it started are gone, and the message says so."""
    tools, pids = tmp_path / "tools", tmp_path / "pids"
    tools.mkdir()
    hang = tools / "ssh-keygen"
    hang.write_text(f"#!/bin/sh\n/bin/sleep 600 &\necho $$ $! > '{pids}'\nwait\n")
    hang.chmod(0o700)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(ssh, "TIME_LIMIT_S", 1.0)
    with pytest.raises(Refused) as caught:
        ssh.sign(MESSAGE, key=key)
    assert caught.value.what == "`ssh-keygen` did not answer within 1 s"
    for pid in pids.read_text().split():
        assert not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    """Tell whether a process still runs; one that waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_full_or_missing_temporary_folder_is_the_disks_trouble(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither the signer's mistake nor a refusal."""
    monkeypatch.setattr(ssh.tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(RegistryTrouble) as caught:
        ssh.sign(MESSAGE, key=key)
    assert refusal(caught) == (
        "cannot write to a temporary folder: No such file or directory\n"
        "hint: free some space there, or set TMPDIR to a folder that can be written"
    )


def test_a_new_key_is_private_and_has_no_passphrase(tmp_path: Path) -> None:
    """The public line is returned; the private file is its owner's alone."""
    line = ssh.make_key(tmp_path / "new", "ml-lead practice")
    assert line.startswith("ssh-ed25519 ")
    assert line.endswith(" ml-lead practice")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert ssh.public_key(tmp_path / "new") == line


def test_a_key_is_never_overwritten(key: Path) -> None:
    """What is there stays; nobody loses a key to a demo."""
    before = key.read_bytes()
    with pytest.raises(Refused, match="is there already; no key was made"):
        ssh.make_key(key, "again")
    assert key.read_bytes() == before


def test_a_key_needs_a_folder(tmp_path: Path) -> None:
    """A missing folder is named; it is not made in passing."""
    with pytest.raises(RegistryTrouble) as caught:
        ssh.make_key(tmp_path / "no" / "key", "lost")
    assert (
        caught.value.hint == f"check that the folder `{tmp_path / 'no'}` exists and can be written"
    )


def test_a_public_key_is_read_without_its_pub_file(key: Path) -> None:
    """The public half comes out of the private file when it stands alone."""
    line = public(key).strip()
    key.with_name(f"{key.name}.pub").unlink()
    assert ssh.public_key(key).split()[:2] == line.split()[:2]
