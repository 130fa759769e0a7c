"""Without the registry, what was applied is run; not what somebody wrote into policy.toml since."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from lockgate.domain.payload import sealed
from loop.world import SYSTEM
from stories.published import DEPLOY, Published
from stories.test_offline import OFFLINE, hooked, hooked_root, plain, plain_root, type_in

__all__ = ["hooked", "hooked_root", "plain", "plain_root", "type_in"]

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)

UNKNOWN = "nothing says which commands were applied for staging"


def write_other_hook(at: Published) -> None:
    """Have policy.toml name another hook, which nobody applied."""
    path = at.root / "policy.toml"
    path.write_text(path.read_text().replace("./deploy.sh", "./other.sh"))
    other = at.root / "other.sh"
    other.write_text("#!/bin/sh\ntouch other-ran\n")
    other.chmod(0o755)


class TestWhatIsApplied:
    """It lies signed beside the receipts."""

    def test_is_what_is_run(self, hooked: Published, type_in: Any) -> None:
        """The hook of policy.toml, never applied, is not; and it is told."""
        write_other_hook(hooked)
        hooked.lose_registry()
        said = type_in(hooked, *OFFLINE)
        assert said.code == 0, said
        hooked.find_registry()
        assert hooked.deployed() == (4, "v2")
        assert not (hooked.root / "other-ran").exists()
        assert "policy.toml says something else for `deploy`; what was applied last counts" in (
            said.err
        )

    def test_is_shown_before_it_is_run(self, hooked: Published, type_in: Any) -> None:
        """With what differs from it."""
        write_other_hook(hooked)
        hooked.write_hook(DEPLOY + "# mended\n")
        said = type_in(hooked, *OFFLINE[:-1])
        assert said.code == 2
        assert "  hook        ./deploy.sh, as applied\n" in said.out
        assert "  doubt       policy.toml says something else for `deploy`" in said.out
        assert "  doubt       the hook's own files were changed since" in said.out
        assert type_in(hooked, *shlex.split(said.command)[1:]).code == 0

    def test_nothing_is_told_where_nothing_differs(self, hooked: Published, type_in: Any) -> None:
        """A doubt that is always there is read by nobody."""
        assert "doubt" not in type_in(hooked, *OFFLINE[:-1]).out

    def test_does_without_policy_toml(self, hooked: Published, type_in: Any) -> None:
        """With the folder named, the hook is run as it was applied."""
        (hooked.root / "policy.toml").unlink()
        said = type_in(hooked, *OFFLINE, "--publish", str(hooked.root / "published" / "staging"))
        assert said.code == 0, said
        assert hooked.deployed() == (4, "v2")

    def test_is_not_written_by_a_rollback_without_the_registry(
        self, hooked: Published, type_in: Any
    ) -> None:
        """It does not know what is applied."""
        before = (hooked.place / "place.json").read_bytes()
        write_other_hook(hooked)
        assert type_in(hooked, *OFFLINE).code == 0
        assert (hooked.place / "place.json").read_bytes() == before


def _remove(at: Published) -> None:
    (at.place / "place.json").unlink()


def _unsign(at: Published) -> None:
    path = at.place / "place.json"
    path.write_bytes(sealed(json.loads(path.read_text())["payload"], None))


def _change(at: Published) -> None:
    path = at.place / "place.json"
    path.write_text(path.read_text().replace("./deploy.sh", "./other.sh"))


def _of_another(at: Published) -> None:
    publisher = at.target.publisher
    assert publisher is not None
    text = json.dumps(
        json.loads(json.loads((at.place / "place.json").read_text())["payload"])
        | {"environment": "production"}
    )
    signed = sealed(text, publisher.key.sign(text.encode()))
    (at.place / "place.json").write_bytes(signed)


@pytest.mark.parametrize("spoil", [_remove, _unsign, _change, _of_another])
def test_where_it_does_not_count_somebody_has_to_say_so(
    hooked: Published, type_in: Any, spoil: Callable[[Published], None]
) -> None:
    """--yes alone is refused and nothing is run; the hint does it, stating the folder."""
    spoil(hooked)
    write_other_hook(hooked)
    said = type_in(hooked, *OFFLINE)
    assert said.code == 1, said
    assert UNKNOWN in said.err
    assert not (hooked.root / "other-ran").exists()
    assert hooked.current().generation == 3
    look, state = (words for words in said.hint.split("`") if words.startswith("lockgate"))
    shown = type_in(hooked, *shlex.split(look)[1:])
    assert shown.code == 2
    assert "  hook        ./other.sh, as policy.toml says\n" in shown.out
    assert "  doubt       what was applied is not known" in shown.out
    assert shlex.split(shown.command) == shlex.split(state)
    done = type_in(hooked, *shlex.split(state)[1:])
    assert done.code == 0, done
    assert (hooked.root / "other-ran").exists()


def test_where_no_command_is_run_there_is_nothing_to_state(plain: Published, type_in: Any) -> None:
    """Only the folder is switched."""
    (plain.place / "place.json").unlink()
    assert type_in(plain, *OFFLINE).code == 0


def test_the_next_publication_writes_it_again(hooked: Published) -> None:
    """And leaves it alone when it says what is applied."""
    _unsign(hooked)
    hooked.promote(hooked.ready())
    first = (hooked.place / "place.json").stat()
    assert json.loads((hooked.place / "place.json").read_text())["signature"]
    hooked.roll_back()
    assert (hooked.place / "place.json").stat() == first
    assert hooked.live()[1:] == ("v3", "rollback")
    assert SYSTEM in (hooked.place / "place.json").read_text()
