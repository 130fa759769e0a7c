"""The door: the command line, or the screens, imported only then."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code.

    `resolve` goes a short way of its own: servers call it, and it needs neither click nor SQLite.
    """
    if sys.argv[1:2] == ["resolve"]:
        from lockgate.cli.resolve import run as resolve

        sys.exit(resolve(sys.argv[2:]))
    from lockgate.cli.exits import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
