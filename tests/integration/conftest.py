"""Fixtures of several files here: both ends of rpc://."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from publishing import declare
from replies import Answerer, Desk, answering


@pytest.fixture
def desk(vhost_url: str) -> Iterator[Desk]:
    """Sends tasks to the queue ``q``, where nobody runs them, and gets answers."""
    declare(vhost_url, "q")
    made = Desk(vhost_url)
    yield made
    made.close()


@pytest.fixture
def answerer(vhost_url: str) -> Iterator[Answerer]:
    """Answers them."""
    with answering(vhost_url) as made:
        yield made
