"""A registry whose staging is published, with v1, v2 and v3 gone live there one after the other.

With a hook, `deployed` in its root says what runs: the hook writes generation and version there, and
refuses a generation below the one that stands there, as a fenced deployment does.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from pathlib import Path

from lockgate import wiring
from lockgate.deploy.policy_file import read_place
from lockgate.deploy.target import EnvironmentTarget
from lockgate.domain.receipt import Receipt
from lockgate.domain.version import Version
from lockgate.storage.registry import SystemClock, open_registry
from lockgate.upkeep.rollback import find_way_back, roll_back
from lockgate.upkeep.settle import Settled, settle
from loop.world import STAGING, SYSTEM, World, new_world

ENVIRONMENT = "staging"
ON_CALL = "on-call"
PUBLISHED = STAGING.replace('stakes = "low"', 'stakes = "low"\npublish = "published/staging"', 1)
HOOKED = PUBLISHED.replace("\n\n", '\ndeploy = ["./deploy.sh"]\ndeploy_timeout = "20s"\n\n', 1)
DEPLOY = """\
#!/bin/sh
was=$(cut -d' ' -f1 deployed 2>/dev/null || echo 0)
[ "$LOCKGATE_GENERATION" -ge "${was:-0}" ] || { echo "fenced off by $was"; exit 9; }
echo "$LOCKGATE_GENERATION $LOCKGATE_VERSION" > deployed.new && mv deployed.new deployed
"""


class Published:
    """A world that is published, and what somebody on call does with it."""

    def __init__(self, root: Path, keys: Path) -> None:
        """Open a registry that `make` made, or a copy of it."""
        self.world = World(root, open_registry(root), SystemClock(), keys)

    @classmethod
    def make(cls, root: Path, keys: Path, *, policy: str) -> None:
        """Make a registry with three versions live in turn, and close it."""
        root.mkdir()
        made = new_world(root, keys, SystemClock())
        wiring.make_host_key(root)
        made.apply_policy(policy)
        self = cls.__new__(cls)
        self.world = made
        self.write_hook(DEPLOY)
        for right in (14, 15, 16):
            self.promote(made.evaluated(right))
        made.registry.close()

    @classmethod
    def copied(cls, made: Path, root: Path, keys: Path) -> Published:
        """Return a copy."""
        shutil.copytree(made, root, symlinks=True)
        return cls(root, keys)

    @property
    def root(self) -> Path:
        return self.world.root

    @property
    def place(self) -> Path:
        """The published folder of the system."""
        return self.root / "published" / "staging" / SYSTEM

    @property
    def target(self) -> EnvironmentTarget:
        return wiring.target(self.root, SYSTEM, read_place(self.root, ENVIRONMENT))

    def write_hook(self, text: str) -> None:
        path = self.root / "deploy.sh"
        path.write_text(text)
        path.chmod(0o755)

    def version(self, label: str) -> Version:
        return self.world.registry.versions.named(SYSTEM, label)

    def promote(self, version: Version) -> None:
        self.world.promote(version, ENVIRONMENT, self.world.decide(version), target=self.target)

    def ready(self, right: int = 17) -> Version:
        """Return a further version that has everything to be promoted."""
        version = self.world.evaluated(right)
        self.world.decide(version)
        return version

    def roll_back(self) -> None:
        found = find_way_back(self.world.registry, SYSTEM, ENVIRONMENT)
        deque(roll_back(self.world.registry, found, actor=ON_CALL, target=self.target), maxlen=0)

    def settle(self) -> Settled:
        found = [*settle(self.world.registry, SYSTEM, ENVIRONMENT, self.target, actor="lead")][-1]
        assert isinstance(found, Settled)
        return found

    def current(self) -> Receipt:
        found = self.target.current(SYSTEM)
        assert found is not None
        return found

    def live(self) -> tuple[int, str, str]:
        """Return generation, label and kind of what the registry takes for live."""
        live = self.world.registry.releases.live(SYSTEM, ENVIRONMENT)
        assert live is not None
        version = self.world.registry.versions.get(live.attempt.version or "")
        assert version is not None
        return live.attempt.generation, version.label, live.attempt.kind

    def history(self) -> list[tuple[int, str, str | None]]:
        """Return generation, kind and outcome of every attempt, oldest first."""
        rows = self.world.registry.releases.deployments(SYSTEM, ENVIRONMENT)
        return [(r.attempt.generation, r.attempt.kind, r.outcome) for r in reversed(rows)]

    def stops(self) -> tuple[list[str], int]:
        """Return the labels that are quarantined, and how many holds stand."""
        releases = self.world.registry.releases
        labels = []
        for quarantine in releases.quarantines(SYSTEM):
            version = self.world.registry.versions.get(quarantine.version)
            assert version is not None
            labels.append(version.label)
        return sorted(labels), len(releases.holds(SYSTEM, ENVIRONMENT))

    def deployed(self) -> tuple[int, str]:
        """Return what the hook deployed last: generation and label."""
        generation, version = (self.root / "deployed").read_text().split()
        found = self.world.registry.versions.get(version)
        assert found is not None
        return int(generation), found.label

    def notes(self) -> list[str]:
        """Return the names of the notes that lie beside the receipts."""
        return sorted(path.name for path in self.place.glob("offline-*.json"))

    def note(self, generation: int) -> dict[str, object]:
        sealed = json.loads((self.place / f"offline-{generation}.json").read_text())
        return dict(json.loads(sealed["payload"]))

    def lose_registry(self) -> None:
        """Take the registry's file away, as a disk would."""
        self.world.registry.close()
        (self.root / ".lockgate" / "registry.db").rename(self.root / "lost.db")
        for ending in ("-wal", "-shm"):
            (self.root / ".lockgate" / f"registry.db{ending}").unlink(missing_ok=True)

    def find_registry(self) -> None:
        """Bring it back."""
        (self.root / "lost.db").rename(self.root / ".lockgate" / "registry.db")
        self.world.registry = open_registry(self.root)
