"""What looks like a secret, what does not, and how it is shown.

Every example is put together here, so that this repository holds no text that looks like a key.
"""

from __future__ import annotations

import hashlib
import io
import random
import string
import tracemalloc

import pytest

from lockgate.workspace.secrets import SCAN_BYTES, SecretFound, find_secrets, secrets_in

RANDOM = random.Random(7)
UPPER = string.ascii_uppercase + "234567"
LETTERS = string.ascii_letters
ALPHANUMERIC = LETTERS + string.digits
HEX = "0123456789abcdef"
BASE64 = ALPHANUMERIC + "+/"


def some(count: int, alphabet: str = ALPHANUMERIC) -> str:
    """Return random characters, the same in every run."""
    return "".join(RANDOM.choices(alphabet, k=count))


def rules(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [found.rule for found in find_secrets("prompts/system.md", data)]


VENDORS = {
    "AWS access key": "AK" + "IA" + some(16, UPPER),
    "GitHub token": "gh" + "p_" + some(36),
    "GitLab token": "glp" + "at-" + some(20),
    "Slack token": "xo" + "xb-" + some(12, string.digits) + "-" + some(24),
    "Slack webhook": "https://hooks.sl"
    + "ack.com/services/T"
    + some(8)
    + "/B"
    + some(8)
    + "/"
    + some(24),
    "Stripe live key": "sk" + "_live_" + some(24),
    "Google API key": "AI" + "za" + some(35),
    "Google client secret": "GOC" + "SPX-" + some(28),
    "Azure storage key": "Account" + "Key=" + some(86, BASE64) + "==",
    "Anthropic key": "sk-" + "ant-api03-" + some(80) + "AA",
    "OpenAI key": "sk-" + "proj-" + some(30) + "_" + some(60) + "-" + some(30),
    "Hugging Face token": "hf" + "_" + some(34, LETTERS),
    "Groq key": "gs" + "k_" + some(52),
    "xAI key": "xa" + "i-" + some(80),
    "Replicate token": "r" + "8_" + some(37),
    "Databricks token": "da" + "pi" + some(32, HEX),
    "DigitalOcean token": "do" + "p_v1_" + some(64, HEX),
    "npm token": "np" + "m_" + some(36),
    "PyPI token": "py" + "pi-" + some(120),
    "SendGrid key": "S" + "G." + some(22) + "." + some(43),
    "JSON web token": "ey" + "J" + some(20) + ".ey" + "J" + some(40) + "." + some(43),
    "private key": "-----BEGIN OPENSSH PRIV" + "ATE KEY-----\n" + some(64, BASE64) + "\n",
    "password in an address": "postgres://app:" + some(14) + "@db.internal/desk",
    "bearer token": "Authorization: Bear" + "er " + some(40),
}


@pytest.mark.parametrize("rule", VENDORS)
def test_a_vendors_key_is_known_by_its_shape(rule: str) -> None:
    """A key is found in the middle of a text, in quotes, and on the last line without an end."""
    key = VENDORS[rule]

    assert rules(f"Please use\n{key}\nfrom now on.") == [rule]
    assert rules(f'{{"value": "{key}"}}') == [rule]
    assert rules(f"x = {key}") == [rule]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f'api_key = "{some(32, HEX)}"', "api_key"),
        (f"OPENAI_API_KEY={some(40)}", "api_key"),
        (f"apiKey: '{some(20)}',", "apikey"),
        (f'"client_secret": "{some(24)}"', "secret"),
        (f"aws_secret_access_key = {some(38, BASE64)}9+", "access_key"),
        (f"token: {some(32)}", "token"),
        (f"'token' => '{some(20)}'", "token"),
        ("password = " + '"hunt' + 'er2!x"', "password"),
        ("db_password: " + "'S3cr3" + "t-Pa55'", "password"),
        ("PASSWD := " + "`q9$" + "Lm2!z`", "passwd"),
        (f'private-key = "{some(40, BASE64)}"', "private-key"),
    ],
)
def test_a_value_behind_a_telling_word_is_found(text: str, word: str) -> None:
    """Words such as password or token, in any spelling, make a random value a secret."""
    assert rules(text) == [f"value of a `{word}`"]


@pytest.mark.parametrize(
    "text",
    [
        'password = "changeme"',
        'password: "xxxxxxxxxx"',
        'password = "********"',
        'password = "correct horse battery staple"',
        'password = "correct-horse-battery-staple"',
        'token = "${TOKEN}"',
        'token = "{{ secrets.DEPLOY_TOKEN_9f }}"',
        'token = "$GITHUB_TOKEN_2"',
        'api_key = "<your key>"',
        'api_key = "YOUR_API_KEY_HERE_123"',
        'api_key = "replace-me-a1B2c3D4"',
        'api_key = os.environ["OPENAI_API_KEY"]',
        "api_key = settings.openai.api_key_2",
        "password = get_password_from_vault()",
        f'secret = "sha256:{hashlib.sha256(b"1").hexdigest()}"',
        f'token = "{hashlib.sha256(b"2").hexdigest()}"',
        f'api_key = "sha256-{"Zm9vYmFy3x9QmF6" * 3}="',
        'secret: "projects/desk/secrets/db-pass/versions/3"',
        'token = "8f14e45f-ceea-467f-a0e6-52b3c8d9e1f0"',
        '"token": "refund-request-42"',
        'token == "abc12345X"',
        "max_tokens = 4800000000000000",
        "tokens: [101, 2023, 2003, 1037, 7099, 102]",
        "The password must have at least 8 characters: letters, digits, signs.",
        "Reset your password: https://desk.example.net/reset/account/8f14e45f",
        "AK" + "IAIOSFODNN7EXA" + "MPLE",
        "sk-" + "x" * 48,
        "sk-learn-tutorial-2024-Intro-notes-for-all",
        "risk-assessment-2024-Q3-ABCDEFGHIJKLMNOPQ",
        "-----BEGIN PRIV" + "ATE KEY----- is what the file has to start with.",
        "http://user:${PASSWORD}@host/",
        "https://username:password@host/ is how to write it",
        "Bearer authentication is used for all of these requests.",
        "ssh-ed25519 " + some(68, BASE64) + " dev@desk",
    ],
)
def test_what_only_looks_like_a_secret_is_left_alone(text: str) -> None:
    """Placeholders, variables, words, paths, digests and prose are no secrets."""
    assert rules(text) == []


def test_a_finding_names_file_line_and_rule_and_masks_the_secret() -> None:
    """The report can be printed anywhere: of a long key four characters are left, else none."""
    key = VENDORS["GitHub token"]
    password = "hunt" + "er2!x"
    text = f'# settings\n\nuse {key} here\npassword = "{password}"\n'

    assert find_secrets("notes/a.md", text.encode()) == [
        SecretFound("notes/a.md", 3, "GitHub token", "use ghp_******** here"),
        SecretFound("notes/a.md", 4, "value of a `password`", 'password = "********"'),
    ]


def test_two_secrets_on_one_line_never_show_each_other() -> None:
    """The text around a finding stops where the next one begins."""
    first, second = VENDORS["GitHub token"], VENDORS["Stripe live key"]

    found = find_secrets("a", f"{first} {second}".encode())

    assert [one.rule for one in found] == ["GitHub token", "Stripe live key"]
    assert not [one for one in found if first[6:] in one.excerpt or second[6:] in one.excerpt]


def test_a_key_behind_a_telling_word_is_told_once_and_by_its_vendor() -> None:
    """One secret is one finding, and the rule that knows most names it."""
    assert rules(f'api_key = "{VENDORS["Anthropic key"]}"') == ["Anthropic key"]


def test_an_excerpt_is_short_and_safe_to_print() -> None:
    """A line of any length is cut around the finding; control characters are spelled out."""
    text = "a" * 9000 + "\x1b[31m " + VENDORS["AWS access key"] + " " + "b" * 9000

    (found,) = find_secrets("a", text.encode())

    assert "\\x1b[31m AKIA******** b" in found.excerpt
    assert "\x1b" not in found.excerpt
    assert len(found.excerpt) < 120


def test_a_key_file_in_one_line_of_json_is_found() -> None:
    """A private key whose line ends are escaped is one all the same."""
    text = '{"private_key": "-----BEGIN PRIV' + "ATE KEY-----\\n" + some(64, BASE64) + '\\n"}'

    assert rules(text) == ["private key"]


def test_text_in_utf16_hides_nothing() -> None:
    """A file that another editor saved in UTF-16 is read as text."""
    text = f"token: {VENDORS['GitHub token']}\n"

    assert rules(text.encode("utf-16")) == ["GitHub token"]


def test_bytes_that_are_no_text_hide_nothing() -> None:
    """A key between bytes of any value is found."""
    key = VENDORS["AWS access key"].encode()

    assert rules(b"\x00\xff\xfe" + key + b"\x00\xff") == ["AWS access key"]


def test_of_a_large_binary_only_the_beginning_and_vendors_count() -> None:
    """Weights are not searched for passwords, and not beyond the first MiB."""
    key = VENDORS["AWS access key"].encode()
    word = ('\npassword = "q9$' + 'Lm2!z"\n').encode()
    padding = b"\0" * SCAN_BYTES

    assert rules(key + word + padding) == ["AWS access key"]
    assert rules(padding + key) == []


def test_of_a_large_text_everything_counts() -> None:
    """A long prompt is searched to its end."""
    text = "All work and no play.\n" * (SCAN_BYTES // 20)

    (found,) = find_secrets("a", (text + VENDORS["AWS access key"]).encode())

    assert found.line == SCAN_BYTES // 20 + 1


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f'api = "{VENDORS["GitHub token"]}"', 'api = "ghp_********"'),
        ("password = 'hunt" + "er2!x'", "password = '********'"),
    ],
    ids=["vendor", "word"],
)
@pytest.mark.parametrize("before", [-65541, -65500, -2000, -60, -20, -9, -1, 0, 30, SCAN_BYTES])
def test_a_secret_where_two_pieces_meet_is_told_once(text: str, masked: str, before: int) -> None:
    """However a long text is read, nothing falls between two pieces or is told twice."""
    padding = ("-" * 99 + "\n") * (3 * SCAN_BYTES // 100)
    start = SCAN_BYTES + before
    data = (padding[:start] + f"\n{text}\n" + padding[start:]).encode()

    (found,) = find_secrets("a", data)

    assert (found.line, found.excerpt) == (start // 100 + 2, masked)


def test_a_long_text_in_utf16_hides_nothing() -> None:
    """Text in UTF-16 is searched to its end as well, and its lines are counted."""
    text = "All work and no play.\n" * (SCAN_BYTES // 20)

    (found,) = find_secrets("a", (text + VENDORS["AWS access key"]).encode("utf-16"))

    assert found.line == SCAN_BYTES // 20 + 1


def test_a_long_text_is_not_held_whole() -> None:
    """Searching takes some MiB of memory, however long the text is."""
    line = b"All work and no play.\n"
    tracemalloc.start()
    try:
        assert list(secrets_in("a", Endless(line * 5000, 100))) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * SCAN_BYTES < 100 * 5000 * len(line)


class Endless(io.RawIOBase):
    """The same bytes again and again, so many times."""

    def __init__(self, data: bytes, times: int) -> None:
        self.data, self.times = data, times

    def read(self, size: int = -1) -> bytes:
        self.times -= 1
        return self.data if self.times >= 0 else b""


def test_a_file_without_secrets_has_none() -> None:
    """Ordinary prompts, code and data are silent."""
    assert rules("") == []
    assert rules("You sort tickets into queues.\nToken budget: 48.\n") == []
