"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest
from recording import RecordingTransport
from shop import make_shop


@pytest.fixture
def transport():
    return RecordingTransport()


@pytest.fixture
def shop(transport):
    return make_shop(transport)
