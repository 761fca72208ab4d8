"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from recording import RecordingTransport
from shop import make_shop

from amqtask import clock


@pytest.fixture
def transport():
    return RecordingTransport()


@pytest.fixture
def shop(transport):
    return make_shop(transport)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the monotonic clock: seconds since the test has begun."""
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def set_time(seconds: float) -> None:
        now[0] = 1000.0 + seconds

    return set_time
