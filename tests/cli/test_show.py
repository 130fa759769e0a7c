"""`lockgate show`, `diff` and `checkout`, as people see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders import FixedClock, add_version, pass_decision, start_run
from cli.looking_desk import Lockgate, runner
from lockgate import wiring
from lockgate.domain.version import Version
from lockgate.loop.register import register
from lockgate.storage.registry import Registry
from lockgate.workspace.folder import read_folder
from look.stories import evaluated, go_live, released, set_up

SETTINGS = """\
[system]
name = "support-desk"
owner = "support-ml"

[model]
name = "rules"
revision = "1"

[prompt]
files = ["prompts/*.md"]

[generation]
temperature = 0.0
stop = ["\\n", "é"]

[tools]
files = ["tools/*.json"]

[code]
files = ["assistant.py", "bin/run.sh"]

[run]
kind = "python"
target = "assistant:answer"
"""
TOOL = '{"title": "route", "properties": {"queue": {"enum": ["billing", "bug"]}}}'


@pytest.fixture
def lockgate(
    registry: Registry,
    clock: FixedClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Lockgate:
    """What runs a command on the test's registry."""
    return runner(registry.root, clock, capsys, monkeypatch)


@pytest.fixture
def folder(registry: Registry) -> Path:
    """A system's folder below the registry, with every kind of file."""
    made = registry.root / "systems" / "support-desk"
    for path, text in {
        "lockgate.toml": SETTINGS,
        "prompts/system.md": "Sort the ticket into a queue.\nBe brief and kind.\n",
        "prompts/odd [1].md": "in brackets",
        "tools/route.json": TOOL,
        "assistant.py": "def answer(case, settings, seed): return 'billing'\n",
        "bin/run.sh": "#!/bin/sh\n",
    }.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    (made / "bin/run.sh").chmod(0o755)
    return made


def registered(registry: Registry, folder: Path, reason: str = "first version") -> Version:
    """Register a folder as `lockgate register` does."""
    draft = wiring.read_draft(registry.root, folder)
    made = register(
        registry, draft, reason=reason, actor="support-dev", find_secrets=lambda path, data: []
    )
    wiring.write_lock(folder, registry, made.version)
    return made.version


def test_show_tells_everything(registry: Registry, clock: FixedClock, lockgate: Lockgate) -> None:
    """Identity, where it was live, components, runs and decisions, in this order."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one", wrong=[1], environments=["production"])
    clock.move(days=1)
    second = released(registry, suite, "two", parent=first, environments=["production"])
    said = lockgate("show", "v1")
    run = registry.runs.of_version(first.id)[0].run.id[:8]
    assert second.label == "v2"
    assert (said.code, said.err) == (0, "")
    assert (
        said.out
        == f"""\
v1  support-desk  release
  id          {first.id[:12]}
  definition  {first.definition[:12]}
  parent      none, the first of its line
  owner       support-ml, registered by support-dev
  registered  Fri 2026-08-21 09:00 UTC
  reason      better queues
  children    v2
  live        · production since 08-21 09:00 until 08-22 09:00, generation 1 by ci

[prompt]
  3 B  7692c3ad  prompts/system.md

[generation]
  temperature = 0

runs
  {run}  triage  08-21 09:00  ✔ completed, 20 cases
      accuracy          .950 [.78 1.0]
      p95_ms            12 ms

✔ gate to production: pass  08-21 09:00 by support-dev
  promoted as generation 1
  ✔ accuracy >= 0.80         2 of 2 right
  ✔ ml-lead said yes: looks right
"""
    )


def test_show_takes_an_environment_for_what_is_live_there(
    registry: Registry, lockgate: Lockgate
) -> None:
    """An environment's name and the beginning of an id are names of a version."""
    _, suite = set_up(registry)
    version = released(registry, suite, "one")
    for name in ("production", version.id[:8], "v1"):
        assert lockgate("show", name).out.startswith("v1  support-desk  release\n")
    said = lockgate("show", "v9")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(
        "error: there is no version `v9` in `support-desk`\nhint: newest are"
    )


def test_a_refused_version_shows_what_spoke_against_it(
    registry: Registry, lockgate: Lockgate
) -> None:
    """A decision that refused is shown with its glyph, and is nothing that stands or falls."""
    _, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite)
    pass_decision(registry, version, [run], outcome="fail", promotable=False)
    out = lockgate("show", "v1").out
    assert "✖ gate to production: fail  08-21 09:00 by support-dev\n  ✖ accuracy >= 0.80" in out
    assert "  live        never\n" in out
    assert "no longer stands" not in out


def test_failing_lists_the_wrong_cases(registry: Registry, lockgate: Lockgate) -> None:
    """Each wrong case has its id, what was expected, what came, and what was asked."""
    _, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite, wrong=[3, 7])
    assert (
        lockgate("show", "v1", "--failing").out
        == f"""\
v1 on triage, accuracy: 2 of 20 not right (run {run.run.id[:8]})
case   expected  got      input
t0003  billing   refunds  ticket 3
t0007  billing   refunds  ticket 7
"""
    )
    value = lockgate("show", "v1", "--failing", "--json").json
    assert [wrong["case"] for wrong in value[0]["wrong"]] == ["t0003", "t0007"]


def test_failing_without_a_run_names_the_way_to_one(registry: Registry, lockgate: Lockgate) -> None:
    """A version that was never evaluated has no wrong cases to list."""
    set_up(registry)
    add_version(registry)
    said = lockgate("show", "v1", "--failing")
    assert (said.code, said.err) == (
        1,
        "error: version `v1` has no completed run\nhint: `lockgate evaluate v1 -s support-desk`\n",
    )


def test_one_run_can_be_shown(registry: Registry, lockgate: Lockgate) -> None:
    """A run shows what it ran under, and one that has not ended how to go on."""
    _, suite = set_up(registry)
    run = start_run(registry, add_version(registry), suite)
    said = lockgate("show", "v1", "--run", run.id[:6])
    assert (
        said.out
        == f"""\
run {run.id}  v1 on triage
  ◐ not ended, begun Fri 2026-08-21 09:00 UTC by support-dev
  suite {suite.digest[:8]}, 1 answer a case
  under
    runtime = "test"
"""
    )
    assert said.err == f"next: `lockgate evaluate v1 -s support-desk --resume {run.id[:8]}`\n"


def test_show_as_json(registry: Registry, lockgate: Lockgate) -> None:
    """With --json every digest is whole and every record complete."""
    _, suite = set_up(registry)
    version = released(registry, suite, "one")
    value = lockgate("show", "v1", "--json").json
    assert value["version"]["id"] == version.id
    assert value["components"][0]["files"][0]["path"] == "prompts/system.md"
    assert value["decisions"][0]["used_by"] == 1
    assert value["runs"][0]["record"]["end"]["summary"][0]["metric"] == "accuracy"


def test_diff_shows_effect_above_cause(registry: Registry, lockgate: Lockgate) -> None:
    """The scores with won and lost cases stand on top, the changed words below."""
    _, suite = set_up(registry)
    first = add_version(registry, "Sort it.\nBe brief and kind.")
    second = add_version(registry, "Sort it.\nBe brief and warm.", parent=first)
    evaluated(registry, first, suite, wrong=range(1, 9))
    evaluated(registry, second, suite, wrong=[20])
    said = lockgate("diff", "v1", "v2")
    assert (said.code, said.err) == (0, "")
    assert (
        said.out
        == """\
support-desk  v1 → v2

triage    v1              v2              difference           won lost tied
accuracy  .600 [.39 .79]  .950 [.78 1.0]  +.350 [+.062 +.580]    8    1   11
p95_ms    12 ms           12 ms
  lost t0020
  won  t0001 t0002 t0003 t0004 t0005 t0006 (+2, --full names all)

[prompt]
  prompts/system.md  edited  -1 +1 lines
      Sort it.
    - Be brief and [-kind-].
    + Be brief and {+warm+}.
"""
    )
    assert lockgate("diff", "v2").out == said.out
    full = lockgate("diff", "v1", "v2", "--full").out
    assert "t0007 t0008\n" in full
    assert "mean_ms" in full


def test_diff_of_the_first_version_needs_another(registry: Registry, lockgate: Lockgate) -> None:
    """A version without a parent is compared with one that is named."""
    set_up(registry)
    add_version(registry)
    assert lockgate("diff", "v1").err == (
        "error: `v1` is the first of its line and has no parent to compare with\n"
        "hint: name two: `lockgate diff v1 B`\n"
    )


def test_diff_of_the_same_definition_says_so(registry: Registry, lockgate: Lockgate) -> None:
    """A winner registered as a release does not differ from its experiment."""
    set_up(registry)
    trial = add_version(registry, track="experiment")
    add_version(registry, parent=trial)
    assert lockgate("diff", "x1", "v1").out.endswith("\nno difference: the same definition\n")


def test_diff_with_the_folder_as_it_is_now(
    registry: Registry, folder: Path, lockgate: Lockgate
) -> None:
    """A dot is the folder: settings, tools by parameter, texts by words, moved and mode."""
    set_up(registry)
    registered(registry, folder)
    text = (folder / "lockgate.toml").read_text()
    (folder / "lockgate.toml").write_text(
        text.replace("0.0", "0.7").replace('revision = "1"', 'revision = "2"')
    )
    (folder / "tools/route.json").write_text(TOOL.replace('"bug"', '"bug", "sales"'))
    (folder / "prompts/system.md").write_text("Sort the ticket into a queue.\nBe brief and warm.\n")
    (folder / "prompts/odd [1].md").rename(folder / "prompts/even.md")
    (folder / "bin/run.sh").chmod(0o644)
    said = lockgate("diff", ".")
    assert said.code == 0
    assert (
        said.out
        == """\
support-desk  v1 → folder
  no scores to compare: a folder is not evaluated, only what is registered

[model]
  revision 1 → 2

[prompt]
  prompts/odd [1].md → prompts/even.md  moved
  prompts/system.md  edited  -1 +1 lines
      Sort the ticket into a queue.
    - Be brief and [-kind-].
    + Be brief and {+warm+}.

[generation]
  temperature 0 → 0.7

[tools]
  tools/route.json  edited
    properties.queue.enum  {+sales+}

[code]
  bin/run.sh  mode · executable bit differs
"""
    )
    assert said.err == "next: `lockgate register -s support-desk -m REASON`\n"
    assert lockgate("diff", ".", "v1").out.startswith("support-desk  folder → v1\n")
    assert (
        lockgate("diff", "v1", ".", "--json").json["difference"]["settings"][0]["key"] == "revision"
    )


def test_checkout_and_register_come_back_to_the_same_definition(
    registry: Registry, folder: Path, lockgate: Lockgate
) -> None:
    """A checked-out folder is the version: same definition digest, and its lock says so."""
    set_up(registry)
    version = registered(registry, folder)
    said = lockgate("checkout", "v1", "work/copy")
    assert (said.code, said.out) == (
        0,
        "✔ v1 of support-desk is in work/copy: 5 files, lockgate.toml\n",
    )
    assert said.err == "next: change something there, then `lockgate change -C work/copy`\n"
    copy = registry.root / "work" / "copy"
    draft = read_folder(copy)
    assert draft.definition.digest == version.definition
    assert draft.locked_version == version.id
    assert draft.owner == "support-ml"
    assert (copy / "bin/run.sh").stat().st_mode & 0o100
    assert draft.unclaimed == ()
    again = registered(registry, copy)
    assert again.id == version.id


def test_checkout_never_writes_into_a_folder_that_holds_something(
    registry: Registry, folder: Path, lockgate: Lockgate
) -> None:
    """A folder with anything in it is refused and left as it was."""
    set_up(registry)
    registered(registry, folder)
    target = registry.root / "mine"
    target.mkdir()
    (target / "notes.txt").write_text("keep")
    said = lockgate("checkout", "v1", "mine")
    assert said.code == 2
    assert said.out == ""
    assert "is not empty" in said.err
    assert "hint: name a folder that is new or empty; nothing is replaced" in said.err
    assert [path.name for path in target.iterdir()] == ["notes.txt"]


def test_checkout_of_what_cannot_run_is_refused(registry: Registry, lockgate: Lockgate) -> None:
    """A definition that says not how it is run makes no folder that could be registered again."""
    set_up(registry)
    add_version(registry)
    said = lockgate("checkout", "v1", "copy")
    assert said.code == 1
    assert said.err.startswith("error: `v1` does not say how it is run")
    assert not (registry.root / "copy").exists()


def test_checkout_as_json(registry: Registry, folder: Path, lockgate: Lockgate) -> None:
    """With --json the folder and the whole version id come back."""
    set_up(registry)
    version = registered(registry, folder)
    assert json.loads(lockgate("checkout", "v1", "copy", "--json").out) == {
        "version": version.id,
        "label": "v1",
        "folder": str(registry.root / "copy"),
        "files": 5,
    }


def test_checkout_of_what_is_live(registry: Registry, folder: Path, lockgate: Lockgate) -> None:
    """An environment's name checks out what is live there."""
    _, suite = set_up(registry)
    version = registered(registry, folder)
    run = evaluated(registry, version, suite)
    go_live(registry, version, run)
    assert lockgate("checkout", "production", "copy").code == 0
    assert 'label = "v1"' in (registry.root / "copy/lockgate.lock").read_text()
