"""The hand-off as one page of Markdown, whose commands run as they stand, from top to bottom."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from lockgate.domain.times import shown_time
from lockgate.upkeep.handoff import Asked, Handoff, LiveNow
from lockgate.upkeep.markdown import code, listed, page, plain, shell, table

COMMAND = "handoff"
_KINDS = {
    "promote": "promoted",
    "rollback": "rolled back to",
    "rehearsal": "rehearsal",
    "revert": "reverted to",
    "break_glass": "UNGATED",
}


def handoff_page(told: Handoff) -> str:
    """Return the page; the same values always give the same text."""
    return page(f"{COMMAND} -s {told.system}", _lines(told))


def _lines(told: Handoff) -> Iterator[str]:
    yield f"# Hand-off: {told.system}"
    yield ""
    yield (
        f"How a change of {code(told.system)} goes live and how it is taken back. Run every line "
        "as it stands, in the folder that holds `policy.toml`. You are your login name, or "
        "`LOCKGATE_ACTOR`. Exit code 0: done, 1: refused, 7: a person has to say yes; a refusal "
        "ends with `hint:` and the command that helps."
    )
    yield ""
    yield from table(("", ""), _facts(told))
    yield ""
    if told.missing:
        yield "## Before the first change"
        yield ""
        yield from (f"- {sentence}" for sentence in told.missing)
        yield f"- Then write this page again: `lockgate handoff -s {told.system}`."
        yield ""
    else:
        yield from _loop(told)
    yield from _criteria(told)
    yield from _way_back(told)
    yield from _live(told)
    yield from _upkeep(told)


def _facts(told: Handoff) -> Iterator[tuple[str, str]]:
    owner = f", owner {plain(told.owner)}" if told.owner else ""
    yield "folder", f"{code(told.folder) if told.folder else 'not below this one'}{owner}"
    if told.components:
        files = "1 file" if told.files == 1 else f"{told.files} files"
        yield (
            "a version is",
            f"{listed(told.components)}, {files}: `lockgate definition -s {told.system}`",
        )
    suites = [f"{code(name)} ({cases} cases)" for name, cases in told.suites]
    yield "suites", listed(suites) or "none is applied"
    yield "environments", " → ".join(plain(one.environment) for one in told.asked) or "none yet"


def _loop(told: Handoff) -> Iterator[str]:
    asked = _destination(told)
    yield "## Ship a change: five steps, always in this order"
    yield ""
    for now in told.live:
        if now.environment == told.to and now.held:
            yield f"**{told.to} is held: step 5 waits until it is lifted, see the end of this page.**"
            yield ""
    yield from shell(*_steps(told))
    if asked.approvals:
        yield _reviewed(told, asked, told.next_label)
        yield ""
        yield from shell(
            *_approvals(told, asked, told.next_label),
            f"# 5 promote: {told.to}",
            _command(told, f"promote --to {told.to}"),
        )
    yield (
        "The same in one command: `ship` takes all five steps, stops where one refuses or a person "
        "has to say yes (exit code 7), and goes on from there when it is run again."
    )
    yield ""
    yield from shell(*_shipped(told, asked))


def _shipped(told: Handoff, asked: Asked) -> Iterator[str]:
    edit = _edit(told)
    if edit:
        yield edit
    yield _command(told, f"ship --to {told.to}", "Practice: another empty line")
    if asked.approvals:
        yield from _approvals(told, asked, f"v{int(told.next_label[1:]) + 1}", looks=False)
        yield _command(told, f"ship --to {told.to}")


def _steps(told: Handoff) -> Iterator[str]:
    edit = _edit(told)
    if edit:
        yield "# 1 change: edit what you want to change; this example adds an empty line"
        yield edit
    else:
        yield f"# 1 change: edit a setting in {_path(told)}lockgate.toml or a file it names, then"
    yield _command(told, "change")
    yield "# 2 register: -m says why; nothing registered ever changes"
    owner = "" if told.names_owner else f" --owner {shlex.quote(told.owner or 'ml-team')}"
    yield _command(told, f"register{owner}", "Practice: an empty line")
    yield f"# 3 evaluate: every case of {listed([name for name, _ in told.suites])}"
    yield _command(told, "evaluate")
    for name in told.path:
        asked = _asked(told, name)
        waits = ", exit code 7: a reviewer has to say yes" if asked.approvals else ""
        yield f"# 4 gate: {name}{waits}"
        yield _command(told, f"gate --to {name}")
        if asked.approvals and name != told.to:
            yield from _approvals(told, asked, told.next_label)
        if not asked.approvals or name != told.to:
            yield f"# 5 promote: {name}"
            yield _command(told, f"promote --to {name}")


def _reviewed(told: Handoff, asked: Asked, label: str) -> str:
    who = listed([plain(name) for name in asked.reviewers], "or")
    return (
        f"{asked.approvals} of {who} says yes: neither registrar, owner nor promoter. They see what "
        f"waits with `lockgate approve`, read what differs, then sign with the SSH key that {code(asked.signers or 'the policy')} "
        f"lists{_elsewhere(told, asked, label)}"
    )


def _elsewhere(told: Handoff, asked: Asked, label: str) -> str:
    if told.keys:
        folder = sorted(told.keys.values())[0].rpartition("/")[0]
        return f". This copy is for practice: their keys lie in {code(folder)}, so play them."
    if asked.accept_claimed:
        return ", or are believed by name."
    text = f"lockgate approve {_candidate(asked, label)} --to {asked.environment} -s {told.system}"
    return (
        f": their usual one, `--key FILE` or `LOCKGATE_KEY`. On another machine: `{text} --ask` "
        "prints the text to sign and how it comes back."
    )


def _approvals(told: Handoff, asked: Asked, label: str, *, looks: bool = True) -> Iterator[str]:
    candidate = _candidate(asked, label)
    live = next(one for one in told.live if one.environment == asked.environment)
    yield "# the reviewer" if looks else "# the reviewer, who looks first, as above"
    if looks:
        look = f"diff {asked.environment} {candidate}" if live.label else f"show {candidate}"
        yield _command(told, look)
    base = f"approve {candidate} --to {asked.environment}"
    playable = [name for name in asked.reviewers if name in told.keys]
    for name in playable[: asked.approvals]:
        key = shlex.quote(told.keys[name])
        yield f"LOCKGATE_ACTOR={name} {_command(told, base, 'read, agreed')} --key {key}"
    if not playable:
        yield _command(told, base, "read, agreed")


def _candidate(asked: Asked, label: str) -> str:
    """Return what names the version: where it is live already, else the label it gets."""
    return asked.requires[-1] if asked.requires else label


def _criteria(told: Handoff) -> Iterator[str]:
    if not told.asked:
        return
    yield "## What the gate asks, and who approves"
    yield ""
    yield (
        "Everywhere: a completed run on every suite; it descends from what is live, or says that "
        "it does not (`--reverting LABEL`); a decision counts until it expires or anything moves."
    )
    yield ""
    for asked in told.asked:
        yield f"- **{asked.environment}**"
        yield from (f"  - {words}" for words in asked.criteria)
        yield f"  - {_who(asked)}"
    yield ""


def _who(asked: Asked) -> str:
    if not asked.reviewers:
        return "Nobody has to approve: a pass promotes."
    who = listed([plain(name) for name in asked.reviewers], "or")
    how = f"signed with a key of {code(asked.signers)}" if asked.signers else "by name"
    if asked.signers and asked.accept_claimed:
        how += ", or by name alone, shown as claimed"
    if not asked.approvals:
        return f"Nobody has to approve a pass; where a reviewer decides: {who}, {how}."
    return f"Approved by {asked.approvals} of {who}, {how}; never by registrar, owner or promoter."


def _way_back(told: Handoff) -> Iterator[str]:
    if told.to is None:
        return
    yield "## Take it back"
    yield ""
    if not told.missing:
        yield from shell(
            _command(told, f"rollback {told.to} --yes", "Practice: taking it back"),
            f"lockgate status -s {told.system}",
        )
    yield (
        f"In about a second {told.to} runs the newest version that passed its gate before, whole "
        "and never itself left by a rollback, re-hashed and published. It needs no eval and no "
        "approval; no freeze, hold or missing reviewer stops it; a promotion under way is stopped. "
        "Without `--yes` it shows where it goes and asks."
    )
    yield ""
    yield (
        f"Afterwards two things stay open on purpose: what was left is quarantined everywhere, and "
        f"{told.to} is held, so that nothing brings it back by accident. The folder still holds it, "
        f"and so may the environments before {told.to}: mend it there, or take what is live from "
        f"`lockgate checkout {told.to} DIR -s {told.system}`; `change` says when a folder builds on "
        "what is quarantined. Ship again once the hold is lifted:"
    )
    yield ""
    lift = _command(told, f"lift {told.to}", "Practice is over: the next version mends it")
    yield from (["`" + lift + "`", ""] if told.missing else shell(lift))
    yield (
        f"- Wrong call? `lockgate lift LABEL -s {told.system} -m REASON` with the label that was "
        f"left ends its quarantine; then `lockgate rollback {told.to} -s {told.system} --to LABEL`."
    )
    yield (
        "- Somebody else's attempt was cut off, or nobody knows how it ended: "
        f"`lockgate settle {told.to} -s {told.system}`, safe to repeat."
    )
    if _destination(told).publishes:
        yield (
            "- The registry is locked or broken: "
            f"`lockgate rollback {told.to} -s {told.system} --offline --yes` needs only what is "
            "published, and leads one step back from a promotion; `settle` enters it into the "
            "registry later."
        )
    yield (
        f"- Was it a change at all? `lockgate why '{told.to}@2 hours ago' -s {told.system}` says "
        "what was live then, and who let it in."
    )
    yield ""


def _live(told: Handoff) -> Iterator[str]:
    if not told.live:
        return
    yield "## Live now"
    yield ""
    head = ("environment", "live", "version id", "since", "how", "rollback goes to")
    yield from table(head, map(_live_row, told.live))
    yield ""
    notes = list(_notes(told))
    yield from [*notes, ""] if notes else []


def _notes(told: Handoff) -> Iterator[str]:
    for now in told.live:
        if now.label and now.way_back is None:
            yield f"- {now.environment} has no way back: {plain(now.why_not)}."
        if now.is_quarantined:
            yield f"- {now.label} in {now.environment} is quarantined: take it back or replace it."
        for reason in now.held:
            end = f"lockgate lift {now.environment} -s {told.system} -m REASON"
            yield f"- {now.environment} is held: {plain(reason)}. No promotion until `{end}`."


def _live_row(now: LiveNow) -> tuple[str, ...]:
    if now.label is None or now.since is None:
        return now.environment, "nothing", "", "", "", ""
    how = f"{_KINDS.get(now.kind or '', plain(now.kind))} by {plain(now.by)}"
    if now.approved_by:
        how += f", approved by {listed([plain(name) for name in now.approved_by])}"
    since = shown_time(now.since)
    return (
        now.environment,
        now.label,
        code((now.version or "")[:16]),
        since,
        how,
        now.way_back or "-",
    )


def _upkeep(told: Handoff) -> Iterator[str]:
    if told.review_every is None:
        return
    yield "## Keep it alive"
    yield ""
    if told.rehearsal:
        yield (
            f"- Every {told.rehearse_every}, rehearse the way back: "
            f"`lockgate rehearse {told.rehearsal} -s {told.system}`."
        )
    yield (
        f"- Every {told.review_every}, review: `lockgate review -s {told.system}`. "
        "`lockgate status` says when either is due."
    )
    yield f"- This page: `lockgate handoff -s {told.system} -o FILE`, and `--check` tells when it is old."


def _edit(told: Handoff) -> str | None:
    return f"printf '\\n' >> {shlex.quote(told.edit)}" if told.edit else None


def _path(told: Handoff) -> str:
    return "" if told.folder in (None, ".") else f"{plain(told.folder)}/"


def _command(told: Handoff, words: str, reason: str | None = None) -> str:
    why = f' -m "{reason}"' if reason else ""
    return f"lockgate {words} -s {told.system}{why}"


def _asked(told: Handoff, name: str) -> Asked:
    return next(asked for asked in told.asked if asked.environment == name)


def _destination(told: Handoff) -> Asked:
    return _asked(told, told.to or "")
