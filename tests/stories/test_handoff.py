"""The hand-off page alone is enough: a newcomer ships a change with it, and takes it back."""

from __future__ import annotations

import re
import shutil

import pytest

from lockgate import wiring
from lockgate.cli.main import COMMANDS
from stories.first_scenes import Sample, play_first_scenes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="the reviewers sign with keys"),
]

FIRST_SCENES = 2
NOT_BUILT = {"rehearse", "review"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The first scenes of the first system, and the only one of the second."""
    return play_first_scenes(tmp_path_factory.mktemp("handoff"), FIRST_SCENES)


def commands(page: str) -> list[str]:
    """Return the lines of every block of commands, in the order of the page."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("system", ["support-desk", "enquiry-filter"])
def test_the_page_alone_is_enough(sample: Sample, system: str) -> None:
    """Every line of the page, run from top to bottom, ships two changes and takes one back."""
    page = sample.run(f"lockgate handoff -s {system}")
    before = live(sample, system)
    waiting = 0
    for line in commands(page):
        if line.startswith("#"):
            continue
        printed = sample.run(line, 0, 7)
        if "a reviewer runs" in printed or "hint: a reviewer" in printed:
            waiting += 1
    registry = wiring.open_registry(sample.root, read_only=True)
    try:
        done = registry.releases.deployments(system, "production", limit=3)[::-1]
        assert [found.attempt.kind for found in done] == ["promote", "promote", "rollback"]
        assert {found.outcome for found in done} == {"live"}
        assert {found.attempt.actor for found in done} == {"newcomer"}
        first, second, third = (found.attempt.version for found in done)
        assert third == first != second != before
        left = registry.versions.get(str(second))
        assert left is not None
        assert registry.releases.quarantines(system, definition=left.definition)
        assert registry.releases.holds(system, "production") == []  # the page's last line lifts it
    finally:
        registry.close()
    assert waiting >= 2
    # Mended and shipped again: the page's one-command form works after its rollback, too.
    block = next(
        block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "ship" in block
    )
    for line in block.splitlines():
        if not line.startswith("#"):
            sample.run(line, 0, 7)
    assert live(sample, system) not in (first, second)


def live(sample: Sample, system: str) -> str | None:
    """Return the version id that is live in production."""
    registry = wiring.open_registry(sample.root, read_only=True)
    try:
        found = registry.releases.live(system, "production")
        return found.attempt.version if found else None
    finally:
        registry.close()


def test_every_command_on_the_page_exists(sample: Sample) -> None:
    """What stands between the lines are commands, too."""
    for command in ("handoff", "definition"):
        page = sample.run(f"lockgate {command} -s support-desk")
        named = {words.split()[0] for words in re.findall(r"lockgate ([a-z][^`\n]*)", page)}
        assert named - NOT_BUILT <= set(COMMANDS)


def test_the_digest_on_the_definition_page_is_what_its_command_prints(sample: Sample) -> None:
    """The page's own command recomputes the digest that the page tells."""
    page = sample.run("lockgate definition -s support-desk")
    (line,) = commands(page)
    (digest,) = re.findall(r"definition digest \| `([0-9a-f]{64})`", page)
    assert sample.run(line) == f"{digest}  -\n"


def test_a_page_is_old_as_soon_as_something_it_says_changes(sample: Sample) -> None:
    """`--check` passes for what was just written, and fails when the policy's numbers change."""
    sample.run("lockgate handoff -s support-desk -o HANDOFF.md")
    sample.run("lockgate definition -s support-desk -o DEFINITION.md")
    sample.run("lockgate handoff -s support-desk --check -o HANDOFF.md")
    sample.run("lockgate definition -s support-desk --check -o DEFINITION.md")
    page = sample.root / "HANDOFF.md"
    page.write_text(page.read_text().replace("at least .600", "at least .500"))
    told = sample.run("lockgate handoff -s support-desk --check -o HANDOFF.md", 1)
    assert "`HANDOFF.md` is old: it no longer says what is true" in told
    assert "  - -  - `triage accuracy`: at least .500" in told
    assert "  - +  - `triage accuracy`: at least .600" in told
    hint = "hint: `lockgate handoff -s support-desk -o HANDOFF.md` writes it again"
    assert hint in told
    sample.run("lockgate handoff -s support-desk -o HANDOFF.md")
    sample.run("lockgate handoff -s support-desk --check -o HANDOFF.md")
