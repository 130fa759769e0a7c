"""What the steps need from the outside, as protocols; adapters implement them without importing.

- The registry is the only thing that may refuse a record; a step that was refused changed nothing.
- A runner answers questions; a question that could not be asked is an error, never a score.
"""

from lockgate.ports.deploying import HookLines, HookTold, InstanceTold, OfflineTarget, Target
from lockgate.ports.people import Signature, Signing
from lockgate.ports.queries import (
    AppliedQueries,
    ObjectStore,
    ReleaseQueries,
    RunQueries,
    UpkeepQueries,
    VersionQueries,
)
from lockgate.ports.registry import Registry
from lockgate.ports.running import CaseFailed, Question, Reply, Runner
from lockgate.ports.writing import Clock, Draft, Writing

__all__ = [
    "AppliedQueries",
    "CaseFailed",
    "Clock",
    "Draft",
    "HookLines",
    "HookTold",
    "InstanceTold",
    "ObjectStore",
    "OfflineTarget",
    "Question",
    "Registry",
    "ReleaseQueries",
    "Reply",
    "RunQueries",
    "Runner",
    "Signature",
    "Signing",
    "Target",
    "UpkeepQueries",
    "VersionQueries",
    "Writing",
]
