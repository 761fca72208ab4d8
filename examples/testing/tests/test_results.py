"""Results and composed work: with a backend, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from shop.tasks import review

from amqtask import group

if TYPE_CHECKING:
    from amqtask.testing import Drain


@pytest.fixture
def amqtask_settings() -> dict[str, str]:
    return {"result_backend": "rpc://"}


def test_review_returns_the_address(drain: Drain) -> None:
    result = review.delay("ada@example.org")
    drain()
    assert result.get(timeout=5) == "ada@example.org"


def test_all_are_asked(drain: Drain) -> None:
    addresses = ["ada@example.org", "bob@example.org"]
    result = group(review.s(address) for address in addresses)()
    assert drain().succeeded == 2
    assert result.get(timeout=5) == addresses
