"""Databases that don't answer: their drivers would wait for ever, and with them whoever asks."""

from __future__ import annotations

import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from proxy import Proxy
from stores import record
from waiting import wait_for

from amqtask import sql
from amqtask.errors import BackendError, ResultTimeout
from amqtask.results.access import ResultAccess
from amqtask.results.future import AsyncResult
from amqtask.results.open import open_backend

pytestmark = pytest.mark.parametrize("place", ["mariadb", "postgresql"], indirect=True)

LOCKS = {
    "mariadb": "LOCK TABLES amqtask_results WRITE",
    "postgresql": "LOCK TABLE amqtask_results IN ACCESS EXCLUSIVE MODE",
}
WAITING = {
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE state LIKE '%lock%'",
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
}


@contextmanager
def soon():
    """In much less time than it takes the drivers by themselves."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60


def test_a_server_that_falls_silent_is_a_backend_error_and_is_asked_again_when_it_is_back(place, task_id, monkeypatch):
    monkeypatch.setattr(sql, "ANSWER_SECONDS", 1)
    with Proxy("127.0.0.1", urlsplit(place.url.removeprefix("db+")).port) as proxy:
        backend = open_backend(proxy.url(place.url), place.settings())
        backend.store([record(task_id)])
        proxy.freeze()
        proxy.refuse()  # so that connecting again takes no time
        with soon(), pytest.raises(BackendError):
            backend.fetch([task_id])
        proxy.thaw()
        proxy.refuse(False)
        wait_for(lambda: found(backend, task_id))
        backend.close()


def found(backend, task_id):
    try:
        return backend.fetch([task_id])
    except BackendError:  # a busy machine may be late once more
        return {}


def test_whoever_waits_for_a_silent_server_gives_up_in_time(place, task_id):
    with Proxy("127.0.0.1", urlsplit(place.url.removeprefix("db+")).port) as proxy:
        backend = open_backend(proxy.url(place.url), place.settings())
        backend.store([record(task_id, "STARTED")])
        proxy.freeze()
        handle = AsyncResult(task_id, results=ResultAccess(place.settings(), lambda _url, _settings: backend))
        with soon(), pytest.raises(ResultTimeout):
            handle.get(timeout=0.2)
        proxy.thaw()
        assert handle.state == "STARTED"
        backend.close()


def test_a_table_that_is_locked_is_a_backend_error_and_leaves_nobody_waiting_in_the_server(place, task_id, monkeypatch):
    monkeypatch.setattr(sql, "LOCK_SECONDS", 1 if place.name == "mariadb" else 0.2)
    backend = open_backend(place.url, place.settings())
    backend.store([record(task_id)])
    engine = sql.engine_for(place.url, 1, "test")
    with engine.begin() as other:
        other.exec_driver_sql(LOCKS[place.name])
        with soon(), pytest.raises(BackendError, match="(?i)lock"):
            backend.store([record(task_id)])
        wait_for(lambda: other.execute(sql.sa.text(WAITING[place.name])).scalar_one() == 0)
    engine.dispose()
    assert backend.fetch([task_id])
    backend.close()
