"""Connections of every result backend: bounded, of one process, and lost now and then."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from stores import record
from waiting import wait_for

from amqtask.errors import BackendError
from amqtask.results.access import ResultAccess
from amqtask.results.future import AsyncResult
from amqtask.results.open import open_backend
from amqtask.wire.ids import new_id


def test_nothing_is_connected_before_it_is_needed(place):
    for url in (place.url, *place.wrong):
        opened = open_backend(url, place.settings())
        opened.close()


def test_a_wrong_address_or_password_is_a_backend_error_that_says_so(place, task_id):
    for url, text in place.wrong.items():
        opened = open_backend(url, place.settings())
        with pytest.raises(BackendError, match=text) as caught:
            opened.fetch([task_id])
        assert "wrong-password" not in str(caught.value)
        with pytest.raises(BackendError, match=text):
            opened.store([record(task_id)])
        watch = opened.watch([task_id])
        with pytest.raises(BackendError, match=text):
            watch.wait(10)
        watch.close()
        opened.close()


def test_fifty_threads_share_a_few_connections(place):
    backend = place.open(result_backend_max_connections=3)
    most = 0
    lock = threading.Lock()

    def work(number):
        nonlocal most
        one = record(new_id(), result=number)
        watch = backend.watch([one.task_id])
        backend.store([one])
        assert watch.wait(20)
        watch.close()
        count = place.connections() if place.service else 0
        with lock:
            most = max(most, count)
        return backend.fetch([one.task_id]) == {one.task_id: one.document}

    with ThreadPoolExecutor(50) as threads:
        assert all(threads.map(work, range(60)))
    backend.close()
    assert most <= 3 + place.spare


def test_a_closed_backend_opens_again(place, backend, task_id):
    backend.store([record(task_id)])
    backend.close()
    if place.service:
        wait_for(lambda: place.connections() == 0)
    assert backend.fetch([task_id])
    watch = backend.watch([task_id])
    assert watch.wait(5)
    watch.close()
    backend.close()
    backend.close()


def test_who_waits_is_not_forgotten_when_the_backend_is_closed(backend, task_id):
    watch = backend.watch([task_id])
    assert watch.wait(0.05) == {}
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: tolerant(lambda: watch.wait(10)) or watch.wait(10))
        backend.close()
        backend.store([record(task_id)])
        assert waiting.result() == {task_id: record(task_id).document}
    watch.close()


def fork(child):
    """Run a function in a forked child; true when it returned truth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if child() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_forked_child_has_connections_of_its_own(backend, task_id):
    before, inside, after = new_id(), new_id(), new_id()
    backend.store([record(before)])
    watch = backend.watch([inside, after])
    assert watch.wait(0) == {}

    def child():
        backend.store([record(inside)])
        own = backend.watch([before])
        found = backend.fetch([before, inside])
        return bool(own.wait(10)) and set(found) == {before, inside}

    assert all(fork(child) for _ in range(3))
    assert watch.wait(10) == {inside: record(inside).document}
    backend.store([record(after)])
    assert watch.wait(10) == {after: record(after).document}
    assert set(backend.fetch([before, inside])) == {before, inside}
    watch.close()


@pytest.mark.parametrize("place", ["memcached", "redis"], indirect=True)
def test_who_asks_while_it_is_closed_gets_an_answer_or_a_backend_error(backend, task_id):
    asked, ended = [], threading.Event()

    def ask():
        while not ended.is_set():
            asked.append(tolerant(lambda: backend.fetch([task_id])))

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        try:
            for _ in range(30):
                had = len(asked)
                wait_for(lambda had=had: len(asked) > had or asking.done())
                backend.close()
        finally:
            ended.set()
        asking.result()
    assert {} in asked


@pytest.mark.parametrize("place", ["memcached"], indirect=True)
def test_a_connection_that_is_made_while_the_backend_closes_is_closed_too(backend, task_id, monkeypatch):
    client = pytest.importorskip("pymemcache").Client
    connect = client._connect

    def closing(self):
        backend.close()
        connect(self)

    monkeypatch.setattr(client, "_connect", closing)
    tolerant(lambda: backend.fetch([task_id]))
    gc.collect()  # what is left open is a warning now, which fails the test


def tolerant(call):
    """What the call returns; None for a BackendError, which a restart may well cause."""
    try:
        return call()
    except BackendError:
        return None


def test_a_restart_of_the_server_is_survived(place, backend, task_id):
    if place.service is None:
        pytest.skip("there is no server")
    later = new_id()
    backend.store([record(task_id)])
    watch = backend.watch([later])
    watch.wait(0)
    place.service.stop()
    with pytest.raises(BackendError):
        backend.fetch([task_id])
    place.service.start()
    assert (task_id in wait_for(lambda: tolerant(lambda: [*backend.fetch([task_id]), "answered"]))) is place.keeps
    wait_for(lambda: tolerant(lambda: backend.store([record(later)]) or True))
    assert wait_for(lambda: tolerant(lambda: watch.wait(1))) == {later: record(later).document}
    watch.close()


@pytest.mark.parametrize("place", ["memcached", "redis"], indirect=True)
def test_who_waits_sits_out_a_restart_although_nothing_had_come(place, backend, monkeypatch):
    results = ResultAccess(place.settings(), lambda _url, _settings: backend)
    handles = [AsyncResult(new_id(), results=results) for _ in range(2)]
    watches = []
    watch = backend.watch
    monkeypatch.setattr(backend, "watch", lambda ids: watches.append(watch(ids)) or watches[-1])
    with ThreadPoolExecutor(2) as threads:
        waiting = [
            threads.submit(lambda: handles[0].get(timeout=30)),
            threads.submit(lambda: asyncio.run(handles[1].aget(timeout=30))),
        ]
        wait_for(lambda: len(watches) == 2 and all(one.begun for one in watches))
        place.service.stop()
        wait_for(lambda: len(watches) > 3 or any(one.done() for one in waiting))
        place.service.start()
        wait_for(lambda: tolerant(lambda: backend.store([record(one.id, result=7) for one in handles]) or True))
        assert [one.result() for one in waiting] == [7, 7]
