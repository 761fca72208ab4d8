"""Task ids: UUIDv7 whose age can be read."""

from __future__ import annotations

import os
import threading
import uuid

import pytest

from amqtask import clock
from amqtask.wire.ids import born, new_id


def test_an_id_is_a_uuid_of_version_7():
    value = uuid.UUID(new_id())
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert str(value) == str(value).lower()


def test_the_age_of_an_id_can_be_read(monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: 4102444800.123)
    assert born(new_id()) == pytest.approx(4102444800.123, abs=0.001)


def test_ids_grow_although_the_clock_goes_back(monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: 1000.0)
    first = new_id()
    monkeypatch.setattr(clock, "wall", lambda: 991.0)
    later = [new_id() for _ in range(1000)]
    assert [first, *later] == sorted({first, *later})


def test_ids_follow_a_clock_that_was_far_ahead(monkeypatch):
    now = clock.wall()
    monkeypatch.setattr(clock, "wall", lambda: now + 86_400)
    new_id()
    monkeypatch.setattr(clock, "wall", lambda: now)
    assert born(new_id()) == pytest.approx(now, abs=0.002)


def test_ids_of_many_threads_are_distinct():
    ids = []
    threads = [threading.Thread(target=lambda: ids.extend([new_id() for _ in range(500)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 4000


def test_a_forked_child_makes_other_ids():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id().encode())
        os._exit(0)
    mine = new_id()
    os.waitpid(child, 0)
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    assert mine[-12:] != theirs[-12:]


@pytest.mark.parametrize("text", ["", "x", str(uuid.UUID(int=0)), "g" * 12 + "7" + "0" * 19, "task-7"])
def test_other_ids_have_no_age(text):
    assert born(text) is None
