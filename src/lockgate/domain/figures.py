"""How numbers read, everywhere the same: scores as fractions, milliseconds, intervals, bars.

- A score is written with three digits and no zero before the point, so that columns line up.
- An interval that stands beside a score has two digits and is rounded outward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lockgate.domain.metrics import LATENCY_METRICS, TOKEN_METRICS

_BARS = "▁▂▃▄▅▆▇█"


def score(value: float | None) -> str:
    """Return `.919`, `1.00` or `-` for a score from 0 to 1."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    if text == "1.000":
        return "1.00"
    return text.removeprefix("0") if value >= 0 else text.replace("-0.", "-.")


def signed(value: float) -> str:
    """Return `+.019` or `-.531` for a difference of scores."""
    text = f"{value:+.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:+.2f}"


def interval(lower: float, upper: float) -> str:
    """Return `[.88 .94]` for the interval of a score, rounded outward."""
    low, high = math.floor(lower * 100) / 100, math.ceil(upper * 100) / 100
    return f"[{_two(low)} {_two(high)}]"


def _two(value: float) -> str:
    text = f"{value:.2f}"
    return text.removeprefix("0") if value < 1 else "1.0"


def signed_interval(lower: float, upper: float) -> str:
    """Return `[-.006 +.044]` for the interval of a difference."""
    return f"[{signed(lower)} {signed(upper)}]"


def metric(name: str, value: float | None) -> str:
    """Return a metric's value in its own unit: `.919`, `41 ms`, `312 tokens`."""
    if value is None:
        return "-"
    if name in LATENCY_METRICS:
        return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
    if name in TOKEN_METRICS:
        return f"{value:.0f} tokens"
    return score(value)


def bars(values: Sequence[float]) -> str:
    """Return one bar character a value, scaled between the smallest and the largest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    span = high - low
    return "".join(_BARS[round((value - low) / span * 7)] if span else _BARS[3] for value in values)


def size(size_bytes: int) -> str:
    """Return `312 B`, `4.0 KiB` or `1.2 GiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Return `0:14` or `1:02:09` for a time span."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
