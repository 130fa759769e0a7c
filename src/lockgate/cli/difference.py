"""How `lockgate diff` reads: the effect on the scores on top, then what differs, part by part."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.common import say, tell
from lockgate.cli.looking import Cell, cut, screen_width, table
from lockgate.domain import figures
from lockgate.shown import shown

if TYPE_CHECKING:
    from lockgate.domain.difference import TextLine
    from lockgate.domain.evidence import MetricSummary
    from lockgate.look.compare import Comparison, FileView, MetricEffect, ParameterChange

SELDOM_ASKED = ("p50_ms", "mean_ms", "tokens_in")
"""Metrics that only the whole story tells."""
_CASES_SHOWN = 6
_FILES_SHOWN = 10
_LINES_SHOWN = 24
_LONGEST_EQUAL = 40
"""Longer stretches that are equal inside a changed line are shortened."""


def show_comparison(compared: Comparison, *, full: bool) -> None:
    """Print two versions side by side; `full` leaves nothing out."""
    say(f"{compared.system}  {compared.before} → {compared.after}", bold=True)
    _show_effects(compared, full)
    if compared.difference.is_empty:
        say()
        say("no difference: the same definition")
        return
    for name in compared.difference.components():
        say()
        note = ""
        if name in compared.difference.components_added:
            note = "  (component added)"
        elif name in compared.difference.components_removed:
            note = "  (component removed)"
        say(f"[{name}]{note}", bold=True)
        for setting in compared.difference.settings:
            if setting.component == name:
                say(f"  {_one_line(setting.text(), full)}")
        _show_files([file for file in compared.files if file.change.component == name], full)


def _one_line(text: str, full: bool) -> str:
    return shown(text) if full else cut(text, screen_width() - 3)


def _show_effects(compared: Comparison, full: bool) -> None:
    if compared.why_no_effect:
        say(f"  no scores to compare: {compared.why_no_effect}")
        if compared.hint:
            tell(f"next: `{compared.hint}`")
        return
    for effect in compared.effects:
        earlier = "" if effect.is_applied else " (an earlier suite)"
        metrics = [m for m in effect.metrics if full or m.metric not in SELDOM_ASKED]
        head = (f"{effect.suite}{earlier}", compared.before, compared.after, "difference")
        say()
        for line in table([(*head, _counts("won", "lost", "tied")), *map(_effect_row, metrics)]):
            say(line)
        for metric in metrics if full else metrics[:1]:
            name = f"on {metric.metric}: " if full else ""
            for word, cases in (("lost", metric.lost), ("won", metric.won)):
                if cases:
                    say(f"  {word:<4} {name}{_cases(cases, full)}")


def _effect_row(effect: MetricEffect) -> tuple[Cell, ...]:
    difference, counts = "", ""
    if effect.paired is not None:
        paired = effect.paired
        difference = figures.signed(paired.difference)
        if paired.interval is not None:
            low, high = paired.interval.lower, paired.interval.upper
            difference += f" {figures.signed_interval(low, high)}"
        counts = _counts(paired.won, paired.lost, paired.tied)
    name = cut(effect.metric, max(screen_width() - 71, 9))
    return (name, _value(effect.before), _value(effect.after), difference, counts)


def _counts(won: object, lost: object, tied: object) -> str:
    return f"{won:>3} {lost:>4} {tied:>4}"


def _value(summary: MetricSummary | None) -> str:
    if summary is None:
        return "-"
    text = figures.metric(summary.metric, summary.value)
    if summary.lower is None or summary.upper is None:
        return text
    return f"{text:<4} {figures.interval(summary.lower, summary.upper)}"


def _cases(cases: tuple[str, ...], full: bool) -> str:
    named = cases if full else cases[:_CASES_SHOWN]
    more = len(cases) - len(named)
    text = " ".join(shown(case) for case in named)
    return f"{text} (+{more}, --full names all)" if more else text


def _show_files(files: list[FileView], full: bool) -> None:
    if len(files) > 3:
        kinds = [file.change.kind for file in files]
        counts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
        say(f"  {len(files)} files: {', '.join(counts)}")
    for file in files if full else files[:_FILES_SHOWN]:
        _show_file(file, full)
    if not full and len(files) > _FILES_SHOWN:
        say(f"  (+{len(files) - _FILES_SHOWN} files, --full shows all)")


def _show_file(file: FileView, full: bool) -> None:
    change = file.change
    path = shown(change.path)
    if change.kind == "moved":
        path = f"{shown(change.moved_from)} → {path}"
    mode = " · executable bit differs" if change.mode_changed else ""
    say(f"  {path}  {change.kind}{mode}{_size_note(file)}")
    if change.kind in ("moved", "mode"):
        return
    for parameter in file.parameters:
        say(f"    {_parameter(parameter, full)}")
    if change.kind != "edited" and not full:
        return
    lines = file.lines if full else file.lines[:_LINES_SHOWN]
    for line in lines:
        say(f"    {_text_line(line, full)}")
    if len(file.lines) > len(lines):
        say(f"    (+{len(file.lines) - len(lines)} lines, --full shows all)")


def _size_note(file: FileView) -> str:
    change = file.change
    if file.form == "gone":
        return "  content no longer here"
    if file.form == "opaque":
        sides = [
            f"{figures.size(size)} {digest[:8]}"
            for size, digest in ((file.size_before, change.before), (file.size_after, change.after))
            if size is not None and digest is not None
        ]
        return f"  {' → '.join(sides)}"
    if file.form == "json" or change.kind in ("moved", "mode"):
        return ""
    if change.kind == "edited":
        return f"  -{file.lines_removed} +{file.lines_added} lines"
    size = file.size_after if change.kind == "added" else file.size_before
    return f"  {figures.size(size)}" if size is not None else ""


def _parameter(change: ParameterChange, full: bool) -> str:
    path = shown(change.path)
    if change.kind == "added":
        return f"{path}  {_come(_json(change.after, full))}"
    if change.kind == "removed":
        return f"{path}  {_gone(_json(change.before, full))}"
    if isinstance(change.before, str) and isinstance(change.after, str):
        from lockgate.domain.difference import text_difference

        lines = text_difference(change.before, change.after)
        if len(lines) == 2 and [line.sign for line in lines] == ["-", "+"]:
            return f"{path}  {_merged(lines[0], lines[1], full)}"
    return f"{path}  {_gone(_json(change.before, full))}{_come(_json(change.after, full))}"


def _json(value: Any, full: bool) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown(text) if full else cut(text, 60)


def _merged(before: TextLine, after: TextLine, full: bool) -> str:
    """Return two versions of one line as one: equal words once, `[-gone-]` before `{+new+}`."""
    parts: list[str] = []
    new = list(after.words)
    for words, is_gone in before.words:
        if is_gone:
            parts.append(_gone(shown(words)))
            continue
        while new and new[0][1]:
            parts.append(_come(shown(new.pop(0)[0])))
        parts.append(_equal(words, full))
        if new:
            new.pop(0)
    parts += [_come(shown(words)) if is_new else _equal(words, full) for words, is_new in new]
    return "".join(parts)


def _text_line(line: TextLine, full: bool) -> str:
    """Return one line of a text difference, its changed words marked."""
    if line.sign == " ":
        return f"  {_one_line(line.text, full)}"
    paint = _gone if line.sign == "-" else _come
    if all(is_changed for _, is_changed in line.words):
        text = shown(line.text) if full else cut(line.text, screen_width() - 8)
        return click.style(f"{line.sign} {text}", fg="red" if line.sign == "-" else "green")
    parts = [
        paint(shown(words)) if is_changed else _equal(words, full)
        for words, is_changed in line.words
    ]
    sign = click.style(line.sign, fg="red" if line.sign == "-" else "green")
    return f"{sign} {''.join(parts)}"


def _equal(words: str, full: bool) -> str:
    text = shown(words)
    if full or len(text) <= _LONGEST_EQUAL:
        return text
    half = _LONGEST_EQUAL // 2
    return f"{text[:half]}…{text[-half:]}"


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _gone(text: str) -> str:
    if _is_coloured():
        return click.style(text, fg="red", strikethrough=True)
    return f"[-{text}-]"


def _come(text: str) -> str:
    if _is_coloured():
        return click.style(text, fg="green", underline=True)
    return f"{{+{text}+}}"
