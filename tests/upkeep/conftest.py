"""The world of the loop's tests, for what keeps the loop alive."""

from __future__ import annotations

from tests.loop.conftest import keys, world  # noqa: F401 - fixtures
