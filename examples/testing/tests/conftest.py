"""Every test begins with an empty shop."""

from __future__ import annotations

import pytest
from shop import services


@pytest.fixture(autouse=True)
def _empty_shop() -> None:
    services.charged.clear()
    services.bank.clear()
    services.outbox.clear()
