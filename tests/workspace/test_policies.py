"""`policy.toml` is read whole and strictly; every mistake is named at once, with what is allowed."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from lockgate.canonical import canonical_json, digest_bytes
from lockgate.domain.approval import parse_signers
from lockgate.domain.policy import (
    Environment,
    Freeze,
    Policy,
    Rule,
    SystemRules,
    policy_from,
)
from lockgate.errors import UsageMistake
from lockgate.workspace.policies import parse_policy, read_policy

WHOLE = """
[environments.staging]
stakes = "low"
rehearsal = true
protects = "production"
max_age = "7d"

[environments.production]
stakes = "high"
requires = ["staging"]
signers = "signers"
reviewers = ["ml-lead", "support-lead"]
approvals = 1
accept_claimed = false
max_age = "36h"
freeze = [{ from = "fri 16:00", until = "mon 08:00", tz = "Europe/Berlin", reason = "weekend" }]
publish = "./published/production/"
deploy = ["./deploy.sh", "--now"]
deploy_timeout = "90s"
observe = ["./observe.sh"]

[environments.production.systems.support-desk]
rules = [
  { suite = "triage", metric = "accuracy", min = 0.80, max_drop = 0.05, confidence = 0.95, on_inconclusive = "review" },
  { suite = "triage", metric = "p95_ms", max = 200 },
]
max_errors = 2
stop_after_errors = 3

[experiments]
keep = "21d"

[cadence]
rehearsal = "60d"
review = "14d"
"""

LEAD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxlYWRsZWFkbGVhZGxlYWRsZWFkbGVhZGxlYWRsZWFk"
SUPPORT = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHN1cHBzdXBwc3VwcHN1cHBzdXBwc3VwcHN1cHBzdXBw"
SIGNERS = (
    f'ml-lead namespaces="lockgate" {LEAD}\nsupport-lead namespaces="lockgate" {SUPPORT}\n'
).encode()


def mistakes(text: str, signers: dict[str, bytes] | None = None) -> UsageMistake:
    with pytest.raises(UsageMistake) as caught:
        parse_policy(text.encode(), signers or {}, "policy.toml")
    return caught.value


def production(lines: str, rules: str = "") -> str:
    return (
        f'[environments.production]\nstakes = "low"\n{lines}\n'
        "[environments.production.systems.support-desk]\n"
        f"rules = [{rules}]\n"
    )


def problems(lines: str, rules: str = "") -> list[str]:
    return list(mistakes(production(lines, rules)).problems)


def test_a_whole_policy_says_what_its_file_says() -> None:
    """Every key of the file ends in its place; `./` and `/` around a path do not count."""
    policy = parse_policy(WHOLE.encode(), {"production": SIGNERS}, "policy.toml")
    rules = SystemRules(
        (
            Rule("triage", "accuracy", 0.8, None, 0.05, 0.95, "review"),
            Rule("triage", "p95_ms", max=200.0),
        ),
        max_errors=2,
        stop_after_errors=3,
    )
    assert policy == Policy(
        {
            "staging": Environment("staging", "low", rehearsal=True, protects="production"),
            "production": Environment(
                "production",
                "high",
                requires=("staging",),
                signers="signers",
                signers_digest=digest_bytes(SIGNERS),
                reviewers=("ml-lead", "support-lead"),
                approvals=1,
                max_age=timedelta(hours=36),
                freeze=(Freeze(4, time(16), 0, time(8), "Europe/Berlin", "weekend"),),
                publish="published/production",
                deploy=("./deploy.sh", "--now"),
                deploy_timeout=timedelta(seconds=90),
                observe=("./observe.sh",),
                systems={"support-desk": rules},
            ),
        },
        timedelta(days=21),
        timedelta(days=60),
        timedelta(days=14),
    )
    assert policy_from(json.loads(canonical_json(policy.body()))) == policy


def test_a_short_policy_gets_the_usual_values() -> None:
    """Only the stakes have no default."""
    policy = parse_policy(b'[environments.staging]\nstakes = "low"\n', {}, "policy.toml")
    assert policy == Policy(
        {"staging": Environment("staging", "low", max_age=timedelta(days=7))},
        experiments_keep=timedelta(days=14),
        rehearsal_cadence=timedelta(days=30),
        review_cadence=timedelta(days=7),
    )


def test_high_stakes_ask_for_one_approval_unless_more_are_wanted() -> None:
    """What is not written is the safe thing."""
    text = (
        '[environments.production]\nstakes = "high"\nreviewers = ["ml-lead"]\n'
        "accept_claimed = true\n"
    )
    assert parse_policy(text.encode(), {}, "policy.toml").environments["production"].approvals == 1


def test_every_mistake_is_named_at_once() -> None:
    """Form, disagreements and signers are told together: key, value, what is allowed, a guess."""
    text = (
        WHOLE.replace('stakes = "high"', 'stakes = "hihg"')
        .replace('requires = ["staging"]', 'requires = ["stagin", 3]')
        .replace("reviewers =", "reviwers =")
        .replace("approvals = 1", 'approvals = "1"')
        .replace("accept_claimed = false", "accept_claimed = 0")
        .replace('"36h"', '"36 hours"')
        .replace('"fri 16:00"', '"friday 4pm"')
        .replace("Europe/Berlin", "Europe/Berln")
        .replace('"./published/production/"', '"../published"')
        .replace('["./deploy.sh", "--now"]', '"./deploy.sh --now"')
        .replace('"90s"', "90")
        .replace("min = 0.80", "min = 80")
        .replace("0.95", "95")
        .replace('"review" }', '"reveiw" }')
        .replace('metric = "p95_ms", max', "max_drop")
        .replace("max_errors = 2", "max_errors = -1")
        .replace("[cadence]", "[cadense]")
    )
    assert str(mistakes(text, {"production": SIGNERS})) == (
        "`policy.toml` has 19 mistakes\n"
        '  - `environments.production.stakes` is `"hihg"`: needs one of "low", "high"; '
        'did you mean "high"?\n'
        "  - `environments.production.requires[1]` is `3`: cannot stand in a list of environments\n"
        '  - `environments.production.approvals` is `"1"`: needs a whole number from 0 to 99\n'
        "  - `environments.production.accept_claimed` is `0`: needs true or false\n"
        '  - `environments.production.max_age` is `"36 hours"`: needs a whole number from 1 and '
        "one of w, d, h, m, s, such as `7d`, `12h` or `120s`\n"
        '  - `environments.production.freeze[0].from` is `"friday 4pm"`: needs a day and a time, '
        "such as `fri 16:00`\n"
        '  - `environments.production.freeze[0].tz` is `"Europe/Berln"`: needs a time zone this '
        'machine knows, such as "Europe/Berlin"; did you mean "Europe/Berlin"?\n'
        '  - `environments.production.publish` is `"../published"`: has an empty, `.` or `..` '
        "part; needs a path inside the registry's root\n"
        '  - `environments.production.deploy` is `"./deploy.sh --now"`: needs a list of words, '
        'such as ["./deploy.sh"]\n'
        "  - `environments.production.deploy_timeout` is `90`: needs a whole number from 1 and "
        "one of w, d, h, m, s, such as `7d`, `12h` or `120s`\n"
        "  - `environments.production.systems.support-desk.rules[0].confidence` is `95`: needs a "
        "number above 0.5 and below 1, such as 0.95\n"
        "  - `environments.production.systems.support-desk.rules[0].on_inconclusive` is "
        '`"reveiw"`: needs one of "block", "review", "allow"; did you mean "review"?\n'
        "  - `environments.production.systems.support-desk.rules[1].metric` is missing: needs the "
        'name of a metric, such as "accuracy" or "p95_ms"\n'
        "  - `environments.production.systems.support-desk.rules[1].max_drop` is `200`: needs a "
        "fraction from 0 to 1, such as 0.05\n"
        "  - `environments.production.systems.support-desk.max_errors` is `-1`: needs a whole "
        "number from 0\n"
        "  - `environments.production.reviwers` is not known here: known are stakes, rehearsal, "
        "protects, requires, signers, reviewers, approvals, accept_claimed, max_age, freeze, "
        'publish, deploy, deploy_timeout, observe, systems; did you mean "reviewers"?\n'
        "  - `cadense` is not known here: known are environments, experiments, cadence; did you "
        'mean "cadence"?\n'
        '  - `environments.production.requires[0]` is `"stagin"`: needs one of "staging", '
        '"production"; did you mean "staging"?\n'
        '  - `environments.production.systems.support-desk.rules[0].min` is `80`: `"accuracy"` is '
        "a score, which needs a fraction from 0 to 1\n"
        "hint: correct `policy.toml`, then run `lockgate policy`"
    )


HERE = "environments.production"
RULES = f"{HERE}.systems.support-desk.rules"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('protects = "staging"',
         f'`{HERE}.protects` is `"staging"`: needs one of "production"'),
        ('protects = "production"\nrehearsal = true',
         f'`{HERE}.protects` is `"production"`: needs another environment than itself'),
        ("rehearsal = true",
         f"`{HERE}.protects` is missing: rehearsals need the environment that judges them"),
        ('requires = ["production"]',
         f'`{HERE}.requires[0]` is `"production"`: needs another environment than itself'),
        ("approvals = 1\naccept_claimed = true\nreviewers = [\"ml-lead\"]",
         f'`{HERE}.approvals` is `1`: asks for reviewers, so needs `stakes = "high"`'),
        ('reviewers = ["ml-lead"]',
         f"`{HERE}.signers` is missing: reviewers need keys; name an allowed signers file, or set "
         "`accept_claimed = true`"),
        ('reviewers = ["ml-lead", "ml-lead"]\naccept_claimed = true',
         f'`{HERE}.reviewers[1]` is `"ml-lead"` a second time'),
        ('reviewers = ["ml lead"]\naccept_claimed = true',
         f'`{HERE}.reviewers[0]` is `"ml lead"`: needs 1 to 64 of A-Z, a-z, 0-9 and `._@+-`, with '
         "a letter or digit at both ends"),
        ('signers = "/etc/signers"',
         f'`{HERE}.signers` is `"/etc/signers"`: is not a relative POSIX path; needs a path inside '
         "the registry's root"),
        ('publish = ".lockgate/out"',
         f'`{HERE}.publish` is `".lockgate/out"`: lies in the registry\'s own folder; needs a path '
         "inside the registry's root"),
        ('deploy = [""]', f"`{HERE}.deploy` is a list: needs a program as its first word"),
        ("observe = []", f"`{HERE}.observe` is an empty list: needs a program as its first word"),
        ('deploy = ["a", "b\\u0000"]', f'`{HERE}.deploy[1]` is `"b\\x00"`: has a NUL character'),
        ('max_age = "0d"',
         f'`{HERE}.max_age` is `"0d"`: needs a whole number from 1 and one of w, d, h, m, s, such '
         "as `7d`, `12h` or `120s`"),
        ('max_age = "99999w"', f'`{HERE}.max_age` is `"99999w"`: too long: at most `36500d`'),
        ('freeze = [{ from = "sun 24:00", until = "mon 00:00", reason = "always" }]',
         f'`{HERE}.freeze[0].until` is `"mon 00:00"`: needs another moment than `from`; '
         "`lockgate hold` stops promotions until it is lifted"),
        ('freeze = [{ from = "fry 16:00", until = "mon 08:00", reason = "weekend" }]',
         f'`{HERE}.freeze[0].from` is `"fry 16:00"`: needs a day and a time, such as `fri 16:00`; '
         'did you mean "fri"?'),
        ('freeze = [{ from = "fri 16:00", until = "mon 08:00", reason = "" }]',
         f'`{HERE}.freeze[0].reason` is `""`: needs a text that says why, of 1 to 200 characters'),
        ('freeze = [{ from = "fri 16:00", till = "mon 08:00", reason = "weekend" }]',
         f"`{HERE}.freeze[0].until` is missing: needs a day and a time, such as `fri 16:00`"),
        ('freeze = ["weekend"]', f'`{HERE}.freeze[0]` is `"weekend"`: cannot stand in a list of windows'),
        ("max_age = 2026-08-21",
         f"`{HERE}.max_age` is `2026-08-21`: needs a whole number from 1 and one of w, d, h, m, s, "
         "such as `7d`, `12h` or `120s`"),
        ('"un\\u202eknown" = 1',
         f'`{HERE}."un\\u202eknown"` is not known here: known are stakes, rehearsal, protects, '
         "requires, signers, reviewers, approvals, accept_claimed, max_age, freeze, publish, "
         "deploy, deploy_timeout, observe, systems"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_environment_says_what_is_allowed(lines: str, problem: str) -> None:
    """The first sentence about each mistake, whole."""
    assert problems(lines)[0] == problem


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ('metric = "accuracy"', f"`{RULES}[0]` needs at least one of min, max, max_drop"),
        ('metric = "p95_ms", min = 300, max = 200',
         f"`{RULES}[0].min` is `300`: is above `max`, which is `200`"),
        ('metric = "p95_ms", max = 200, confidence = 0.95',
         f'`{RULES}[0].confidence` is for scores only; `"p95_ms"` needs `max` alone'),
        ('metric = "tokens_out", max_drop = 0.1',
         f'`{RULES}[0].max_drop` is for scores only; `"tokens_out"` needs `max` alone'),
        ('metric = "accuracy", min = 0.8, confidence = 0.5',
         f"`{RULES}[0].confidence` is `0.5`: needs a number above 0.5 and below 1, such as 0.95"),
        ('metric = "accuracy", min = nan',
         f"`{RULES}[0].min` is `nan`: needs a number from 0"),
        ('metric = "p95_ms", max = inf',
         f"`{RULES}[0].max` is `inf`: needs a number from 0"),
        ('metric = "accuracy", min = true',
         f"`{RULES}[0].min` is `true`: needs a number from 0"),
        ('metric = "Accuracy!", min = 0.8',
         f'`{RULES}[0].metric` is `"Accuracy!"`: needs the name of a metric, such as "accuracy" or '
         '"p95_ms"'),
        ('metric = "quality_ms", max = 200',
         f'`{RULES}[0].metric` is `"quality_ms"`: is measured by nothing; every run has "p50_ms", '
         '"p90_ms", "p95_ms", "p99_ms", "mean_ms", "tokens_in", "tokens_out"'),
        ('metric = "accuracy", min = 0.8, on_inconclusive = "review"',
         f'`{RULES}[0].on_inconclusive` is `"review"`: needs `reviewers` in the environment'),
        ('metric = "accuracy", mim = 0.8',
         f"`{RULES}[0].mim` is not known here: known are suite, metric, min, max, max_drop, "
         'confidence, on_inconclusive; did you mean "min"?'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_rule_says_what_is_allowed(rule: str, problem: str) -> None:
    """A rule that could never be judged as meant is refused before anybody relies on it."""
    assert problems("", f'{{ suite = "triage", {rule} }}')[0] == problem


def test_high_stakes_without_an_approval_are_refused() -> None:
    """Nobody gets high stakes that promote at once."""
    text = '[environments.production]\nstakes = "high"\napprovals = 0\n'
    assert mistakes(text).problems == (
        '`environments.production.approvals` is `0`: `stakes = "high"` needs at least 1',
    )


def test_high_stakes_need_people() -> None:
    """An approval that nobody can give would stop every promotion for ever."""
    text = '[environments.production]\nstakes = "high"\n'
    assert mistakes(text).problems == (
        "`environments.production.reviewers` is missing: needs the names of those who may approve",
    )
    text += 'approvals = 2\nreviewers = ["ml-lead"]\naccept_claimed = true\n'
    assert mistakes(text).problems == (
        "`environments.production.approvals` is `2`: there are only 1 `reviewers`",
    )


def test_a_rehearsal_is_never_judged_by_a_rehearsal() -> None:
    """What protects production is judged by production's rules themselves."""
    text = (
        '[environments.a]\nstakes = "low"\nrehearsal = true\nprotects = "b"\n'
        '[environments.b]\nstakes = "low"\nrehearsal = true\nprotects = "c"\n'
        '[environments.c]\nstakes = "low"\nprotects = "a"\n'
    )
    assert mistakes(text).problems == (
        '`environments.a.protects` is `"b"`: needs an environment that is not for rehearsals itself',
        '`environments.c.protects` is `"a"`: needs an environment that is not for rehearsals itself',
        '`environments.c.protects` is `"a"`: counts only with `rehearsal = true`',
    )


def test_one_slip_is_one_problem() -> None:
    """An environment that requires itself is not called a circle as well."""
    assert len(problems('requires = ["production"]')) == 1


def test_an_environment_is_required_once() -> None:
    """A name that stands twice is a slip for another one."""
    text = (
        '[environments.a]\nstakes = "low"\n'
        '[environments.b]\nstakes = "low"\nrequires = ["a", "a"]\n'
    )
    assert mistakes(text).problems == ('`environments.b.requires[1]` is `"a"` a second time',)


def test_environments_that_wait_for_each_other_are_refused() -> None:
    """Every circle is named once; a way that only meets again is none."""
    text = "".join(
        f'[environments.{name}]\nstakes = "low"\nrequires = {json.dumps(needs)}\n'
        for name, needs in {
            "a": ["b"], "b": ["c"], "c": ["a"], "d": ["e"], "e": ["d"],
            "f": ["g", "h"], "g": ["h"], "h": [],
        }.items()
    )  # fmt: skip
    assert mistakes(text).problems == (
        "`environments.a.requires` closes a circle: a needs b needs c needs a",
        "`environments.d.requires` closes a circle: d needs e needs d",
    )


def test_two_environments_never_publish_into_each_other() -> None:
    """One receipt would take the other's place."""
    text = (
        '[environments.a]\nstakes = "low"\npublish = "published"\n'
        '[environments.b]\nstakes = "low"\npublish = "published/b"\n'
        '[environments.c]\nstakes = "low"\npublish = "published-c"\n'
    )
    assert mistakes(text).problems == (
        '`environments.b.publish` is `"published/b"`: needs a folder of its own, apart from '
        '`"published"` of `a`',
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[environments.a]\nstakes = low\n",
         "policy.toml line 2 column 10: invalid value, in `stakes = low`\n"
         "hint: TOML wants `[section]` or `key = value`, and text in double quotes"),
        (b"a = 1\nb = 'caf\xe9'\n",
         "policy.toml line 2 column 9: not UTF-8 text\n"
         "hint: save the file as UTF-8: `iconv -t utf-8 policy.toml`"),
        (b"a = 1\n\0\n",
         "policy.toml line 2 column 1: invalid statement, in `\\x00`\n"
         "hint: TOML wants `[section]` or `key = value`, and text in double quotes"),
        (b"#" * 1_048_577,
         "`policy.toml` is larger than 1 MiB\n"
         "hint: keep rules and names in it, and everything else in files of its own"),
        (b"", "`policy.toml` has 1 mistake\n"
         "  - `environments` is missing: needs at least one table, such as "
         "[environments.production]\n"
         "hint: correct `policy.toml`, then run `lockgate policy`"),
        (b"[environments]\n", "`policy.toml` has 1 mistake\n"
         "  - `environments` is a table: needs at least one table, such as "
         "[environments.production]\n"
         "hint: correct `policy.toml`, then run `lockgate policy`"),
        (b"[environments.Prod]\nstakes = 'low'\n", "`policy.toml` has 1 mistake\n"
         "  - the name `environments.Prod` needs 1 to 40 of a-z, 0-9 and `-`, with a letter or "
         "digit at both ends\n"
         "hint: correct `policy.toml`, then run `lockgate policy`"),
        (b"[environments.v3]\nstakes = 'low'\n", "`policy.toml` has 1 mistake\n"
         "  - the name `environments.v3` reads like a version's label; needs another name, such "
         "as `production`\n"
         "hint: correct `policy.toml`, then run `lockgate policy`"),
    ],
    ids=["no TOML", "no UTF-8", "NUL", "too large", "empty", "no environment", "name", "label"],
)  # fmt: skip
def test_a_file_that_is_no_policy_says_where(data: bytes, message: str) -> None:
    """Line and column, or the first thing that is missing."""
    with pytest.raises(UsageMistake) as caught:
        parse_policy(data, {}, "policy.toml")
    assert str(caught.value) == message


def test_a_reviewer_without_a_key_is_named() -> None:
    """A yes that nobody could sign is found when the policy is read."""
    text = (
        '[environments.production]\nstakes = "high"\nsigners = "signers"\n'
        'reviewers = ["ml-lead", "support-lead"]\n'
    )
    only_lead = SIGNERS.splitlines(keepends=True)[0]
    assert mistakes(text, {"production": only_lead}).problems == (
        'file `signers`: no key for `"support-lead"`, a reviewer of `environments.production`',
    )
    claimed = (text + "accept_claimed = true\n").encode()
    assert parse_policy(claimed, {"production": only_lead}, "policy.toml")


def test_a_mistake_in_a_shared_signers_file_is_named_once() -> None:
    """Two environments may trust the same file."""
    text = "".join(f'[environments.{name}]\nstakes = "low"\nsigners = "signers"\n' for name in "ab")
    broken = b"* " + SIGNERS.split(b" ", 1)[1]
    assert mistakes(text, {"a": broken, "b": broken}).problems == (
        "file `signers`: line 1 names `*`: a pattern is nobody's name; write one line a person",
    )


def write(root: Path, text: str = WHOLE, signers: bytes | None = SIGNERS) -> None:
    (root / "policy.toml").write_text(text)
    if signers is not None:
        (root / "signers").write_bytes(signers)


def test_a_policy_file_keeps_the_bytes_it_came_from(tmp_path: Path) -> None:
    """What is applied is what was read: text, digest and the signers of each environment."""
    write(tmp_path)
    read = read_policy(tmp_path)
    assert read.data == WHOLE.encode()
    assert read.digest == digest_bytes(WHOLE.encode())
    assert dict(read.signers) == {"production": SIGNERS}
    assert read.policy == parse_policy(read.data, read.signers, "policy.toml")


def test_a_changed_signers_file_changes_the_policy(tmp_path: Path) -> None:
    """The file's digest is the same, the policy's body is not."""
    write(tmp_path)
    before = read_policy(tmp_path)
    (tmp_path / "signers").write_bytes(SIGNERS + b"# reviewed\n")
    after = read_policy(tmp_path)
    assert before.digest == after.digest
    assert before.policy.body() != after.policy.body()


def test_a_missing_policy_says_how_to_make_one(tmp_path: Path) -> None:
    """The path that was looked at is named."""
    with pytest.raises(UsageMistake) as caught:
        read_policy(tmp_path)
    assert str(caught.value) == (
        f"there is no `{tmp_path}/policy.toml`\nhint: run `lockgate init` to make one"
    )


def test_a_missing_signers_file_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the hint writes a line that is accepted."""
    write(
        tmp_path, WHOLE.replace('"signers"', '"who may sign"').replace(', "support-lead"', ""), None
    )
    with pytest.raises(UsageMistake) as caught:
        read_policy(tmp_path)
    assert str(caught.value) == (
        "`policy.toml` has 1 mistake\n"
        '  - `environments.production.signers` is `"who may sign"`: there is no such file\n'
        "hint: each reviewer has a key, or makes one with `ssh-keygen -t ed25519`; add a line for "
        "each: "
        'echo "ml-lead namespaces=\\"lockgate\\" $(cat ~/.ssh/id_ed25519.pub)" >> \'who may sign\''
    )
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(f"{LEAD} laptop\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    command = caught.value.hint.partition("for each: ")[2]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert [signer.name for signer in parse_signers((tmp_path / "who may sign").read_bytes())] == [
        "ml-lead"
    ]
    assert read_policy(tmp_path).policy.environments["production"].signers == "who may sign"


def test_claimed_names_need_no_signers_file(tmp_path: Path) -> None:
    """With `accept_claimed = true` the file may come later; its digest is then unknown."""
    write(tmp_path, WHOLE.replace("accept_claimed = false", "accept_claimed = true"), None)
    assert read_policy(tmp_path).policy.environments["production"].signers_digest is None


def test_a_file_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe in the place of a file is refused at once, for the policy and for the signers."""
    os.mkfifo(tmp_path / "policy.toml")
    with pytest.raises(UsageMistake, match="policy.toml is not an ordinary file"):
        read_policy(tmp_path)
    (tmp_path / "policy.toml").unlink()
    write(tmp_path, signers=None)
    os.mkfifo(tmp_path / "signers")
    with pytest.raises(UsageMistake, match="signers is not an ordinary file"):
        read_policy(tmp_path)


def test_a_signers_file_outside_the_root_is_never_read(tmp_path: Path) -> None:
    """A path that leads out is a mistake of the policy, and stays unread."""
    os.mkfifo(tmp_path / "signers")
    root = tmp_path / "root"
    root.mkdir()
    write(root, WHOLE.replace('"signers"', '"../signers"'), None)
    with pytest.raises(UsageMistake) as caught:
        read_policy(root)
    assert caught.value.problems == (
        '`environments.production.signers` is `"../signers"`: has an empty, `.` or `..` part; '
        "needs a path inside the registry's root",
    )


def test_a_file_of_another_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A signers file of more than a mebibyte is a slip."""
    write(tmp_path, signers=b"#" * 1_048_577)
    with pytest.raises(UsageMistake, match="signers` is larger than 1 MiB"):
        read_policy(tmp_path)


KEYS = st.sampled_from(
    [
        "environments", "production", "staging", "stakes", "rehearsal", "protects", "requires",
        "signers", "reviewers", "approvals", "accept_claimed", "max_age", "freeze", "publish",
        "deploy", "systems", "rules", "suite", "metric", "min", "max", "from", "until", "tz",
        "experiments", "cadence", "", "a b", "[key]",
    ]
)  # fmt: skip
SCALARS = (
    st.sampled_from(
        ["low", "high", "7d", "fri 16:00", "UTC", "accuracy", "production", "staging", "../x", "\0"]
    )
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TREES, max_size=3), TREES, TREES)
def test_any_toml_is_a_policy_or_a_mistake(
    top: dict[str, Any], environments: object, body: object
) -> None:
    """Whatever a file holds, reading it never ends in anything but a policy or a usage mistake."""
    for document in (top, {"environments": environments}, {"environments": {"production": body}}):
        text = tomli_w.dumps(document)
        try:
            parse_policy(text.encode(), {"production": SIGNERS}, "policy.toml")
        except UsageMistake as mistake:
            assert mistake.what.startswith(("`policy.toml` has ", "policy.toml line "))
