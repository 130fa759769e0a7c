"""What asks a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Question:
    """One case to ask, in one repeat."""

    case: str
    repeat: int
    """From 1."""
    asking: int
    """From 1; above 1 when earlier askings of this case failed."""
    input: Any
    seed: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a version answered to one question."""

    output: Any
    latency_ms: float
    tokens_in: int | None = None
    tokens_out: int | None = None


class CaseFailed(Exception):  # noqa: N818 - named for what happened
    """A question could not be asked or answered: an infrastructure error of that case."""


class Runner(Protocol):
    """A version that is ready to be asked, in whatever process it lives."""

    concurrency: int
    """How many questions may be under way at once."""

    async def start(self) -> Mapping[str, Any]:
        """Make ready to answer.

        Returns:
            Facts about the runtime that could change the answers, as a JSON object.

        Raises:
            InfrastructureFailed: Nothing can be asked at all; the message says why.
        """
        ...

    async def ask(self, question: Question) -> Reply:
        """Ask one question.

        Raises:
            CaseFailed: Time ran out, the process died or the answer was not an answer. The runner
                stays usable: what broke is started anew for the next question.
        """
        ...

    async def close(self) -> None:
        """End every process and connection; safe to call twice."""
        ...
