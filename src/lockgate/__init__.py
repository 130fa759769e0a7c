"""Version control for AI behaviour: change, register, evaluate, gate, promote, in that order."""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lockgate.deploy.resolve import Resolved as Resolved
    from lockgate.deploy.resolve import ResolveError as ResolveError
    from lockgate.deploy.resolve import resolve as resolve


def __getattr__(name: str) -> "Any":
    """Load what programs use (`resolve`, `Resolved`, `ResolveError`) when it is asked for."""
    if name not in ("resolve", "Resolved", "ResolveError"):
        raise AttributeError(f"module `lockgate` has no attribute `{name}`")
    from lockgate.deploy import resolve as serving

    return getattr(serving, name)
