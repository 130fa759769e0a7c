"""The five steps, explained to somebody who has never taken them: what, why, what comes next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the loop."""

    name: str
    does: str
    """What the step does, in one sentence."""
    because: str
    """Why there is no way around it."""


STEPS = (
    Step(
        "change",
        "Edit the prompt, model, settings, tools or documents in the system's folder.",
        "Nothing that anybody uses has changed yet.",
    ),
    Step(
        "register",
        "Compute the version's identity and keep owner, parent and reason.",
        "What was registered never changes, so everybody talks about the same thing.",
    ),
    Step(
        "evaluate",
        "Ask the registered version every case of the suites and keep every answer.",
        "A version without a completed run has no number anybody could trust.",
    ),
    Step(
        "gate",
        "Compare the runs with the policy and with what is live, and say why.",
        "The rules were agreed on before this version existed.",
    ),
    Step(
        "promote",
        "Make the approved version live and keep the one before one step away.",
        "Only a version that passed the gate for this environment can be promoted.",
    ),
)
"""In the only order there is."""
