"""Chords counted in Redis: exactly one caller goes on, whoever reports what how often; also beside Celery's workers."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest
import redis
from celery import signature
from stores import record, redis_server
from waiting import wait_for

from amqtask.config.settings import Settings
from amqtask.errors import BackendError
from amqtask.results.backends import _redis_chords
from amqtask.results.base import ChordClaimed, Part
from amqtask.results.open import open_backend
from amqtask.wire.ids import new_id

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
"""That is Celery's call."""


@pytest.fixture(scope="module")
def node():
    with redis_server() as running:
        yield running


@pytest.fixture
def client(node):
    with redis.Redis.from_url(node.url) as connected:
        yield connected


@pytest.fixture
def backend(node):
    opened = open_backend(node.url, Settings())
    yield opened
    opened.close()


@pytest.fixture
def group_id():
    return new_id()


def part(group_id, index, result=None, task_id=None, state="SUCCESS"):
    task_id = task_id or f"{group_id}-{index}"
    return Part({}, group_id, index, task_id, state, json.dumps([1, task_id, state, result]).encode())


def values(joined):
    return [json.loads(text)[3] for text in joined.results]


def test_the_last_member_joins_in_the_order_of_the_header(backend, group_id):
    backend.chords.begin(group_id, 3)
    assert backend.chords.complete(part(group_id, 2, "c")) is None
    assert backend.chords.complete(part(group_id, 0, "a")) is None
    joined = backend.chords.complete(part(group_id, 1, "b"))
    assert values(joined) == ["a", "b", "c"]


def test_members_count_once_however_often_they_are_reported(backend, group_id):
    backend.chords.begin(group_id, 2)
    for _ in range(5):
        assert backend.chords.complete(part(group_id, 0, "a")) is None
    assert values(backend.chords.complete(part(group_id, 1, "b"))) == ["a", "b"]


def test_equal_task_ids_at_two_places_are_two_members(backend, group_id):
    backend.chords.begin(group_id, 2)
    assert backend.chords.complete(part(group_id, 0, "a", "same")) is None
    assert values(backend.chords.complete(part(group_id, 1, "b", "same"))) == ["a", "b"]


def test_a_finished_chord_takes_no_notice_of_late_duplicates(backend, client, group_id):
    backend.chords.begin(group_id, 1)
    joined = backend.chords.complete(part(group_id, 0, "a"))
    backend.chords.dispatched(joined)
    assert backend.chords.complete(part(group_id, 0, "a")) is None
    keys = {key.decode().removeprefix(f"celery-taskset-meta-{group_id}") for key in client.keys(f"*{group_id}*")}
    assert keys == {".c"}


def test_a_duplicate_of_a_claimed_chord_has_to_look_again(node, backend, group_id, client):
    other = open_backend(node.url, Settings())
    backend.chords.begin(group_id, 1)
    assert backend.chords.complete(part(group_id, 0, "a"))
    with pytest.raises(BackendError, match="another worker"):
        other.chords.complete(part(group_id, 0, "a"))
    client.delete(f"celery-taskset-meta-{group_id}.c")  # the claimant has died, and its claim has run out
    joined = other.chords.complete(part(group_id, 0, "a"))
    assert values(joined) == ["a"]
    other.chords.dispatched(joined)
    assert backend.chords.complete(part(group_id, 0, "a")) is None
    other.close()


def test_a_caller_that_failed_after_its_claim_gets_the_chord_again(backend, group_id, monkeypatch):
    backend.chords.begin(group_id, 1)
    with monkeypatch.context() as patch:
        patch.setattr(_redis_chords, "read", lambda _: 1 / 0)
        backend.save_group(group_id, b"{}")
        with pytest.raises(ZeroDivisionError):
            backend.chords.complete(part(group_id, 0, "a"))
    assert values(backend.chords.complete(part(group_id, 0, "a"))) == ["a"]


def test_begun_twice_is_begun_once(backend, group_id):
    backend.chords.begin(group_id, 2)
    assert backend.chords.complete(part(group_id, 0, "a")) is None
    backend.chords.begin(group_id, 2)
    assert values(backend.chords.complete(part(group_id, 1, "b"))) == ["a", "b"]


def test_a_grown_chord_waits_for_more(backend, group_id):
    backend.chords.begin(group_id, 1)
    backend.chords.grow(group_id, 2, "more")
    assert backend.chords.complete(part(group_id, 0, 0)) is None
    assert backend.chords.complete(part(group_id, 1, 1)) is None
    assert values(backend.chords.complete(part(group_id, 2, 2))) == [0, 1, 2]


def test_a_chord_grows_once_however_often_that_is_reported(backend, client, group_id):
    """A member that has added one comes again when its worker has died; a call whose answer is lost is repeated."""
    backend.chords.begin(group_id, 2)
    for key in ("first:1", "first:1", "second:1", "first:1"):
        backend.chords.grow(group_id, 1, key)
    assert [backend.chords.complete(part(group_id, index)) for index in range(3)] == [None] * 3
    joined = backend.chords.complete(part(group_id, 3))
    assert joined is not None
    backend.chords.dispatched(joined)
    backend.chords.grow(group_id, 1, "first:1")
    assert [key.decode()[-2:] for key in client.keys(f"*{group_id}*")] == [".c"]


def test_members_without_index_come_last(backend, group_id):
    backend.chords.begin(group_id, 2)
    assert backend.chords.complete(part(group_id, None, "last", "x")) is None
    assert values(backend.chords.complete(part(group_id, 0, "first"))) == ["first", "last"]


def test_many_workers_many_chords_each_joined_once(node):
    backends = [open_backend(node.url, Settings()) for _ in range(4)]
    groups = [new_id() for _ in range(20)]
    for group in groups:
        backends[0].chords.begin(group, 10)
    reports = [part(group, index, index) for group in groups for index in range(10)] * 3
    random.Random(5).shuffle(reports)
    joined = []

    def report(number):
        chords = backends[number % 4].chords
        try:
            found = chords.complete(reports[number])
        except BackendError:
            return
        if found:
            joined.append((found.group_id, values(found)))
            chords.dispatched(found)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(report, range(len(reports))))
    assert sorted(joined) == sorted((group, list(range(10))) for group in groups)
    for backend in backends:
        backend.close()


def test_results_come_in_the_shape_of_a_nested_header(backend, group_id):
    inner = new_id()
    ids = [new_id() for _ in range(3)]
    leaves = [[[one, None], None] for one in ids]
    header = [leaves[0], [[inner, None], leaves[1:]]]
    backend.save_group(group_id, json.dumps({"result": [[group_id, None], header]}).encode())
    backend.store([record(one, result=number) for number, one in enumerate(ids)])
    backend.chords.begin(group_id, 3)
    reported = [part(group_id, index, index, one) for index, one in enumerate(ids)]
    assert [backend.chords.complete(one) for one in reported[:2]] == [None, None]
    assert values(backend.chords.complete(reported[2])) == [0, [1, 2]]


# Beside Celery


@pytest.fixture
def celery(node, celery_on):
    return celery_on(node.url)


def celery_part(celery, group_id, index, result):
    """A Celery worker has run this member."""
    body = signature("collect", app=celery, options={"task_id": f"{group_id}-body"})
    request = SimpleNamespace(id=f"{group_id}-{index}", group=group_id, group_index=index, chord=dict(body))
    celery.backend.on_chord_part_return(request, "SUCCESS", result)


def bodies(celery):
    """Arguments of the bodies that Celery has sent."""
    found = []
    with celery.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery", no_ack=True)
        while queue.qsize():
            found.append(queue.get(timeout=1).payload[0])
        queue.close()
    return found


def test_we_finish_what_celerys_workers_have_counted(backend, celery, group_id):
    celery.backend.set_chord_size(group_id, 3)
    celery_part(celery, group_id, 2, "c")
    assert backend.chords.complete(part(group_id, 1, "b")) is None
    joined = backend.chords.complete(part(group_id, 0, "a"))
    assert values(joined) == ["a", "b", "c"]
    celery_part(celery, group_id, 0, "a")
    backend.chords.dispatched(joined)
    celery_part(celery, group_id, 1, "b")
    assert bodies(celery) == []


def test_celerys_worker_finishes_what_we_have_counted(backend, celery, group_id):
    backend.chords.begin(group_id, 3)
    assert backend.chords.complete(part(group_id, 0, "a")) is None
    celery_part(celery, group_id, 1, "b")
    assert backend.chords.complete(part(group_id, 1, "b")) is None
    celery_part(celery, group_id, 2, "c")
    assert bodies(celery) == [[["a", "b", "c"]]]
    assert backend.chords.complete(part(group_id, 2, "c")) is None


def test_a_chord_that_celery_counts_without_order_is_counted_so(node, backend, celery, group_id):
    celery.conf.result_backend_transport_options = {"result_chord_ordered": False}
    backend.chords.begin(group_id, 2)
    celery_part(celery, group_id, 1, "b")
    assert values(backend.chords.complete(part(group_id, 0, "a"))) == ["b", "a"]


def test_chords_expire(node, client, group_id):
    backend = open_backend(node.url, Settings(chord_expires=4000.0))
    backend.chords.begin(group_id, 3)
    backend.chords.grow(group_id, 1, "more")
    backend.chords.complete(part(group_id, 0))
    name = f"celery-taskset-meta-{group_id}"
    assert all(7990 <= client.ttl(f"{name}{suffix}") <= 8000 for suffix in (".s", ".t", ".j", ".d", ".g"))
    backend.close()


def test_a_look_claims_what_is_complete_and_nothing_else(backend, group_id, monkeypatch):
    assert backend.chords.look(group_id, expired=True) == (True, None, 0)
    backend.chords.begin(group_id, 2)
    assert backend.chords.look(group_id, expired=False) == (False, None, 0)
    assert backend.chords.complete(part(group_id, 1, "b")) is None
    assert backend.chords.look(group_id, expired=False) == (False, None, 0)
    monkeypatch.setattr(_redis_chords, "CLAIM_SECONDS", 1)
    assert values(backend.chords.complete(part(group_id, 0, "a"))) == ["a", "b"]
    with pytest.raises(ChordClaimed):  # whoever goes on may have died
        backend.chords.look(group_id, expired=False)
    found = wait_for(lambda: looked(backend, group_id))
    assert values(found.joined) == ["a", "b"]
    backend.chords.dispatched(found.joined)
    assert backend.chords.look(group_id, expired=True).over


def looked(backend, group_id):
    with suppress(ChordClaimed):
        return backend.chords.look(group_id, expired=False)


@pytest.mark.parametrize("ended", [0, 1])
def test_a_chord_whose_time_is_up_is_claimed_once_and_late_members_count_for_nothing(backend, group_id, ended):
    backend.chords.begin(group_id, 2)
    backend.chords.grow(group_id, 1, "more")
    for index in range(ended):
        backend.chords.complete(part(group_id, index))
    found = backend.chords.look(group_id, expired=True)
    assert (found.over, found.missing) == (False, 3 - ended)
    with pytest.raises(ChordClaimed):
        backend.chords.look(group_id, expired=True)
    backend.chords.dispatched(found.joined)
    assert [backend.chords.complete(part(group_id, index)) for index in range(3)] == [None] * 3


def test_a_nested_header_of_which_results_are_missing_gives_what_was_counted(backend, group_id):
    header = [[[new_id(), None], None], [[new_id(), None], [[[new_id(), None], None]]]]
    backend.save_group(group_id, json.dumps({"result": [[group_id, None], header]}).encode())
    backend.chords.begin(group_id, 2)
    assert backend.chords.complete(part(group_id, 1, "b")) is None
    assert values(backend.chords.complete(part(group_id, 0, "a"))) == ["a", "b"]
