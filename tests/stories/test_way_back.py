"""The way back from the command line: what it shows before it asks, and what a word of yours does."""

from __future__ import annotations

import shutil

import pytest

from lockgate.errors import StaleGeneration
from loop.world import SYSTEM
from stories.published import Published
from stories.test_offline import (  # noqa: F401 - fixtures
    OFFLINE,
    hooked,
    hooked_root,
    plain,
    plain_root,
    type_in,
)
from upkeep.test_rehearse import REHEARSED, rehearsing, until

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)


class TestALostHook:
    """Exit code 4, two commands, and each does what its line says."""

    @pytest.fixture
    def lost(self, hooked: Published, type_in) -> Published:  # type: ignore[no-untyped-def]  # noqa: F811
        """Give v4's hook, whose runner was killed while we watched."""
        whole = (hooked.root / "deploy.sh").read_text()
        hooked.write_hook("#!/bin/sh\nkill -9 $PPID\nexit 0\n")
        hooked.ready()
        said = type_in(hooked, "promote", "v4", "--to", "staging")
        assert said.code == 4
        assert "error: unknown: the hook for generation 4 did not finish in sight" in said.err
        hooked.write_hook(whole)
        return hooked

    def test_live(self, lost: Published, type_in) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
        """v4 is published; who looked is told."""
        assert type_in(lost, "settle", "staging").code == 4
        said = type_in(lost, "settle", "staging", "--as", "live", "-m", "web-1 says v4")
        assert said.code == 0, said
        assert said.out == "✔ staging generation 4 (v4): live, on-call looked: web-1 says v4\n"
        assert lost.live() == (4, "v4", "promote")
        assert lost.current().label == "v4"

    def test_failed(self, lost: Published, type_in) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
        """v3 stays, and nothing is quarantined or held."""
        words = ("settle", "staging", "--as", "failed", "-m", "web-1 says v3", "--json")
        body = type_in(lost, *words).json
        assert (body["outcome"], body["generation"]) == ("failed", 4)
        assert lost.live() == (3, "v3", "promote")
        assert lost.current().label == "v3"
        assert lost.stops() == ([], 0)

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (["--as", "live"], 2, "a reason is needed"),
            (["-m", "x"], 2, "-m is for --as only"),
            (["--as", "fine", "-m", "x"], 2, "`fine` is not one of"),
        ],
    )
    def test_what_is_refused(
        self,
        lost: Published,
        type_in,  # type: ignore[no-untyped-def]  # noqa: F811
        words: list[str],
        code: int,
        told: str,
    ) -> None:
        """Nothing is settled."""
        said = type_in(lost, "settle", "staging", *words)
        assert (said.code, told in said.err) == (code, True), said
        assert lost.history()[-1] == (4, "promote", None)

    def test_where_nothing_is_lost(self, hooked: Published, type_in) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
        """Exit code 1, and the hint does what can be done."""
        said = type_in(hooked, "settle", "staging", "--as", "failed", "-m", "x")
        assert said.code == 1
        assert "nobody's word is needed in staging: nothing is open there" in said.err
        assert said.hint == f"`lockgate settle staging -s {SYSTEM}`"


class TestWhatItShowsFirst:
    """Everything that would happen, and nothing has."""

    def test_both_what_it_stops_and_what_it_leaves(self, hooked: Published, type_in) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
        """A promotion under way is stopped, and what is live left as well."""
        hooked.write_hook("#!/bin/sh\nkill -9 $PPID\nexit 0\n")
        hooked.ready()
        assert type_in(hooked, "promote", "v4", "--to", "staging").code == 4
        said = type_in(hooked, "rollback", "staging")
        lines = {line.split()[0]: " ".join(line.split()) for line in said.out.splitlines()[1:]}
        assert lines["stops"] == "stops v4 (generation 4, begun by on-call)"
        assert lines["leaves"].startswith("leaves v3 as well, live since ")
        assert lines["then"] == "then v3 quarantined, staging held"
        assert hooked.history()[-1] == (4, "promote", None)

    def test_the_hint_asks_the_same(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
        """Target, reason and incident are in it."""
        words = ("rollback", "staging", "--to", "v1", "-m", "it is worse", "--incident", "INC-7")
        said = type_in(plain, *words)
        assert said.code == 2
        assert said.hint == (
            f"`lockgate rollback staging -s {SYSTEM} --yes --to v1 -m 'it is worse' "
            "--incident INC-7`"
        )


class TestWhatWasDoneWithoutTheRegistry:
    """It is recorded by `rollback` too, once somebody said yes."""

    @pytest.fixture
    def offline(self, plain: Published, type_in) -> Published:  # type: ignore[no-untyped-def]  # noqa: F811
        """Give v2, gone back to as generation 4 while the registry was away."""
        plain.lose_registry()
        assert type_in(plain, *OFFLINE).code == 0
        plain.find_registry()
        return plain

    @pytest.mark.parametrize("more", [[], ["--to", "v1"]])
    def test_is_shown_and_not_recorded_without_a_yes(
        self,
        offline: Published,
        type_in,  # type: ignore[no-untyped-def]  # noqa: F811
        more: list[str],
    ) -> None:
        """Nothing was changed, as it says."""
        before = offline.history(), offline.stops(), offline.notes()
        said = type_in(offline, "rollback", "staging", "-s", SYSTEM, *more)
        assert said.code == 2
        assert said.out == (
            "would record generation 4 of staging, made without the registry by on-call, as "
            "claimed: v2, live\n"
        )
        assert "generation 4 of staging is not recorded" in said.err
        assert "nothing was changed" in said.err
        assert said.hint == f"`lockgate settle staging -s {SYSTEM}` records it"
        assert (offline.history(), offline.stops(), offline.notes()) == before

    def test_is_recorded_with_a_yes(self, offline: Published, type_in) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
        """Then v1 is gone back to from there."""
        said = type_in(offline, "rollback", "staging", "-s", SYSTEM, "--to", "v1", "--yes")
        assert said.code == 0, said
        assert "recorded generation 4, made without the registry by on-call" in said.err
        assert offline.history()[-2:] == [(4, "rollback", "live"), (5, "rollback", "live")]


def test_the_end_of_a_rehearsal_keeps_why(plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """Reason and incident of a rollback that takes a rehearsal back are on record."""
    plain.world.apply_policy(REHEARSED)
    steps = rehearsing(plain.world, "blank-prompt")
    until(steps, "deployed", "published")
    words = ("-m", "customers see it", "--incident", "INC-9")
    said = type_in(plain, "rollback", "staging", *words)
    assert said.code == 2
    assert said.hint.endswith("--yes -m 'customers see it' --incident INC-9`")
    said = type_in(plain, "rollback", "staging", "--yes", *words)
    assert said.code == 0, said
    live = plain.world.registry.releases.live(SYSTEM, "staging")
    assert live is not None
    assert (live.attempt.kind, live.attempt.reason, live.attempt.ticket) == (
        "revert",
        "customers see it",
        "INC-9",
    )
    with pytest.raises(StaleGeneration, match="on-call took generation 5"):
        list(steps)
