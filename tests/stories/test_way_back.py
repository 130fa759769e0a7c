"""The way back from the command line: what it shows before it asks, and what a word of yours does."""

from __future__ import annotations

import shutil

import pytest

from loop.world import SYSTEM
from stories.published import Published
from stories.test_offline import (  # noqa: F401 - fixtures
    hooked,
    hooked_root,
    plain,
    plain_root,
    type_in,
)

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
