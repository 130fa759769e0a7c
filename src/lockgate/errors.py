"""The one family of errors: what happened, a hint that works, and an exit code.

    LockgateError
    ├── Refused             1  an order, gate, policy, quarantine or hold said no
    │   ├── Rejected           the registry itself refused a record
    │   └── StaleGeneration    somebody else took the generation first
    ├── UsageMistake        2  the words of a command or a file a person wrote are off
    ├── RegistryTrouble     3  the registry or the disk cannot be used
    │   └── Busy               somebody else holds it right now
    ├── Inconclusive        4  there is too little evidence to say yes or no
    ├── InfrastructureFailed 5 an endpoint, a worker or a hook failed; never a score
    ├── IntegrityBroken     6  bytes are not what the ledger says they are
    └── WaitingForPerson    7  everything is done but a person has to say yes

`Interrupted` (130) is raised when a person stopped the command; what was done so far is kept.
"""

from __future__ import annotations

from collections.abc import Sequence


class LockgateError(Exception):
    """What happened, how to go on, and the exit code a pipeline sees."""

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "", problems: Sequence[str] = ()) -> None:
        """Hold the message in its parts.

        Args:
            what: One sentence, lower case, no final full stop, with the value that caused it.
            hint: The exact command or key that helps; empty when none can.
            problems: Every single failure when there are several; all are shown at once.
        """
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Give the message as people read it in a log: what, then each problem, then the hint."""
        lines = [self.what, *(f"  - {problem}" for problem in self.problems)]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class Refused(LockgateError):
    """A rule of the loop said no; nothing was changed."""

    exit_code = 1


class Rejected(Refused):
    """The registry refused a record that breaks a rule it enforces itself."""


class StaleGeneration(Refused):
    """Somebody else took the generation first; nothing was touched."""


class UsageMistake(LockgateError):
    """A command's words, or a file that a person wrote, cannot be understood."""

    exit_code = 2


class RegistryTrouble(LockgateError):
    """The registry or the disk below it cannot be read or written."""

    exit_code = 3


class Busy(RegistryTrouble):
    """Somebody else holds what was asked for; the message names the holder."""


class Inconclusive(LockgateError):
    """The evidence is too small to say yes or no."""

    exit_code = 4


class InfrastructureFailed(LockgateError):
    """An endpoint, a worker process or a hook failed; this is never a score."""

    exit_code = 5


class IntegrityBroken(LockgateError):
    """Stored bytes or records are not what their digests say."""

    exit_code = 6


class WaitingForPerson(LockgateError):
    """The loop stopped at the place where a person has to decide."""

    exit_code = 7


class Interrupted(LockgateError):
    """A person stopped the command; everything acknowledged so far is kept."""

    exit_code = 130
