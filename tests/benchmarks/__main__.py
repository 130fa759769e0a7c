"""Run every benchmark and print one table: `python -m tests.benchmarks [--quick] [NAME ...]`.

A row is what was measured, our time, the peer's time in the same run, their ratio and the budget.
The machine is noisy: figures are medians, and only ratios are compared with budgets.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

QUICK = 0.05


def modules() -> list[str]:
    """Return the names of the benchmark files, in alphabetical order."""
    return sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))


def shown(what: str, seconds: float) -> str:
    """Return a figure in a unit that reads well; seconds unless the row's name says MB."""
    if "(MB)" in what:
        return f"{seconds:.1f} MB"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main() -> int:
    """Print the table; exit code 1 when a budget is missed at full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, as in `registry`")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a first look")
    options = parser.parse_args()
    scale = QUICK if options.quick else 1.0
    wanted = {f"bench_{name}" for name in options.names} or set(modules())
    missed = 0
    print(f"{'what':<52} {'ours':>10} {'peer':>10}  {'ratio':>6}  {'budget':>6}  peer")
    for name in modules():
        if name not in wanted:
            continue
        for what, ours, peer, peer_name, budget in importlib.import_module(
            f"tests.benchmarks.{name}"
        ).rows(scale):
            ratio = ours / peer if peer else float("inf")
            verdict = "" if ratio <= budget else "  MISSED"
            missed += bool(verdict)
            print(
                f"{what:<52} {shown(what, ours):>10} {shown(what, peer):>10}  {ratio:>6.2f}  {budget:>6.2f}"
                f"  {peer_name}{verdict}",
                flush=True,
            )
    return 1 if missed and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
