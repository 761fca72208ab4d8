"""Fixtures of the result backends' conformance suite: every store in turn, each started once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from stores import PLACES, Place, place_called

from amqtask.results.base import Backend
from amqtask.wire.ids import new_id


@pytest.fixture(scope="session", params=sorted(PLACES))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A store; tests use ids of their own in it."""
    with place_called(request.param) as found:
        yield found


@pytest.fixture
def backend(place: Place) -> Iterator[Backend]:
    """A backend on it."""
    opened = place.open()
    yield opened
    opened.close()


@pytest.fixture
def task_id() -> str:
    return new_id()


@pytest.fixture
def celery_on() -> Iterator[Callable[..., Celery]]:
    """Makes Celery apps with this result backend and these settings."""
    made: list[Celery] = []

    def make(url: str, **settings: Any) -> Celery:
        app = Celery("shop", broker="memory://", backend=url, set_as_current=False)
        app.conf.update(settings)
        made.append(app)
        return app

    yield make
    for app in made:
        app.backend.remove_pending_result = lambda result: result  # what results call when they are collected
        if app.backend.result_consumer._pubsub is not None:
            app.backend.result_consumer.stop()
        app.backend.client.connection_pool.disconnect()
        app.close()
