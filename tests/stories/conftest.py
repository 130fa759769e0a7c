"""What the scenes share with the tests of the loop: keys that are made once."""

from loop.conftest import keys, world

__all__ = ["keys", "world"]
