"""`lockgate approve` and `reject`: signed with a key, here or on another machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cli.desks import Desk, Said, normal

TO = ("--to", "production", "-s", "desk")


def sign(desk: Desk, text: Path, reviewer: str) -> None:
    """Sign a text as a reviewer does on a machine without Lockgate."""
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "lockgate", "-f", desk.key(reviewer), str(text)],
        check=True,
        capture_output=True,
    )


def asked(desk: Desk, path: Path, *words: str) -> Path:
    """Write what `--ask` prints into a file."""
    path.write_text(desk.done(*words, "--ask").out, encoding="utf-8")
    return path


def test_what_waits_for_a_reviewer(busy: Desk) -> None:
    """A bare approve lists each request, what it lacks, and the exact command."""
    said = busy.done("approve")
    assert (
        said.out
        == """\
· desk v2 to production: gate pass
    0 of 1 approvals, from ml-lead or support-lead
    lockgate approve v2 --to production -s desk
"""
    )
    (request,) = busy.done("approve", "--json").json
    assert (request["given"], request["needed"]) == (0, 1)
    assert request["reviewers"] == ["ml-lead", "support-lead"]


def test_nothing_waits(new: Desk) -> None:
    """Where nobody is asked, it says so; as JSON it is an empty list."""
    assert new.done("approve") == Said(0, "nothing waits for a reviewer\n", "")
    assert new.done("approve", "--json").json == []


@pytest.mark.parametrize("reviewer", ["ml-lead", "support-lead"])
def test_approve_with_a_key(busy: Desk, reviewer: str) -> None:
    """The key says who signs; the next step is named, and it works."""
    said = busy.done(
        "approve", "v2", *TO, "--key", busy.key(reviewer), "-m", "reads well", actor=reviewer
    )
    assert normal(said.out) == f"✔ {reviewer} says yes to v2 to production  (key SHA256:KEY)\n"
    assert said.err == "next: `lockgate promote v2 --to production -s desk`\n"
    promoted = busy.follow(said)
    assert promoted.out == "✔ v2 is live in production  generation 2, before it v1\n"


def test_approve_as_json(busy: Desk) -> None:
    """The approval as it was recorded, signature included."""
    body = busy.done("approve", "v2", *TO, "-m", "ok", "--json", **busy.signing("ml-lead")).json
    assert (body["signer"], body["word"], body["note"]) == ("ml-lead", "yes", "ok")
    assert body["signature"].startswith("-----BEGIN SSH SIGNATURE-----")


def test_a_reviewer_on_another_machine(busy: Desk, tmp_path: Path) -> None:
    """--ask prints the text, plain ssh-keygen signs it, --take brings the signature back."""
    said = busy.done("approve", "v2", *TO, "--ask")
    assert "version: v2\n" in said.out and said.out.endswith("word: yes\n")
    assert said.err == (
        "next: save this text as FILE, sign it with `ssh-keygen -Y sign -n lockgate -f KEY FILE`, "
        "and bring FILE.sig back: `lockgate approve v2 --to production -s desk --take FILE`\n"
    )
    request = asked(busy, tmp_path / "request.txt", "approve", "v2", *TO)
    sign(busy, request, "support-lead")
    taken = busy.done("approve", "v2", *TO, "--take", str(request))
    assert taken.out.startswith("✔ support-lead says yes to v2 to production  (key SHA256:")


def test_asking_records_nothing(busy: Desk) -> None:
    """The text can be printed as often as one likes."""
    before = busy.state()
    assert busy.done("approve", "v2", *TO, "--ask") == busy.done("approve", "v2", *TO, "--ask")
    assert busy.state() == before


def test_reject(busy: Desk) -> None:
    """A no stops the promotion with its reason until somebody asks anew."""
    said = busy.done("reject", "v2", *TO, "-m", "too cheerful", **busy.signing("ml-lead"))
    assert normal(said.out) == "✖ ml-lead says no to v2 to production  (key SHA256:KEY)\n"
    stopped = busy("promote", "v2", *TO)
    assert stopped == Said(
        1,
        "",
        "error: v2 cannot be promoted to production now\n"
        "  - approval: ml-lead said no: too cheerful\n"
        "hint: change the version, or talk and ask anew: "
        "`lockgate gate v2 --to production --again -s desk`\n",
    )
    assert busy.done("approve").out == "nothing waits for a reviewer\n"
    anew = busy.follow(stopped)
    assert anew.code == 7
    assert "v2 to production" in busy.done("approve").out


@pytest.mark.parametrize(
    ("words", "code", "what", "hint"),
    [
        (
            ["approve", "v2", "-s", "desk"],
            2,
            "say for which environment",
            "`lockgate approve v2 --to ENV -s desk`; `lockgate approve` lists what waits",
        ),
        (
            ["approve", "v2", "--to", "staging", "-s", "desk"],
            1,
            "staging asks no reviewer: v2 needs no approval there",
            "`lockgate promote v2 --to staging -s desk`",
        ),
        (
            ["approve", "x1", *TO],
            1,
            "the gate has not decided about x1 and production yet",
            "`lockgate gate x1 --to production -s desk`",
        ),
        (
            ["approve", "--proposal", "abc"],
            2,
            "there is no proposal `abc`",
            "`lockgate approve` lists them",
        ),
        (
            ["approve", "v2", *TO, "--take", "nowhere"],
            2,
            "cannot read `nowhere.sig`: No such file or directory",
            "--take FILE reads FILE.sig, which ssh-keygen wrote beside FILE",
        ),
    ],
)
def test_what_cannot_be_approved(
    busy: Desk, words: list[str], code: int, what: str, hint: str
) -> None:
    """Each refusal says what is off and the command that helps; nothing is recorded."""
    before = busy.state()
    assert busy(*words) == Said(code, "", f"error: {what}\nhint: {hint}\n")
    assert busy.state() == before


def test_a_key_nobody_knows(busy: Desk, tmp_path: Path) -> None:
    """A signature by a stranger's key is refused."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "stranger")],
        check=True,
    )
    said = busy("approve", "v2", *TO, "--key", str(tmp_path / "stranger"))
    assert said.code == 1
    assert said.err.startswith("error: the signature fits no reviewer's key and this text\n")


def test_nobody_signs_what_is_theirs_with_another_s_key(busy: Desk) -> None:
    """Who registered the version cannot use a reviewer's key file on this machine."""
    before = busy.state()
    said = busy("approve", "v2", *TO, "--key", busy.key("ml-lead"))
    assert said.code == 1
    assert "v2: nobody signs here in another one's name\n" in said.err
    assert busy.state() == before


def test_a_key_under_another_name(busy: Desk) -> None:
    """--as does not make somebody else of a key."""
    said = busy("approve", "v2", *TO, "--as", "support-lead", **busy.signing("ml-lead"))
    assert said == Said(
        1,
        "",
        "error: the key belongs to ml-lead, not to `support-lead`\n"
        "hint: leave --as out, or sign with the other key: --key FILE\n",
    )


def test_no_key_at_all(busy: Desk, tmp_path: Path) -> None:
    """Without a key nobody is asked on a terminal; the hint says how to name or make one."""
    said = busy(
        "approve", "v2", *TO, actor="ml-lead", env={"HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    )
    assert said.code == 1
    assert said.err.startswith("error: there is no key to sign with: LOCKGATE_KEY is not set")
    assert "ssh-keygen -t ed25519" in said.err


def test_one_word_each(busy: Desk) -> None:
    """A reviewer who has answered is told that, and how to be asked anew."""
    busy.done("approve", "v2", *TO, **busy.signing("ml-lead"))
    said = busy("approve", "v2", *TO, **busy.signing("ml-lead"))
    assert said.code == 1
    assert said.err.startswith("error: `ml-lead`, or the same key, has answered this already\n")


def test_a_signature_for_another_word_is_refused(busy: Desk, tmp_path: Path) -> None:
    """A no that was signed cannot be taken as a yes."""
    request = asked(busy, tmp_path / "no.txt", "reject", "v2", *TO)
    sign(busy, request, "ml-lead")
    before = busy.state()
    said = busy("approve", "v2", *TO, "--take", str(request))
    assert said == Said(
        1,
        "",
        f"error: `{request}` is not the text of this request\n"
        "hint: print it again with --ask: a text for another decision cannot be used\n",
    )
    request.unlink()
    bare = busy("approve", "v2", *TO, "--take", str(request))
    assert bare.code == 1
    assert bare.err.startswith("error: the signature fits no reviewer's key and this text\n")
    assert busy.state() == before
    assert busy("reject", "v2", *TO, "--take", str(request)).code == 0


def test_a_signature_for_another_decision_is_refused(busy: Desk, tmp_path: Path) -> None:
    """A yes to an earlier decision does not fit the next one about the same version."""
    request = asked(busy, tmp_path / "request.txt", "approve", "v2", *TO)
    sign(busy, request, "ml-lead")
    assert busy("gate", "v2", *TO, "--again").code == 7
    before = busy.state()
    said = busy("approve", "v2", *TO, "--take", str(request))
    assert said.code == 1
    assert "is not the text of this request" in said.err
    assert busy.state() == before


@pytest.mark.parametrize("data", [b"not a signature", b"\xff\xfe\x00", b"", b"A" * 100_000])
def test_what_is_no_signature(busy: Desk, tmp_path: Path, data: bytes) -> None:
    """A file that is no signature is refused without a traceback."""
    (tmp_path / "request.txt.sig").write_bytes(data)
    before = busy.state()
    said = busy("approve", "v2", *TO, "--take", str(tmp_path / "request.txt"))
    assert said.code in (1, 2)
    assert said.err.startswith("error: ") and "\nhint: " in said.err
    assert busy.state() == before
