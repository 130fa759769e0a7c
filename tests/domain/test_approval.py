"""A reviewer signs a text that names everything it is about, with a key that is one person's."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.domain.approval import (
    SignersMistake,
    decision_text,
    findings_digest,
    fingerprint,
    parse_approval_text,
    parse_signers,
    proposal_text,
    signer_line,
)
from lockgate.domain.release import Decision, Finding, Proposal

NOW = datetime(2026, 8, 21, 3, 10, tzinfo=UTC)
REGISTRY = "0f" * 16


def decision(**fields: object) -> Decision:
    plain = Decision(
        id="d" * 64,
        system="support-desk",
        version="9" * 64,
        environment="production",
        policy="b" * 64,
        baseline_generation=27,
        baseline_version="8" * 64,
        outcome="pass",
        promotable=True,
        approvals_needed=1,
        findings=(Finding("accuracy >= 0.80", "pass", ".931 [.90 .95]", numbers={"value": 0.931}),),
        runs=(),
        actor="ci",
        expires_at=NOW,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def proposal(**fields: object) -> Proposal:
    plain = Proposal("e" * 64, "suite", "support-desk", "triage", "1" * 64, "2" * 64, "ml-team")
    return replace(plain, **fields)  # type: ignore[arg-type]


def text_of(
    found: Decision, word: str = "yes", registry: str = REGISTRY, label: str = "v14"
) -> bytes:
    return decision_text(found, registry_id=registry, label=label, word=word)


def key_of(seed: str, kind: str = "ssh-ed25519") -> str:
    parts = (kind.encode(), seed.encode().ljust(32, b"."))
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{kind} {base64.b64encode(blob).decode()}"


ALPHA, BETA = key_of("alpha"), key_of("beta")


def test_the_text_of_a_decision_can_be_read_by_a_person() -> None:
    """One key and value a line, in the order a reviewer asks."""
    found = decision()
    assert text_of(found).decode() == (
        "lockgate decision: 1\n"
        f"registry: {REGISTRY}\n"
        "system: support-desk\n"
        "version: v14\n"
        f"version id: {'9' * 64}\n"
        "environment: production\n"
        "compared with generation: 27\n"
        f"policy: {'b' * 64}\n"
        "outcome: pass\n"
        f"findings: {findings_digest(found)}\n"
        f"decision: {'d' * 64}\n"
        "word: yes\n"
    )


def test_the_text_of_a_proposal_names_what_is_and_what_would_be() -> None:
    """A change of policy belongs to no system: its line says so."""
    change = proposal(kind="policy", system=None, name="policy", before="")
    assert proposal_text(change, registry_id=REGISTRY, word="no").decode() == (
        "lockgate proposal: 1\n"
        f"registry: {REGISTRY}\n"
        "kind: policy\n"
        "system: -\n"
        "name: policy\n"
        "before: -\n"
        f"after: {'2' * 64}\n"
        f"proposal: {'e' * 64}\n"
        "word: no\n"
    )


@pytest.mark.parametrize(
    "other",
    [
        text_of(decision(), word="no"),
        text_of(decision(), registry="1f" * 16),
        text_of(decision(), label="v15"),
        text_of(decision(id="c" * 64)),
        text_of(decision(system="order-extract")),
        text_of(decision(version="7" * 64)),
        text_of(decision(environment="staging")),
        text_of(decision(policy="a" * 64)),
        text_of(decision(baseline_generation=28)),
        text_of(decision(outcome="inconclusive")),
        text_of(decision(findings=())),
    ],
    ids=[
        "word", "registry", "label", "decision", "system", "version", "environment", "policy",
        "generation", "outcome", "findings",
    ],
)  # fmt: skip
def test_a_yes_counts_for_nothing_else(other: bytes) -> None:
    """Whatever a word is about, another thing has another text."""
    assert other != text_of(decision())


values = st.from_regex(r"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)


@given(values, values, st.sampled_from(["yes", "no"]), st.integers(0, 10**9))
def test_a_text_is_read_back_as_written(
    registry: str, label: str, word: str, generation: int
) -> None:
    """Reading gives every value; writing them again gives the same bytes."""
    found = decision(baseline_generation=generation)
    data = text_of(found, word, registry, label)
    read = parse_approval_text(data)
    assert (read["registry"], read["version"], read["word"]) == (registry, label, word)
    assert read["compared with generation"] == str(generation)
    assert "".join(f"{key}: {value}\n" for key, value in read.items()).encode() == data


def test_a_proposal_text_is_read_back_as_written() -> None:
    """The first key tells what the word is about."""
    data = proposal_text(proposal(), registry_id=REGISTRY, word="yes")
    read = parse_approval_text(data)
    assert next(iter(read)) == "lockgate proposal"
    assert (read["system"], read["name"], read["before"]) == ("support-desk", "triage", "1" * 64)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda data: data[:-1], "the approval text does not end with a newline"),
        (lambda data: data + b"note: also v15\n", "are not those of an approval text"),
        (lambda data: data + b"\n", "are not those of an approval text"),
        (lambda data: b"\n" + data, "are not those of an approval text"),
        (lambda data: data.replace(b"word: ", b"word:  "), "`word` needs printable ASCII"),
        (lambda data: data.replace(b"yes", b"maybe"), "the word is `yes` or `no`, not `maybe`"),
        (lambda data: data.replace(b"\n", b"\r\n"), "needs printable ASCII, not `1\\x0d`"),
        (lambda data: data.replace(b"v14", b"v\xc3\xa9"), "byte 96 of the approval text is not"),
        (lambda data: data.replace(b"v14", b""), "`version` needs printable ASCII, not ``"),
        (lambda data: data.replace(b"decision: 1", b"decision: 2"), "of form `2` is not known"),
        (lambda data: data.replace(b"outcome: pass\n", b""), "are not those of an approval text"),
        (lambda data: data * 20, "an approval text has at most 8192 bytes, this 9500"),
        (lambda data: b"", "the approval text does not end with a newline"),
    ],
)  # fmt: skip
def test_a_text_that_differs_in_one_byte_is_refused(spoil: object, problem: str) -> None:
    """Nothing can be added to, left out of or dressed up in what is signed."""
    with pytest.raises(ValueError) as refused:
        parse_approval_text(spoil(text_of(decision())))  # type: ignore[operator]
    assert problem in str(refused.value)


@pytest.mark.parametrize("label", ["v14\nword: yes", "", " v14", "v14\x1b[2J", "ｖ14"])
def test_a_value_that_could_forge_a_line_is_refused(label: str) -> None:
    """A value never spans lines, hides or only looks like another."""
    with pytest.raises(ValueError, match="`version` needs printable ASCII"):
        text_of(decision(), label=label)


def test_a_word_is_yes_or_no() -> None:
    """There is no other word to sign."""
    with pytest.raises(ValueError, match="the word is `yes` or `no`, not `perhaps`"):
        text_of(decision(), word="perhaps")


def test_allowed_signers_are_read_with_name_key_and_line() -> None:
    """Comments and empty lines are skipped; validity and comments behind the key are allowed."""
    data = (
        "# reviewers\n\n"
        f'ml-lead namespaces="lockgate" {ALPHA} laptop of the lead\n'
        f'\tsupport-lead\tnamespaces="lockgate",valid-before="20270101" {BETA}\n'
    ).encode()
    signers = parse_signers(data)
    assert [(signer.name, signer.line, signer.key) for signer in signers] == [
        ("ml-lead", 3, ALPHA),
        ("support-lead", 4, BETA),
    ]
    assert signers[0].fingerprint == fingerprint(ALPHA)


def test_one_person_may_have_two_keys() -> None:
    """A second machine is a second line with the same name."""
    data = (signer_line("ml-lead", ALPHA) + signer_line("ml-lead", BETA)).encode()
    assert [signer.name for signer in parse_signers(data)] == ["ml-lead", "ml-lead"]


OURS = 'namespaces="lockgate"'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"* {OURS} {ALPHA}",
         "names `*`: a pattern is nobody's name; write one line a person"),
        (f"*@example.org {OURS} {ALPHA}",
         "names `*@example.org`: a pattern is nobody's name; write one line a person"),
        (f"!ml-lead {OURS} {ALPHA}",
         "names `!ml-lead`: a pattern is nobody's name; write one line a person"),
        (f"ml-lead,ml-team {OURS} {ALPHA}",
         "names `ml-lead,ml-team`: one key is one person; write one name"),
        (f'"ml-lead" {OURS} {ALPHA}',
         'names `"ml-lead"`, which needs 1 to 64 of A-Z, a-z, 0-9 and `._@+-`, with a letter or '
         "digit at both ends"),
        (f"ml-lead {ALPHA}",
         'needs the option namespaces="lockgate", and no other namespace'),
        (f'ml-lead namespaces="git" {ALPHA}',
         'needs the option namespaces="lockgate", and no other namespace'),
        (f'ml-lead namespaces="*" {ALPHA}',
         'needs the option namespaces="lockgate", and no other namespace'),
        (f"ml-lead namespaces=lockgate {ALPHA}",
         "has the option `namespaces=lockgate`; known, each once, are "
         'namespaces="lockgate", valid-after="..." and valid-before="..."'),
        (f'ml-lead namespaces="lockgate,git" {ALPHA}',
         'has the option `namespaces="lockgate`; known, each once, are '
         'namespaces="lockgate", valid-after="..." and valid-before="..."'),
        (f"ml-lead cert-authority,{OURS} {ALPHA}",
         "has the option `cert-authority`; known, each once, are "
         'namespaces="lockgate", valid-after="..." and valid-before="..."'),
        (f'ml-lead {OURS},valid-before="2027-01-01" {ALPHA}',
         'has valid-before="2027-01-01"; write a day in UTC as in "20260821"'),
        (f'ml-lead {OURS},valid-before="20270230" {ALPHA}',
         'has valid-before="20270230"; write a day in UTC as in "20260821"'),
        (f'ml-lead {OURS},valid-after="20270101",valid-before="20270101Z" {ALPHA}',
         "is never valid: valid-before is not later than valid-after"),
        (f"ml-lead {OURS} ssh-dss AAAA",
         "`ssh-dss` is not a key type: ssh-ed25519, sk-ssh-ed25519@openssh.com, "
         "ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521, "
         "sk-ecdsa-sha2-nistp256@openssh.com, ssh-rsa"),
        (f"ml-lead {OURS} ssh-rsa {ALPHA.split()[1]}",
         "the base64 after `ssh-rsa` is not a key of that type"),
        (f"ml-lead {OURS} ssh-ed25519 AAAA!",
         "the base64 after `ssh-ed25519` is not a key of that type"),
        ("ml-lead", 'needs: NAME namespaces="lockgate" TYPE BASE64'),
        (f"ml-lead {OURS} {ALPHA}\r",
         "ends the Windows way: save the file with plain newlines"),
        (f"ml-lead {OURS} {ALPHA} \u202etxt",
         "has a control character `\\u202e`"),
    ],
)  # fmt: skip
def test_a_line_that_would_let_in_more_than_one_key_is_refused(line: str, problem: str) -> None:
    """Every line is one name, one key, this namespace; anything else is named by its line."""
    with pytest.raises(SignersMistake) as refused:
        parse_signers(f"# reviewers\n{line}\n".encode())
    assert refused.value.problems == (f"line 2 {problem}",)


def test_a_key_under_two_names_is_refused() -> None:
    """Otherwise one person could be two reviewers."""
    data = (signer_line("ml-lead", ALPHA) + signer_line("support-lead", ALPHA)).encode()
    with pytest.raises(SignersMistake) as refused:
        parse_signers(data)
    assert refused.value.problems == ("line 2 has the key of line 1 again: one key, one name",)


def test_all_wrong_lines_are_named_at_once() -> None:
    """Nobody corrects a file one mistake at a time."""
    with pytest.raises(SignersMistake) as refused:
        parse_signers(f"* {OURS} {ALPHA}\nml-lead {OURS} {BETA}\nx\n".encode())
    assert [problem[:6] for problem in refused.value.problems] == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"ok\nml-\xff", "line 2 is not UTF-8"),
        (b"#" * 1_048_577, "has 1048577 bytes; at most 1048576 are read"),
    ],
)
def test_a_signers_file_that_is_no_text_is_refused(data: bytes, problem: str) -> None:
    """A binary or endless file is refused before its lines are looked at."""
    with pytest.raises(SignersMistake) as refused:
        parse_signers(data)
    assert refused.value.problems == (problem,)


def test_a_signer_line_takes_only_a_name_and_a_key() -> None:
    """What is written into a signers file is what may stand there."""
    assert signer_line("ml-lead", f"{ALPHA} laptop") == f"ml-lead {OURS} {ALPHA}\n"
    with pytest.raises(ValueError, match="`ml lead` needs 1 to 64"):
        signer_line("ml lead", ALPHA)
    with pytest.raises(ValueError, match="`secret` is not a public key: type and base64"):
        signer_line("ml-lead", "secret")
