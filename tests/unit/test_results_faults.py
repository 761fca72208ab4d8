"""AsyncResult when nothing is stored, the backend fails, or there is none."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid

import pytest
from memory_backend import Store, in_thread
from waiting import wait_for

from amqtask import clock
from amqtask.config.settings import Settings
from amqtask.errors import BackendError, NoResultBackend, ResultGone, ResultTimeout, SerializationError
from amqtask.results import current, waiting
from amqtask.results.access import ResultAccess
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult


@pytest.fixture
def store() -> Store:
    return Store()


def later(*_args):
    raise AssertionError("nothing must be asked")


# ---- what is absent

AGE = 100.0


def born_now() -> str:
    """An id of this moment; new_id() never goes back, wherever other tests have moved the clock."""
    digits = f"{int(time.time() * 1000):012x}7000800000000000{random.randrange(1 << 16):04x}"
    return str(uuid.UUID(digits))


@pytest.mark.parametrize(
    ("settings", "task_id", "state"),
    [
        ({}, None, "PENDING"),
        ({"result_track_sent": True}, None, "UNKNOWN"),
        ({"result_expires": AGE - 10}, None, "EXPIRED"),
        ({"result_expires": AGE - 10, "result_track_sent": True}, None, "EXPIRED"),
        ({"result_expires": 0.0}, None, "PENDING"),
        ({"result_expires": 0.0, "result_track_sent": True}, None, "UNKNOWN"),
        ({"result_expires": AGE - 10, "result_track_sent": True}, "3e1114b0-c173-4b82-b137-4c00c4374e79", "PENDING"),
        ({"result_track_sent": True, "by_message": True}, None, "PENDING"),
        ({"result_track_sent": True}, "order-17", "PENDING"),
    ],
)
def test_the_state_of_a_task_of_which_nothing_is_stored(monkeypatch, settings, task_id, state):
    store = Store(**settings)
    result = store.handle(task_id or born_now())
    now = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: now() + AGE)
    assert result.state == state
    assert result.ready() == (state == "EXPIRED")
    assert not result.exists()
    if state in ("EXPIRED", "UNKNOWN"):
        with pytest.raises(ResultGone, match=result.id):
            result.get(timeout=60)
        with pytest.raises(ResultGone):
            asyncio.run(result.aget(timeout=60))
        with pytest.raises(ResultGone):
            GroupResult("g", [result], access=store.results).get(timeout=60)
    else:
        with pytest.raises(ResultTimeout):
            result.get(timeout=0)


def test_an_old_id_whose_result_is_there_is_not_expired(monkeypatch):
    store = Store(result_expires=50.0)
    result = store.handle(born_now())
    now = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: now() + AGE)
    store.put(result.id, 5)
    assert (result.state, result.get(timeout=60)) == ("SUCCESS", 5)


# ---- the backend


def test_a_backend_that_fails_at_once_is_told_at_once(store):
    store.backend.failures = 1
    with pytest.raises(BackendError):
        store.handle().get(timeout=60)


def test_a_wait_goes_on_when_the_backend_fails_meanwhile(store, caplog):
    result = store.handle()
    end = in_thread(lambda: result.get(timeout=60))
    wait_for(lambda: store.backend.waiting == 1)
    store.put(result.id, None, "STARTED")
    wait_for(lambda: store.backend.waiting == 1)
    with store.backend.changed:
        store.backend.failures = 3
        store.backend.changed.notify_all()
    wait_for(lambda: store.backend.failures == 0)
    store.put(result.id, 5)
    assert end() == 5
    assert store.backend.open_watches == 0
    assert sum("the backend fails" in record.message for record in caplog.records) == 1


def test_each_outage_of_a_long_wait_has_half_a_minute(store, monkeypatch):
    monkeypatch.setattr(waiting, "_PATIENCE", 0.3)
    result = store.handle()
    end = in_thread(lambda: result.get(timeout=60))
    begin = time.monotonic()
    while time.monotonic() < begin + 0.6:  # longer than its patience, and nothing has come
        wait_for(lambda: store.backend.waiting == 1)
        with store.backend.changed:
            store.backend.failures = 1
            store.backend.changed.notify_all()
        wait_for(lambda: store.backend.failures == 0)
    store.put(result.id, 5)
    assert end() == 5


def test_a_wait_ends_when_the_backend_does_not_come_back(store, monkeypatch):
    monkeypatch.setattr(waiting, "_PATIENCE", 0.1)
    end = in_thread(store.handle().get)
    wait_for(lambda: store.backend.waiting == 1)
    with store.backend.changed:
        store.backend.failures = 1_000_000
        store.backend.changed.notify_all()
    with pytest.raises(BackendError):
        end()


def test_a_document_that_can_not_be_read_is_an_error(store):
    result = store.handle()
    store.backend.documents[result.id] = b"junk"
    for ask in (result.get, result.ready):
        with pytest.raises(SerializationError):
            ask()


def test_a_handle_without_app_uses_the_app_made_last(store, monkeypatch):
    monkeypatch.setattr(current, "_find", lambda: None)
    result = AsyncResult("t")
    with pytest.raises(NoResultBackend, match="app.AsyncResult"):
        result.get()
    current.set_default_results(lambda: store.results)
    store.put("t", 5)
    assert AsyncResult("t").get(timeout=60) == 5


def test_an_app_without_backend_says_what_to_do():
    result = AsyncResult("t", results=ResultAccess(Settings(), later))
    for ask in (result.get, lambda: result.state, result.ready, result.forget):
        with pytest.raises(NoResultBackend, match="rpc://"):
            ask()


# ---- a store that does not answer


class Silent(PolledBackend):
    """A store that answers when it is told to, and counts who asks."""

    def __init__(self) -> None:
        super().__init__("silent://", Settings())
        self.answers = threading.Event()

    def store(self, records):
        raise NotImplementedError

    def fetch(self, task_ids):
        self.answers.wait()
        return {}

    def close(self):
        self.end_threads()


@pytest.mark.parametrize("timeout", [0.1, 1e-9])
@pytest.mark.parametrize("tracked", [False, True])
def test_coroutines_are_held_up_neither_by_their_own_question_nor_by_those_of_others(tracked, timeout):
    backend = Silent()
    settings = Settings(result_backend="silent://", result_track_sent=tracked)
    results = ResultAccess(settings, lambda _url, _settings: backend)

    async def impatient() -> None:
        with pytest.raises(ResultTimeout):
            await AsyncResult(born_now(), results=results).aget(timeout=timeout)

    async def main() -> None:
        await asyncio.gather(*(impatient() for _ in range(20)))

    try:
        asyncio.run(main())
    finally:
        backend.answers.set()
        backend.close()


@pytest.mark.parametrize(("tracked", "timeout"), [(False, 0.1), (True, 1e-9)])
def test_threads_are_not_held_up_beyond_their_timeouts(tracked, timeout):
    backend = Silent()
    settings = Settings(result_backend="silent://", result_track_sent=tracked)
    results = ResultAccess(settings, lambda _url, _settings: backend)
    try:
        with pytest.raises(ResultTimeout):
            AsyncResult(born_now(), results=results).get(timeout=timeout)
    finally:
        backend.answers.set()
        backend.close()


def test_who_gives_no_time_looks_however_long_the_store_takes():
    backend = Silent()
    results = ResultAccess(Settings(result_backend="silent://"), lambda _url, _settings: backend)
    threading.Timer(0.7, backend.answers.set).start()
    with pytest.raises(ResultTimeout):
        AsyncResult(born_now(), results=results).get(timeout=0)
    assert backend.answers.is_set()
    backend.close()
