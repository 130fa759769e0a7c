"""What happens on the way to live is told as it happens, and left in order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lockgate.errors import Interrupted
from lockgate.loop.deployment import tell_each


class Way:
    """Two events, and how they were left."""

    def __init__(self) -> None:
        self.left: list[str] = []

    def events(self) -> Iterator[str]:
        try:
            yield "hook"
            yield "settled"
        except KeyboardInterrupt as error:
            raise Interrupted("not settled yet", hint="settle") from error
        finally:
            self.left.append("lease dropped")


def test_everything_is_told_in_order() -> None:
    """What happened before comes first."""
    way, heard = Way(), list[str]()
    tell_each(way.events(), heard.append, ["taken"])
    assert heard == ["taken", "hook", "settled"]
    assert way.left == ["lease dropped"]


def test_who_leaves_while_something_is_told_hears_how_it_goes_on() -> None:
    """Ctrl-C between two events is the same as within one."""
    way = Way()

    def tell(event: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="not settled yet"):
        tell_each(way.events(), tell)
    assert way.left == ["lease dropped"]


def test_a_terminal_that_is_gone_leaves_nothing_behind() -> None:
    """The lease is dropped before the error goes on to whoever closes the registry."""
    way = Way()

    def tell(event: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        tell_each(way.events(), tell)
    assert way.left == ["lease dropped"]
