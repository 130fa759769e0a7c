"""What the README shows is true: its commands run, its example digests are recomputed.

The two install lines are run by `.ci/run`, exactly as printed, in fresh virtual environments.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.cli.main import COMMANDS
from tests.workspace.recompute import definition_digest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = sorted(set(re.findall(r"`(lockgate [^`]+)`", README)))

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="the README signs with ssh-keygen"
)


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Give a function that runs a line of bash with `lockgate` on the PATH."""
    folder = tmp_path_factory.mktemp("readme")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    script = bin_folder / "lockgate"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lockgate "$@"\n')
    script.chmod(0o755)

    def run(line: str, cwd: Path = folder, actor: str = "ml-team") -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=cwd,
            env={
                **os.environ,
                "PATH": f"{bin_folder}:{os.environ['PATH']}",
                "LOCKGATE_ACTOR": actor,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
        return done.stdout

    run.folder = folder  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="module")
def desk(shell) -> Path:  # type: ignore[no-untyped-def]
    """Follow the README's first block: a registry, and a first version in production."""
    block = next(block for block in blocks("sh") if "lockgate init" in block)
    shell(" && ".join(block.strip().splitlines()))
    return shell.folder / "desk"


def test_both_install_lines_stand_on_the_first_screen() -> None:
    """A newcomer sees both commands without scrolling."""
    first = README.splitlines()[:12]
    assert sum(line.startswith("python3 -m venv") for line in first) == 2


def test_the_example_definition_has_the_digest_that_is_printed(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The worked example holds for the product and for a recomputation that shares no code."""
    settings = next(block for block in blocks("toml") if 'name = "hello"' in block)
    code = blocks("python")[0]
    (tmp_path / "prompts").mkdir()
    (tmp_path / "lockgate.toml").write_text(settings)
    (tmp_path / "answer.py").write_text(code)
    (tmp_path / "prompts" / "system.md").write_text("Answer in one sentence.\n")
    session = next(block for block in blocks("console") if "sha256sum" in block)
    *_, printed = re.findall(r"^([0-9a-f]{64})  -$", session, re.MULTILINE)

    shell("lockgate init registry", cwd=tmp_path)
    changed = json.loads(shell("lockgate --registry registry change -C . --json", cwd=tmp_path))
    assert changed["definition"] == printed
    body = re.search(r"printf '%s' '(.*)' \| sha256sum", session)
    assert body is not None
    components = json.loads(body[1])["components"]
    components["code"]["files"] = {"answer.py": code}
    components["prompt"]["files"] = {"prompts/system.md": "Answer in one sentence.\n"}
    assert definition_digest(components) == printed
    for command, shown in re.findall(r"^\$ (.*)\n((?:[^$\n].*\n?)+)", session, re.MULTILINE):
        assert shell(command, cwd=tmp_path).strip() == shown.strip()


def test_every_command_shown_runs(desk: Path, shell) -> None:  # type: ignore[no-untyped-def]
    """Each command in the README is run, in an order in which it makes sense."""
    prompt = desk / "systems" / "first-system" / "prompts" / "question.txt"
    key = desk / "KEY"
    shell(f"ssh-keygen -q -t ed25519 -N '' -f {key} && mkdir -p other")
    _ask_for_a_reviewer(desk)
    shell("lockgate policy apply", cwd=desk)
    prompt.write_text(prompt.read_text() + "which\n")
    ran = {"lockgate policy apply"}
    for line in (
        "lockgate change",
        "lockgate register -m REASON",
        "lockgate evaluate v2",
        "lockgate gate v2 --to staging",
        "lockgate promote v2 --to staging",
        "lockgate suite apply",
        "lockgate status",
        "lockgate log",
        "lockgate log --all",
        "lockgate tree",
        "lockgate show v2",
        "lockgate show v2 --definition | sha256sum",
        "lockgate diff v1 v2",
        "lockgate search TEXT",
        "lockgate why production",
        "lockgate report --since 12h",
        "lockgate ready production",
        "lockgate handoff -o HANDOFF.md",
        "lockgate handoff --check -o HANDOFF.md",
        "lockgate definition -o DEFINITION.md",
        "lockgate evidence v2 -o v2.tar",
        "lockgate checkout v1 DIR",
        "lockgate approve",
        "lockgate --help",
    ):
        shell(line, cwd=desk)
        ran.add(line)
    version = json.loads(shell("lockgate show v2 --json", cwd=desk))["version"]
    hashed = shell("lockgate show v2 --definition | sha256sum", cwd=desk)
    assert hashed == f"{version['definition']}  -\n"
    waiting = subprocess.run(
        [sys.executable, "-m", "lockgate", "gate", "v2", "--to", "production"],
        cwd=desk,
        capture_output=True,
        check=False,
    )
    assert waiting.returncode == 7
    ask = "lockgate approve v2 --to production --ask > request.txt"
    sign = "ssh-keygen -Y sign -n lockgate -f KEY request.txt"
    take = "lockgate approve v2 --to production --take request.txt"
    assert f"`{sign}`" in README
    for line in (ask, sign, take, "lockgate promote v2 --to production"):
        shell(line, cwd=desk)
        ran.add(line)
    upkeep = next(block for block in blocks("sh") if "lockgate review" in block)
    for line in upkeep.strip().splitlines():
        shell(f"{line} || test $? = 1", cwd=desk)  # a review has something to say here
    way_back = next(block for block in blocks("sh") if "lockgate rollback" in block)
    for line in (*way_back.strip().splitlines(), "lockgate settle production"):
        shell(line, cwd=desk)
        ran.add(line)
    prompt.write_text(prompt.read_text() + "whose\n")
    shell("lockgate register -C systems/first-system -m 'at night'", cwd=desk)
    glass = "lockgate promote v3 --to production --break-glass --ticket OPS-7 -m REASON"
    shell(f"{glass} --yes", cwd=desk)
    shell("lockgate rollback production --yes", cwd=desk)
    close = "lockgate close production -m REASON"
    shell(f"LOCKGATE_ACTOR=second {close}", cwd=desk)
    shell("lockgate note 3 -m TEXT", cwd=desk)
    ran |= {glass, close, "lockgate note 3 -m TEXT"}
    elsewhere = {"lockgate resolve support-desk production", "lockgate deploy-check production"}
    elsewhere |= {'lockgate deploy-check production --receipt "$LOCKGATE_RECEIPT"'}  # a hook's
    elsewhere |= {"lockgate resolve"}  # named in the table of benchmarks
    elsewhere |= {"lockgate rollback production -s support-desk --offline"}  # test_offline.py
    elsewhere |= {"lockgate settle production --as live -m REASON"}  # test_lost_hook.py
    assert {line for line in SHOWN if len(line.split()) > 1} - ran - elsewhere == set()
    assert {line.split()[1] for line in SHOWN} - {"--help"} <= set(COMMANDS)


@pytest.fixture(scope="module")
def told(shell) -> str:  # type: ignore[no-untyped-def]
    """Play the demo once, in the folder `story`, and return what it told."""
    return shell("lockgate demo story --no-tui")


def test_what_is_published_can_be_resolved_and_checked(shell, told: str) -> None:  # type: ignore[no-untyped-def]
    """The sample publishes: a pipeline may deploy it, and a server gets the folder."""
    story = shell.folder / "story"
    state = story / "state.json"
    assert "`lockgate deploy-check production`" in README
    shell("lockgate deploy-check production -s support-desk", cwd=story)
    folder = shell(f"lockgate resolve support-desk production --state {state}", cwd=story)
    assert (Path(folder.strip()) / "assistant.py").is_file()
    code = (
        "import lockgate; print(lockgate.resolve('support-desk', 'production', "
        f"root='published/production', state='{state}').label)"
    )
    assert shell(f'"{sys.executable}" -c "{code}"', cwd=story).strip() == "v8"


def test_the_sample_is_rehearsed_as_it_is_printed(shell, told: str) -> None:  # type: ignore[no-untyped-def]
    """The gate refuses the worse version, catches every way to get worse, and what is live holds."""
    story = shell.folder / "story"
    rehearse, gate_only, recheck = next(
        block for block in blocks("sh") if "lockgate rehearse" in block
    ).splitlines()
    said = " ".join(shell(rehearse, cwd=story).split())
    assert "✔ detected in" in said and "87 files verified" in said
    assert "✔ the gate catches 2 of 2 ways to get worse" in shell(gate_only, cwd=story)
    assert "is as good as when it was approved" in shell(recheck, cwd=story)


def workflow() -> tuple[str, str]:
    """Return the two jobs of the README's workflow, as text; the test extra brings no YAML."""
    (block,) = blocks("yaml")
    head, jobs = block.split("jobs:\n")
    assert head.startswith("env:\n  REGISTRY: /")
    found = re.split(r"^  (\w+):\n", jobs, flags=re.MULTILINE)[1:]
    assert found[::2] == ["check", "deploy"]
    return found[1], found[3]


def run_of(job: str) -> str:
    """Return the shell script of a job's only `run`."""
    (script,) = re.findall(r"^      - run: (?:\|\n)?((?:.+\n?)+)", job, re.MULTILINE)
    return str(script)


def test_the_workflow_gives_credentials_only_after_the_check() -> None:
    """`deploy` needs `check`, and it alone names the environment whose secrets deploy."""
    check, deploy = workflow()
    assert re.search(r"^    needs: check\b", deploy, re.MULTILINE)
    assert re.search(r"^    environment: production\b", deploy, re.MULTILINE)
    assert "environment:" not in check and "secrets" not in check and "needs:" not in check


def test_the_workflow_runs_as_it_is_printed(shell, told: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The check passes and deploys what is live; a tampered byte stops either job before it does."""
    registry = tmp_path / "registry"
    shutil.copytree(shell.folder / "story", registry)
    deploy_script = tmp_path / "deploy.sh"
    deploy_script.write_text('#!/bin/sh\necho "$1" > deployed\n')
    deploy_script.chmod(0o755)

    def job(text: str) -> int:
        script = tmp_path / "step.sh"
        script.write_text(run_of(text))
        step = f"REGISTRY={registry} XDG_STATE_HOME={tmp_path} bash -e {script}"
        return int(shell(f"{step} > out 2>&1 && echo 0 || echo $?", cwd=tmp_path))

    check, deploy = workflow()
    assert (job(check), job(deploy)) == (0, 0)
    folder = Path((tmp_path / "deployed").read_text().strip())
    assert (folder / "assistant.py").is_file() and folder.is_relative_to(registry)
    (tmp_path / "deployed").unlink()
    (folder / "extra.py").write_text("")
    assert (job(check), job(deploy)) == (6, 6)
    assert not (tmp_path / "deployed").exists()


def _ask_for_a_reviewer(desk: Path) -> None:
    """Turn production into an environment with a reviewer, as policy.toml's comments say."""
    policy = desk / "policy.toml"
    text = policy.read_text()
    production = text.index("[environments.production]")
    head, tail = text[:production], text[production:]
    tail = tail.replace('stakes = "low"', "", 1)
    for key in ("stakes", "reviewers", "signers"):
        tail = re.sub(rf"^# ({key} = .*)$", r"\1", tail, count=1, flags=re.MULTILINE)
    policy.write_text(head + tail)
    public = (desk / "KEY.pub").read_text().split()
    (desk / "signers").write_text(f'ml-lead namespaces="lockgate" {public[0]} {public[1]}\n')


def test_the_refusal_the_readme_quotes_is_what_the_story_tells(told: str) -> None:
    """Every figure of the quoted scene appears in the story as it is played here."""
    told = " ".join(told.split())
    quoted = next(block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL))
    for figure in re.findall(r"\[[^\]]+\]|won \d+, lost \d+|[+-]?\.\d{3}", quoted):
        assert figure in told


def test_the_table_of_exit_codes_is_the_one_of_the_errors() -> None:
    """Every exit code in the README is one that an error carries, and the other way round."""
    from lockgate import errors

    line = next(line for line in README.splitlines() if line.startswith("Exit codes:"))
    listed = {int(code) for code in re.findall(r"(?:^|[ ·])(\d+) ", line)}
    carried = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LockgateError)
    }
    assert listed == carried | {0}
