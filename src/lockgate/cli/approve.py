"""`lockgate approve` and `reject`: a reviewer's word, signed with a key."""

from __future__ import annotations

from pathlib import Path

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    F,
    desk,
    emit,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
)
from lockgate.domain.release import Approval, Decision, Proposal
from lockgate.domain.version import Version
from lockgate.errors import Refused, UsageMistake
from lockgate.loop.approve import (
    Word,
    approve_decision,
    approve_proposal,
    request_text,
    requests,
)
from lockgate.shown import shown

MAX_TAKEN_BYTES = 64 * 1024


def _options(function: F) -> F:
    options = (
        click.option("--to", "environment", metavar="ENV", help="The environment."),
        click.option("--proposal", metavar="ID", help="A proposed policy or suite instead."),
        click.option("-m", "--note", default="", metavar="NOTE", help="A word for the record."),
        click.option("--as", "signer", metavar="NAME", help="Your name as a reviewer."),
        click.option(
            "--key", metavar="FILE", help="Private key to sign with; else your usual one."
        ),
        click.option("--ask", is_flag=True, help="Print the text to sign elsewhere, and stop."),
        click.option("--take", metavar="FILE", help="Take FILE.sig, made elsewhere over FILE."),
        system_option,
        registry_option,
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("approve", short_help="Say yes to a decision, signed; alone: what waits for me.")
@click.argument("version", required=False, metavar="[V]")
@_options
def approve_command(version: str | None, **options: object) -> None:
    """Say yes to a decision of the gate, or list what waits for a reviewer.

    With V and --to it signs with your SSH key. A reviewer on another machine needs only a text
    and ssh-keygen: `lockgate approve V --to ENV --ask > request.txt`, there
    `ssh-keygen -Y sign -n lockgate -f KEY request.txt`, then bring request.txt.sig back and
    `lockgate approve V --to ENV --take request.txt`.
    """
    _answer("yes", version, **options)  # type: ignore[arg-type]


@click.command("reject", short_help="Say no to a decision, signed.")
@click.argument("version", required=False, metavar="[V]")
@_options
def reject_command(version: str | None, **options: object) -> None:
    """Say no to a decision of the gate; it stays no until somebody asks anew."""
    if not version and not options["proposal"]:
        raise UsageMistake("say what to reject", hint="`lockgate approve` lists what waits")
    _answer("no", version, **options)  # type: ignore[arg-type]


def _answer(
    word: str,
    version: str | None,
    *,
    environment: str | None,
    proposal: str | None,
    note: str,
    signer: str | None,
    key: str | None,
    ask: bool,
    take: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    with desk(registry, read_only=ask) as at:
        if version is None and proposal is None:
            _list(at, system, as_json)
            return
        label = ""
        subject: Decision | Proposal
        if proposal is not None:
            subject = _proposal(at, proposal)
            candidate = None
        else:
            candidate, subject = _decision(at, system, str(version), environment)
            label = candidate.label
        if ask:
            click.echo(request_text(at.registry, subject, word, label).decode(), nl=False)
            tell(_after_asking(word, subject, label))
            return
        text = request_text(at.registry, subject, word, label)
        said = Word(
            word, note, signer, Path(key) if key else None, _taken(take, text) if take else None
        )
        approval = _record(at, candidate, subject, said)
        following = _following(at, subject, label)
    if as_json:
        emit(approval)
        return
    how = f"key {approval.key}" if approval.key else "claimed, no key"
    state = "pass" if word == "yes" else "fail"
    what = f"{label} to {environment}" if label else f"proposal {subject.id[:12]}"
    say(f"{mark(state)} {shown(approval.signer)} says {word} to {what}  ({how})")
    if word == "yes":
        tell(f"next: `{following}`")


def _following(at: Desk, subject: Decision | Proposal, label: str) -> str:
    """Return the command that a yes opens the way for."""
    if isinstance(subject, Proposal):
        return f"lockgate {subject.kind} apply"
    from lockgate.upkeep.closing import open_glass

    if open_glass(at.registry, subject.system, subject.environment, subject.version):
        return f"lockgate close {subject.environment} -s {subject.system} -m REASON"
    return f"lockgate promote {label} --to {subject.environment} -s {subject.system}"


def _after_asking(word: str, subject: Decision | Proposal, label: str) -> str:
    command = "approve" if word == "yes" else "reject"
    what = f"--proposal {subject.id[:12]}"
    if isinstance(subject, Decision):
        what = f"{label} --to {subject.environment} -s {subject.system}"
    return (
        "next: save this text as FILE, sign it with `ssh-keygen -Y sign -n lockgate -f KEY FILE`, "
        f"and bring FILE.sig back: `lockgate {command} {what} --take FILE`"
    )


def _record(
    at: Desk, candidate: Version | None, subject: Decision | Proposal, said: Word
) -> Approval:
    policy = wiring.applied_policy(at.registry)
    if isinstance(subject, Proposal):
        return approve_proposal(
            at.registry, subject, policy, said, signing=wiring.signing(), actor=at.actor
        )
    assert candidate is not None  # a decision is always about a version
    return approve_decision(
        at.registry,
        subject,
        candidate,
        policy.environment(subject.environment),
        said,
        signing=wiring.signing(),
        actor=at.actor,
    )


def _decision(
    at: Desk, system: str | None, text: str, environment: str | None
) -> tuple[Version, Decision]:
    name = wiring.choose_system(at.registry, system)
    version = wiring.choose_version(at.registry, name, text)
    if environment is None:
        raise UsageMistake(
            "say for which environment",
            hint=f"`lockgate approve {text} --to ENV`; `lockgate approve` lists what waits",
        )
    target = wiring.applied_policy(at.registry).environment(environment)
    decision = at.registry.releases.newest_decision(version.id, environment)
    if decision is None:
        raise Refused(
            f"the gate has not decided about {version.label} and {environment} yet",
            hint=f"`lockgate gate {version.label} --to {environment} -s {name}`",
        )
    if not decision.approvals_needed and not target.reviewers:
        raise Refused(
            f"{environment} asks no reviewer: {version.label} needs no approval there",
            hint=f"`lockgate promote {version.label} --to {environment} -s {name}`",
        )
    return version, decision


def _proposal(at: Desk, text: str) -> Proposal:
    found = at.registry.releases.proposal(text)
    if found is None:
        raise UsageMistake(f"there is no proposal `{text}`", hint="`lockgate approve` lists them")
    return found


def _taken(take: str, text: bytes) -> str:
    path = Path(take.removesuffix(".sig"))
    signature = path.with_name(path.name + ".sig")
    try:
        if path.exists() and path.read_bytes()[:MAX_TAKEN_BYTES] != text:
            raise Refused(
                f"`{path}` is not the text of this request",
                hint="print it again with --ask: a text for another decision cannot be used",
            )
        with signature.open("rb") as stream:
            data = stream.read(MAX_TAKEN_BYTES)
    except OSError as error:
        raise UsageMistake(
            f"cannot read `{error.filename}`: {error.strerror}",
            hint="--take FILE reads FILE.sig, which ssh-keygen wrote beside FILE",
        ) from error
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise UsageMistake(
            f"`{signature}` is not a signature", hint="ssh-keygen -Y sign writes text"
        ) from error


def _is_live(at: Desk, decision: Decision | None) -> bool:
    """Tell whether a decision asks about what is live already: nobody waits for that."""
    if decision is None:
        return False
    live = at.registry.releases.live(decision.system, decision.environment)
    if live is None or live.attempt.version != decision.version:
        return False
    return not live.is_ungated  # what is live ungated is closed by a decision with approvals


def _list(at: Desk, system: str | None, as_json: bool) -> None:
    policy = wiring.applied_policy(at.registry)
    systems = at.registry.versions.systems()
    if system is not None:
        systems = [wiring.choose_system(at.registry, system)]
    found = [
        request
        for request in requests(at.registry, policy, systems)
        if not _is_live(at, request.decision)
    ]
    if as_json:
        emit(
            [
                {
                    "id": request.subject,
                    "what": request.what,
                    "reviewers": request.reviewers,
                    "given": request.given,
                    "needed": request.needed,
                }
                for request in found
            ]
        )
        return
    if not found:
        say("nothing waits for a reviewer")
        return
    for request in found:
        command = f"lockgate approve --proposal {request.subject[:12]}"
        if request.decision is not None:
            version = at.registry.versions.get(request.decision.version)
            label = version.label if version else request.decision.version[:12]
            command = (
                f"lockgate approve {label} --to {request.decision.environment}"
                f" -s {request.decision.system}"
            )
        names = " or ".join(request.reviewers)
        say(f"{mark('waiting')} {shown(request.what)}")
        say(f"    {request.given} of {request.needed} approvals, from {shown(names)}")
        say(f"    {command}")
