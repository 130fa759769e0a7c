"""`lockgate status` and `why`: what is live, what changed, what is next, and why it is so."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    desk,
    emit,
    is_utf8,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
    wrapped,
)
from lockgate.cli.looking import cut, pad, policy_of, screen_width, short_time
from lockgate.domain import figures
from lockgate.domain.times import ago, parse_time, shown_time, time_reading
from lockgate.errors import RegistryTrouble, UsageMistake
from lockgate.shown import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockgate.domain.policy import Policy
    from lockgate.look.status import Place, Status
    from lockgate.look.why import Why

_RECENT = timedelta(hours=24)
_QUIET = timedelta(hours=48)
"""After so long without a change, a rollback is no longer the first thing to think of."""
_KINDS = {
    "promote": "promotion of",
    "rollback": "rollback to",
    "break_glass": "ungated promotion of",
    "rehearsal": "rehearsal with",
    "revert": "revert to",
}
_BEGIN = (
    "open a registry      lockgate --registry DIR",
    "make one here        lockgate init",
    "practise first       lockgate demo, on a sample with real evals",
)


def front_page(registry: str | None) -> int:
    """Print what a bare `lockgate` shows: the status of the registry at hand, else how to begin."""
    try:
        wiring.find_root(registry)
    except RegistryTrouble:
        if registry or os.environ.get(wiring.REGISTRY_VARIABLE):
            raise
        say("Lockgate keeps versions of AI behaviour. There is no registry here or above.")
        for line in _BEGIN:
            say(f"  {line}")
        tell("`lockgate --help` lists the commands")
        return 0
    with desk(registry, read_only=True) as at:
        _show(at, None)
    return 0


@click.command("status", short_help="Tell what is live, what changed last and what is next.")
@system_option
@registry_option
@json_option
def status_command(system: str | None, registry: str | None, as_json: bool) -> None:
    """Tell what is live, what changed last, what is in work and what is next.

    Without -s it is the system of the nearest folder, or the only one; else all, briefly. With
    --json it is a list with one entry a system.
    """
    with desk(registry, read_only=True) as at:
        _show(at, system, as_json=as_json)


def _show(at: Desk, system: str | None, *, as_json: bool = False) -> None:
    from lockgate.look.status import status

    names = _systems(at, system)
    policy = policy_of(at.registry)
    apart = wiring.policy_apart(at.root, at.registry, policy)
    pages = [status(at.registry, name, policy, apart) for name in names]
    if as_json:
        emit(pages)
        return
    if not pages:
        say(f"Lockgate   {at.actor}   {shown_time(at.registry.now(), seconds=True)}")
        say(" nothing is registered here yet")
        tell("next: go into a system's folder, then `lockgate register -m REASON`")
    elif len(pages) == 1:
        show_status(pages[0], at.actor)
        _tell_unrecorded(at, pages, policy)
    else:
        say(f"Lockgate · {len(pages)} systems   {_who(at.actor)}   {_now(pages[0])}")
        for page in pages:
            say()
            _show_brief(page)
        _tell_unrecorded(at, pages, policy)
        tell("\none of them in full: `lockgate status -s SYSTEM`")


def _tell_unrecorded(at: Desk, pages: Sequence[Status], policy: Policy | None) -> None:
    """Tell of generations that were taken without the registry and that it does not know yet."""
    for page in pages:
        for name, environment in policy.environments.items() if policy else ():
            if environment.publish is None:
                continue
            for path in sorted(
                (at.root / environment.publish / page.system).glob("offline-*.json")
            ):
                generation = shown(path.stem.removeprefix("offline-"), limit=8)
                tell(
                    f"generation {generation} of {name} was taken without the registry and is "
                    f"not recorded: `lockgate settle {name} -s {page.system}`"
                )


def _systems(at: Desk, given: str | None) -> list[str]:
    """Return the systems to show: the one that is meant, else all."""
    if given is not None:
        return [wiring.choose_system(at.registry, given)]
    known = at.registry.versions.systems()
    named = wiring.near_system()
    return [named] if named in known and named is not None else known


def _who(actor: str) -> str:
    return f"{actor}@{os.uname().nodename.partition('.')[0]}"


def _now(page: Status) -> str:
    return shown_time(page.now, seconds=True)


def show_status(page: Status, actor: str) -> None:
    """Print the whole page of one system."""
    width = min(screen_width(), 100)
    which = f" ({page.position} of {page.systems})" if page.systems > 1 else ""
    title = f"Lockgate · {page.system}{which}"
    right = f"{_who(actor)}   {_now(page)}"
    say(f"{title}{right:>{max(width - 1 - len(title), len(right) + 3)}}")
    say("─" * (width - 1) if is_utf8() else "-" * (width - 1), dim=True)
    _show_places(page, width)
    _show_due(page, width)
    _show_change(page, width)
    _show_work(page, width)
    _show_scores(page, width)
    if page.events:
        say()
        for event in page.events:
            text = cut(event.text, width - 32)
            who = cut(event.actor, 14)
            say(f" {short_time(event.at, page.now)}  {pad(text, width - 31)} {who:>14}")
    if page.next:
        say()
        say(f" next         {page.next}", bold=True)


def _show_brief(page: Status) -> None:
    width = min(screen_width(), 100)
    count = f"{page.versions} version{'' if page.versions == 1 else 's'}"
    say(f"{shown(page.system)}  ({count})", bold=True)
    _show_places(page, width)
    for one in page.due:
        say(f"   {mark('inconclusive')} {cut(one.what, width - 8)}")
    for waiting in page.waiting:
        say(f"   {mark('waiting')} {cut(waiting.what, width - 8)}")
    if page.next:
        say(f"   next  {page.next}")


def _show_places(page: Status, width: int) -> None:
    if not page.places:
        say(" no policy is applied yet, so nothing can go live")
        return
    names = max(len(place.environment) for place in page.places)
    labels = max(len(place.label or "-") for place in page.places)
    states = [_state(page, place) for place in page.places]
    room = width - names - labels - 36
    words = min(max(len(text) for _, text in states), max(room, 20))
    for place, (state, text) in zip(page.places, states, strict=True):
        lead = f" {place.environment:<{names}}  {place.label or '-':<{labels}}"
        score = _score_text(place)
        back = f"back to {place.way_back}" if place.way_back else ""
        if place.label and not place.way_back:
            back = "no way back"
        line = f"{lead}  {mark(state)} {pad(cut(text, words), words)}  {score:<14}  {back}"
        say(line.rstrip())
        below = " " * (names + labels + 5)
        if place.open_attempt:
            say(
                f"{below}{mark('unknown')} unknown: {cut(place.open_attempt, width - len(below) - 12)}"
            )
        for glass in place.unclosed:
            attempt = glass.attempt
            text = (
                f"open break-glass: generation {attempt.generation} by {attempt.actor}, "
                f"ticket {attempt.ticket}"
            )
            say(f"{below}{mark('fail')} {cut(text, width - len(below) - 3)}")
        for hold in place.holds:
            reason = cut(f"held by {hold.actor}: {hold.reason}", width - len(below) - 3)
            say(f"{below}{mark('fail')} {reason}")


def _show_due(page: Status, width: int) -> None:
    """Print what is due: a line each when it fits with its command, else two."""
    if page.due:
        say()
    for one in page.due:
        command = f"`{one.command}`"
        room = width - len(command) - 19
        if len(one.what) <= room:
            say(f" due          {mark('inconclusive')} {cut(one.what, room)}: {command}")
        else:
            say(f" due          {mark('inconclusive')} {cut(one.what, width - 17)}")
            say(f"                {command}")


def _state(page: Status, place: Place) -> tuple[str, str]:
    if place.since is None:
        return "skipped", "nothing is live"
    past = page.now - place.since
    if place.is_quarantined:
        ungated = "ungated, " if place.is_ungated else ""
        return "fail", f"{ungated}quarantined, live {ago(past)}"
    verb = {"rollback": "rolled back", "break_glass": "ungated"}.get(place.kind or "", "changed")
    if past < _RECENT:
        return "inconclusive", f"{verb} {ago(past)} ago by {place.actor}"
    if place.is_ungated:
        return "inconclusive", f"ungated, live {ago(past)}"
    return "pass", f"live {ago(past)}, {place.actor}"


def _score_text(place: Place) -> str:
    score = place.score
    if score is None:
        return "no score" if place.label else ""
    text = figures.metric(score.metric, score.value)
    if score.lower is not None and score.upper is not None:
        text += f" {figures.interval(score.lower, score.upper)}"
    return text


def _show_change(page: Status, width: int) -> None:
    change = page.last_change
    if change is None:
        return
    say()
    way = f"{change.before} → {change.after}" if change.before else f"first is {change.after}"
    verb = {"rollback": "rolled back ", "break_glass": "ungated "}.get(change.kind, "")
    approved = f", approved by {', '.join(change.approved_by)}" if change.approved_by else ""
    who = f"{change.actor}{approved}"
    lead = f" last change  {verb}{change.environment} {way}  {short_time(change.at, page.now)}  "
    say(lead + cut(who, max(width - len(lead) - 1, 14)))
    for line in change.difference[:3]:
        say(f"              {cut(line, width - 15)}")
    if len(change.difference) > 3:
        say(f"              {len(change.difference) - 3} more components, see `lockgate diff`")
    quiet = page.unchanged_for
    if quiet is not None and quiet >= _QUIET:
        say(f"              no change for {ago(quiet)}: rolling back is unlikely to help")


def _show_work(page: Status, width: int) -> None:
    if not (page.in_work or page.waiting or page.open_runs):
        return
    say()
    if page.in_work is not None:
        steps = "  ".join(f"{step.name} {mark(step.mark)}" for step in page.in_work.steps)
        where = f"  to {page.in_work.environment}" if page.in_work.environment else ""
        say(f" in work      {page.in_work.label}  {steps}{where}")
        for step in page.in_work.steps:
            if step.note and not (step.name == "promote" and page.waiting):
                say(f"              {step.name}: {cut(step.note, width - 18 - len(step.name))}")
    for waiting in page.waiting:
        from_whom = " or ".join(waiting.reviewers) or "nobody who may"
        say(f" waiting      {cut(waiting.what, width - 15)}")
        text = f"{waiting.given} of {waiting.needed} approvals, from {from_whom}"
        say(f"              {cut(text, width - 15)}")
    for run in page.open_runs:
        of = f" of {run.total}" if run.total is not None else ""
        past = ago(page.now - run.at)
        text = f"{run.label} on {run.suite}, {run.answered}{of} answered, {past} ago by {run.actor}"
        say(f" open run     {mark('running')} {cut(text, width - 17)}")


def _show_scores(page: Status, width: int) -> None:
    if len(page.scores) < 2:
        return
    fit = max((width - 15) // 5, 1)
    points = page.scores[-fit:]
    say()
    name = cut(page.suite or "", 12)
    say(f" {name:<12} {' '.join(f'{point.label:<4}' for point in points)}".rstrip())
    values = " ".join(f"{figures.score(point.value):<4}" for point in points)
    say(f" {'':<12} {values}".rstrip())
    if is_utf8():
        bars = figures.bars([point.value for point in points])
        say(f" {'':<12} {'    '.join(bars)}")


@click.command(
    "why",
    short_help="Say what is or was live in an environment, and by which decision.",
)
@click.argument("place", metavar="ENV[@TIME]")
@system_option
@registry_option
@json_option
def why_command(place: str, system: str | None, registry: str | None, as_json: bool) -> None:
    """Say what is or was live in an environment, since when, and by which decision.

    TIME is `2026-08-21`, `2026-08-21 03:10`, `02:44`, `yesterday 02:44`, `fri 16:00` or
    `3 days ago`; without a zone it is UTC. How it was read is said back.
    """
    environment, _, when = place.partition("@")
    with desk(registry, read_only=True) as at:
        from lockgate.look.why import why

        name = wiring.choose_system(at.registry, system)
        now = at.registry.now()
        moment = _moment(when, now) if "@" in place else now
        answer = why(at.registry, name, environment, policy_of(at.registry), moment)
    if "@" in place:
        tell(time_reading(when, moment, now))
    if as_json:
        emit(answer)
    else:
        show_why(answer, now)


def _moment(text: str, now: datetime) -> datetime:
    if not text.strip():
        raise UsageMistake("say a time after `@`", hint="such as `lockgate why production@02:44`")
    try:
        moment = parse_time(text, now)
    except ValueError as error:
        raise UsageMistake(str(error), hint="such as `lockgate why production@02:44`") from error
    if moment > now:
        raise UsageMistake(
            f"`{text}` lies in the future: {shown_time(moment)}", hint="leave @TIME out for now"
        )
    return moment


def show_why(answer: Why, now: datetime) -> None:
    """Print what was live and everything that let it in."""
    from lockgate.look.facts import recorded_at

    width = min(screen_width(), 100)
    is_now = answer.at == now
    if answer.version is None or answer.deployment is None:
        verb = "is" if is_now else "was"
        say(f"nothing {verb} live in {answer.environment} of {answer.system}")
        if answer.first is not None:
            say(f"  the first promotion there came {shown_time(recorded_at(answer.first))}")
        _show_doubt(answer, width)
        return
    attempt, since = answer.deployment.attempt, recorded_at(answer.deployment)
    say(
        f"{answer.system} {answer.environment}: {answer.version.label} "
        f"{'is' if is_now else 'was'} live, generation {attempt.generation}",
        bold=True,
    )
    rows = [("since", f"{shown_time(since, seconds=True)}, {ago(now - since)} ago")]
    if answer.until is not None:
        end = recorded_at(answer.until)
        by = answer.until.attempt
        what = _KINDS.get(by.kind, f"{by.kind} of")
        ended = f"{what} {answer.until_label} by {by.actor}"
        rows.append(("until", f"{shown_time(end, seconds=True)}, {ended}"))
    elif not is_now:
        rows.append(("until", "now: it is still live"))
    rows.append(("how", _how(answer)))
    if attempt.ticket:
        rows.append(("ticket", attempt.ticket))
    if attempt.reason:
        rows.append(("reason", attempt.reason))
    version = answer.version
    registered = f"{version.id[:8]} by {version.registrar}, owner {version.owner}: {version.reason}"
    rows.append(("version", registered))
    rows += [
        ("note", f"{note.text} ({note.actor}, {shown_time(note.at)})") for note in answer.notes
    ]
    if attempt.kind == "break_glass":
        closing = answer.closing
        rows.append(
            (
                "closed",
                f"by {closing.actor}, {shown_time(closing.at)}: {closing.reason}"
                if closing
                else "not yet: promotions stop until somebody else runs "
                f"`lockgate close {answer.environment} -s {answer.system} -m REASON`",
            )
        )
    rows += [
        ("since then", f"quarantined {shown_time(kept.at)} by {kept.actor}: {kept.reason}")
        for kept in answer.quarantines
    ]
    if answer.difference:
        rows += [("changed" if i == 0 else "", line) for i, line in enumerate(answer.difference)]
    for name, text in rows:
        for line in _lines(text, width - 14):
            say(f"  {name:<10} {line}".rstrip())
            name = ""
    _show_decision(answer, width)
    _show_doubt(answer, width)


def _how(answer: Why) -> str:
    assert answer.deployment is not None
    attempt = answer.deployment.attempt
    way = f", after {answer.before}" if answer.before else ", the first there"
    how = {
        "promote": f"promoted by {attempt.actor}{way}",
        "rollback": f"rolled back by {attempt.actor}{way}; a rollback needs no decision",
        "break_glass": f"ungated: {attempt.actor} broke the glass{way}; no gate let it in",
        "rehearsal": f"rehearsal by {attempt.actor}{way}: made worse on purpose",
        "revert": f"reverted by {attempt.actor}{way}, at the end of a rehearsal; needs no decision",
    }
    return how.get(attempt.kind, f"{attempt.kind} by {attempt.actor}{way}")


def _lines(text: str, width: int) -> list[str]:
    """Return a text of any number of lines as one paragraph."""
    return wrapped(" ".join(text.split()), width)


def _show_decision(answer: Why, width: int) -> None:
    decision = answer.decision
    if decision is None:
        say(f"  {'decision':<10} {mark('inconclusive')} none: no gate let it in")
        if answer.closing is not None and answer.closing.decision is not None:
            say(f"  {'':<10} decision {answer.closing.decision[:8]} passed afterwards")
        return
    say()
    word = {"pass": "pass", "fail": "fail"}.get(decision.outcome, "inconclusive")
    once = ""
    if answer.deployment and answer.decided_generation != answer.deployment.attempt.generation:
        once = f", for its promotion as generation {answer.decided_generation}"
    say(
        f"  decision   {mark(word)} {decision.outcome}, {decision.id[:8]} by {decision.actor}, "
        f"{shown_time(decision.at)}{once}"
    )
    for finding in decision.findings:
        first, *others = _lines(finding.reason, width - 39)
        say(f"    {mark(finding.outcome)} {pad(cut(finding.rule, 31), 31)} {first}")
        for line in others:
            say(f"{'':<38}{line}")
    for approval in answer.approvals:
        state = "pass" if approval.word == "yes" else "fail"
        key = f"key {approval.key}" if approval.key else "claimed, no key"
        note = f": {approval.note}" if approval.note else ""
        text = f"{approval.signer} said {approval.word}, {key}{note}"
        say(f"  approval   {mark(state)} {cut(text, width - 16)}")
    if not decision.approvals_needed:
        say("  approval   none needed")
    for used in answer.runs:
        end = used.run.end
        found = end.summary[0] if end and end.summary else None
        score = f", {found.metric} {figures.metric(found.metric, found.value)}" if found else ""
        text = f"{used.run.run.id[:8]} {used.label} on {used.suite}{score} ({used.role})"
        say(f"  run        {cut(text, width - 14)}")
    say(
        f"  policy     {decision.policy[:8]}, compared with generation {decision.baseline_generation}"
    )


def _show_doubt(answer: Why, width: int) -> None:
    if answer.in_doubt is None:
        return
    attempt = answer.in_doubt.attempt
    text = (
        f"generation {attempt.generation} was taken {shown_time(attempt.at)} by {attempt.actor} "
        "and was not settled then"
    )
    say(f"  {mark('unknown')} unknown  {cut(text, width - 14)}")
