"""A bundle of evidence is checked by public tools alone, and one changed byte anywhere is found."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate import wiring
from lockgate.canonical import digest_bytes
from stories.first_scenes import Sample, play_first_scenes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="everything is signed with it"),
]

NAME = "evidence-support-desk-v2"
COMMAND = "lockgate evidence v2 -s support-desk"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Two versions of one system that went live, signed by reviewers and published."""
    return play_first_scenes(tmp_path_factory.mktemp("evidence"), 2, last=False)


@pytest.fixture(scope="module")
def bundle(sample: Sample) -> Path:
    """The evidence for what is live, unpacked."""
    sample.run(f"{COMMAND} -o v2.tar && mkdir out && tar -xf v2.tar -C out")
    return sample.root / "out" / NAME


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the unpacked evidence, to change something in."""
    return Path(shutil.copytree(bundle, tmp_path / NAME))


def verify(folder: Path, *arguments: str | Path) -> tuple[int, str]:
    """Run verify.sh as a stranger does, with nothing of ours on the path."""
    done = subprocess.run(
        ["/bin/sh", str(folder / "verify.sh"), *map(str, arguments)],
        cwd=folder.parent,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def claims(folder: Path) -> dict[str, Any]:
    """Return what the statement of a bundle claims."""
    told: dict[str, Any] = json.loads((folder / "statement.json").read_bytes())
    return dict(told["predicate"])


def test_it_holds(sample: Sample, bundle: Path) -> None:
    """The script says so, and names the key; with the key one trusts, too."""
    code, told = verify(bundle)
    assert (code, "WRONG" in told) == (0, False), told
    assert "note   compare that key with the host's own" in told
    code, told = verify(bundle, sample.root / ".lockgate" / "host_key.pub")
    assert (code, "note" in told) == (0, False), told


def test_it_says_what_an_auditor_asks(sample: Sample, bundle: Path) -> None:
    """The statement is an in-toto one about the definition's files, and names who said yes."""
    told = json.loads((bundle / "statement.json").read_bytes())
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "urn:lockgate:evidence:1"
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in told["subject"]}
    assert subjects["definition.json"] == digest_bytes((bundle / "definition.json").read_bytes())
    prompt = (sample.root / "systems/support-desk/prompts/reply.md").read_bytes()
    assert subjects["prompts/reply.md"] == digest_bytes(prompt)
    claimed = told["predicate"]
    assert claimed["version"] == digest_bytes((bundle / "version.json").read_bytes())
    assert (claimed["label"], claimed["decided"], claimed["missing"]) == ("v2", True, [])
    assert claimed["live"] == ["production", "staging"]
    (production,) = [d for d in claimed["decisions"] if d["environment"] == "production"]
    (said,) = production["approvals"]
    assert (said["signer"], said["word"], said["key"][:7]) == ("support-lead", "yes", "SHA256:")
    deployments = json.loads((bundle / "deployments.json").read_bytes())
    assert [
        (one["attempt"]["environment"], one["outcome"], one["is_ungated"]) for one in deployments
    ] == [
        ("production", "live", False),
        ("staging", "live", False),
    ]
    assert deployments[0]["attempt"]["decision"] == production["id"]
    receipts = {path.name for path in (bundle / "receipts").glob("*.json")}
    assert {"production.json", "staging.json"} <= receipts
    runs = [json.loads(path.read_bytes()) for path in (bundle / "runs").glob("*.json")]
    assert {run["suite_name"] for run in runs} == {"triage", "retrieval"}
    assert len({run["run"]["version"] for run in runs}) == 2  # and what it was compared with


def test_a_changed_byte_is_found_and_named_wherever_it_is(bundle: Path, copy: Path) -> None:
    """One bit in any file makes the check fail, and the file is named."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    assert len(files) > 20
    for path in files:
        name = path.relative_to(bundle)
        data = bytearray(path.read_bytes())
        # Of the script itself a letter in a comment: a broken script cannot say anything.
        place = data.index(b"offline") if path.name == "verify.sh" else len(data) // 2
        data[place] ^= 1
        (copy / name).write_bytes(data)
        code, told = verify(copy)
        assert code == 1, f"{name}: {told}"
        assert str(name) in told, f"{name}: {told}"
        (copy / name).write_bytes(path.read_bytes())
    assert verify(copy)[0] == 0


def test_a_missing_or_added_file_is_named(copy: Path) -> None:
    """A bundle is neither smaller nor larger than what was signed."""
    (copy / "record.json").unlink()
    (copy / "policy" / "note.txt").write_text("trust me\n")
    code, told = verify(copy)
    assert code == 1
    assert "WRONG  ./record.json: FAILED open or read" in told
    assert "WRONG  ./policy/note.txt: not in SHA256SUMS" in told


def test_sums_made_again_do_not_help(copy: Path) -> None:
    """Who changes a file and its sum is found by the signed statement."""
    record = copy / "record.json"
    record.write_text(record.read_text().replace("support-ml", "somebody"))
    lines = (copy / "SHA256SUMS").read_text().splitlines()
    lines = [
        f"{digest_bytes(record.read_bytes())}  ./record.json" if "./record.json" in line else line
        for line in lines
    ]
    (copy / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    code, told = verify(copy)
    assert (code, "WRONG  SHA256SUMS: not the one that statement.json names" in told) == (1, True)


def test_another_key_is_not_the_one_one_trusts(copy: Path, tmp_path: Path) -> None:
    """Who names the host's key is told when the bundle was signed by another one."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True
    )
    code, told = verify(copy, tmp_path / "other.pub")
    assert (code, "WRONG  host_signers: not the host key you trust" in told) == (1, True)
    code, told = verify(copy, tmp_path / NAME / "README.txt")
    assert (code, "no public key" in told) == (1, True)


def signed_anew(folder: Path, key: Path) -> None:
    """Make a changed bundle hang together again, as somebody with a key of their own would."""
    shutil.rmtree(folder / "receipts", ignore_errors=True)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    (folder / "host_signers").write_text(f'lockgate-host namespaces="lockgate" {public}\n')
    apart = {"SHA256SUMS", "statement.json", "statement.json.sig"}
    paths = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    sums = "".join(
        f"{digest_bytes((folder / path).read_bytes())}  ./{path}\n"
        for path in paths
        if path not in apart
    )
    (folder / "SHA256SUMS").write_text(sums)
    statement = json.loads((folder / "statement.json").read_bytes())
    statement["predicate"]["sums"] = digest_bytes(sums.encode())
    (folder / "statement.json").write_text(json.dumps(statement, separators=(",", ":")))
    (folder / "statement.json.sig").unlink()
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "lockgate", "-f", str(key)]
    subprocess.run([*sign, str(folder / "statement.json")], check=True, capture_output=True)


def changed_answers(folder: Path) -> str:
    path = next((folder / "runs").glob("*.answers.jsonl"))
    path.write_text(path.read_text().replace('"accuracy":0', '"accuracy":1').replace("0.", "1."))
    return f"WRONG  runs/{path.name}: not the answers its run ended with"


def changed_definition(folder: Path) -> str:
    path = folder / "definition.json"
    path.write_text(path.read_text().replace("char-ngram-bayes", "something-else"))
    return "is not the definition digest in version.json"


def changed_parent(folder: Path) -> str:
    path = folder / "version.json"
    path.write_text(path.read_text().replace('"track":"release"', '"track":"experiment"'))
    return "is not the version id in statement.json"


def changed_findings(folder: Path) -> str:
    path = next((folder / "decisions").glob("*/approvals.txt")).with_name("findings.json")
    path.write_text(path.read_text().replace(".7", ".9"))
    return "about something else"


def changed_word(folder: Path) -> str:
    path = next((folder / "decisions").glob("*/*.yes.txt"))
    path.write_text(path.read_text().replace("generation: ", "generation: 4"))
    return "not signed by support-lead"


@pytest.mark.parametrize(
    "change", [changed_answers, changed_definition, changed_parent, changed_findings, changed_word]
)
def test_what_was_signed_elsewhere_holds_even_against_the_host(
    copy: Path, tmp_path: Path, change: Callable[[Path], str]
) -> None:
    """Sums and statement made again, with another key: digests and reviewers still find it."""
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signed_anew(copy, key)
    assert verify(copy)[0] == 0, "so far only the key differs"
    wrong = change(copy)
    signed_anew(copy, key)
    code, told = verify(copy)
    assert (code, wrong in told) == (1, True), told


def test_a_stripped_signature_never_passes(copy: Path) -> None:
    """Without its signature a bundle is at most whole, and a trusted key is not satisfied."""
    trusted = copy.parent / "trusted.pub"
    trusted.write_text(" ".join((copy / "host_signers").read_text().split()[2:]) + "\n")
    (copy / "statement.json.sig").unlink()
    assert verify(copy)[0] == 1
    assert verify(copy, trusted)[0] == 1


def test_the_same_records_give_the_same_bytes(sample: Sample) -> None:
    """Nothing in a bundle tells when it was written."""
    sample.run(f"{COMMAND} -o one.tar && {COMMAND} -o two.tar")
    assert (sample.root / "one.tar").read_bytes() == (sample.root / "two.tar").read_bytes()
    with tarfile.open(sample.root / "one.tar") as tar:
        members = tar.getmembers()
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
    assert len({member.mtime for member in members}) == 1


def test_files_and_outputs_come_when_asked_for(sample: Sample, tmp_path: Path) -> None:
    """With --files the version's bytes are there, with --outputs every text it answered."""
    sample.run(f"{COMMAND} --files --outputs -o full.tar && tar -xf full.tar -C {tmp_path}")
    folder = tmp_path / NAME
    assert verify(folder)[0] == 0
    prompt = sample.root / "systems/support-desk/prompts/reply.md"
    assert (folder / "files/prompts/reply.md").read_bytes() == prompt.read_bytes()
    for path in (folder / "runs").glob("*.outputs.jsonl"):
        texts = [json.loads(line) for line in path.read_text().splitlines()]
        answers = path.with_name(path.name.replace("outputs", "answers")).read_text()
        assert len(texts) == len(answers.splitlines())
        assert all(digest_bytes(t["text"].encode()) == t["sha256"] for t in texts)


@pytest.fixture
def own(sample: Sample, tmp_path: Path) -> Iterator[Sample]:
    """A copy of the registry, for a test that changes something in it."""
    root = tmp_path / "own"
    shutil.copytree(sample.root, root, ignore=shutil.ignore_patterns("out", "*.tar"))
    yield Sample(root, sample.bin)


def test_what_expired_is_named(own: Sample, tmp_path: Path) -> None:
    """A content that is gone is told on stderr and in the signed statement, with the reason."""
    prompt = own.root / "systems/support-desk/prompts/reply.md"
    prompt.write_text("a reply nobody keeps\n")
    own.run("lockgate register -s support-desk --experiment -m 'Try it'")
    registry = wiring.open_registry(own.root)
    try:
        with registry.write() as writing:
            gone = digest_bytes(prompt.read_bytes())
            writing.remove_content(gone, "expire", "14 days are over", "ml-lead")
    finally:
        registry.close()
    told = own.run(
        f"lockgate evidence x1 -s support-desk --files -o x.tar; tar -xf x.tar -C {tmp_path}"
    )
    line = f"file prompts/reply.md ({gone[:12]}): expired "
    assert f"missing: {line}" in told
    folder = tmp_path / "evidence-support-desk-x1"
    (missing,) = claims(folder)["missing"]
    assert missing.startswith(line)
    assert missing.endswith("by ml-lead: 14 days are over")
    assert not (folder / "files/prompts/reply.md").exists()
    assert verify(folder)[0] == 0


def test_what_was_redacted_is_named_and_the_rest_still_holds(own: Sample, tmp_path: Path) -> None:
    """An answer whose text is gone keeps its digest and its score; the bundle says who and why."""
    registry = wiring.open_registry(own.root)
    try:
        version = registry.versions.named("support-desk", "v2")
        (run, *_) = registry.runs.of_version(version.id)
        (answer, *_) = registry.runs.raw_answers(run.run.id)
        with registry.write() as writing:
            writing.remove_content(str(answer.output), "redact", "a real name", "ml-lead")
    finally:
        registry.close()
    told = own.run(f"{COMMAND} --outputs -o r.tar; tar -xf r.tar -C {tmp_path}")
    assert f"missing: output of case {answer.case} in run {run.run.id}: redacted" in told
    missing = claims(tmp_path / NAME)["missing"]
    assert missing
    assert all(line.endswith("by ml-lead: a real name") for line in missing)
    texts = (tmp_path / NAME / f"runs/{run.run.id}.outputs.jsonl").read_text()
    assert str(answer.output) not in texts
    assert str(answer.output) in (tmp_path / NAME / f"runs/{run.run.id}.answers.jsonl").read_text()
    assert verify(tmp_path / NAME)[0] == 0


def test_a_version_nobody_decided_about_has_evidence_that_says_so(
    own: Sample, tmp_path: Path
) -> None:
    """That no gate let it in is an answer, too: exit code 0, and said in words and under seal."""
    (own.root / "systems/support-desk/prompts/reply.md").write_text("another reply\n")
    own.run("lockgate register -s support-desk -m 'Never evaluated'")
    told = own.run(f"lockgate evidence v3 -s support-desk -o v3.tar; tar -xf v3.tar -C {tmp_path}")
    assert "note: the gate never decided about v3, and the bundle says so" in told
    folder = tmp_path / "evidence-support-desk-v3"
    assert (claims(folder)["decided"], claims(folder)["live"]) == (False, [])
    assert verify(folder)[0] == 0


def test_an_older_policy_is_checked_with_the_keys_that_were_recorded(
    own: Sample, tmp_path: Path
) -> None:
    """After the policy changed, what was signed under the old one can still be checked."""
    policy = own.root / "policy.toml"
    policy.write_text(policy.read_text().replace("min = 0.60", "min = 0.61"))
    proposed = json.loads(own.run("lockgate policy apply --json 2>/dev/null", 7))
    assert proposed["exit_code"] == 7
    waiting = json.loads(own.run("lockgate approve --json"))
    (proposal,) = {one["id"] for one in waiting}
    key = "LOCKGATE_ACTOR=ml-lead LOCKGATE_KEY=keys/ml-lead"
    own.run(f"{key} lockgate approve --proposal {proposal} && lockgate policy apply")
    own.run(f"{COMMAND} -o old.tar && tar -xf old.tar -C {tmp_path}")
    code, told = verify(tmp_path / NAME)
    assert code == 0, told
    (signers,) = (tmp_path / NAME).glob("decisions/*/signers")
    assert signers.read_text().startswith("# Another policy is applied by now.")


def test_without_a_host_key_nothing_is_written_unless_asked_for(
    own: Sample, tmp_path: Path
) -> None:
    """Nobody gets an unsigned bundle by accident; one that is asked for says so everywhere."""
    for name in ("host_key", "host_key.pub"):
        (own.root / ".lockgate" / name).unlink()
    told = own.run(f"{COMMAND} -o v2.tar", 1)
    assert "hint: bring `.lockgate/host_key` back, or write it unsigned: --unsigned" in told
    assert not (own.root / "v2.tar").exists()
    told = own.run(f"{COMMAND} -o v2.tar --unsigned && tar -xf v2.tar -C {tmp_path}")
    assert "NOT SIGNED: this host has no key, so nobody vouches for the bundle" in told
    assert "NOT SIGNED" in (tmp_path / NAME / "README.txt").read_text()
    code, told = verify(tmp_path / NAME)
    assert (code, "NOT SIGNED: whole, but nobody vouches for it" in told) == (2, True), told


def test_a_file_that_is_there_stays(sample: Sample) -> None:
    """Evidence is written over something only with --force, and never into nowhere."""
    (sample.root / "mine.tar").write_text("mine")
    told = sample.run(f"{COMMAND} -o mine.tar", 1)
    assert "hint: name a new file, or --force" in told
    assert (sample.root / "mine.tar").read_text() == "mine"
    sample.run(f"{COMMAND} -o mine.tar --force")
    assert "hint: make it: mkdir -p nowhere" in sample.run(f"{COMMAND} -o nowhere/v2.tar", 2)
    told = sample.run(f"{COMMAND} -o systems --force", 2)
    assert "error: `systems` is a folder\nhint: name a file: -o FILE.tar" in told
    told = sample.run("lockgate evidence v99 -s support-desk -o v99.tar", 2)
    assert "error: " in told
    assert "hint: " in told
    assert not (sample.root / "v99.tar").exists()


def test_a_disk_that_takes_no_more_leaves_nothing_behind(sample: Sample) -> None:
    """A bundle is there whole or not at all."""

    def tiny() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    before = sorted(path.name for path in sample.root.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "lockgate", *COMMAND.split()[1:], "-o", "small.tar"],
        cwd=sample.root,
        capture_output=True,
        text=True,
        preexec_fn=tiny,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "hint: make room, then run it again" in done.stderr
    assert sorted(path.name for path in sample.root.iterdir()) == before


def test_json_tells_what_was_written(sample: Sample) -> None:
    """`--json` is one object: where, how large, signed, decided, what is missing."""
    told = json.loads(sample.run(f"{COMMAND} -o j.tar --json 2>/dev/null"))
    assert told["size_bytes"] == (sample.root / "j.tar").stat().st_size
    assert (told["signed"], told["decided"], told["missing"]) == (True, True, [])
