"""What revocations say, and how they are kept."""

from __future__ import annotations

import pytest

from amqtask import clock
from amqtask.control.tombstones import QUEUE, Revoked, Tombstone, message, queue, read, tombstones
from amqtask.errors import DecodeError
from amqtask.topology.declarations import Version
from amqtask.wire.lamport import LamportClock

LATER = 4_000_000_000.0


def test_an_entry_is_read_as_it_was_written():
    entry = Tombstone(LATER, ("a", "b"), {"user": ("1", "2")})
    written = message(entry)
    assert (written.exchange, written.routing_key) == ("", QUEUE)
    assert read(written.body) == entry


def test_a_mark_revokes_nothing():
    entry = read(message(Tombstone(0.0, mark="m")).body)
    assert entry.mark == "m"
    revoked = Revoked()
    revoked.add(entry)
    assert not revoked.ids()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"until": "x", "ids": [], "stamps": {}}', b'{"until": 1, "ids": 5, "stamps": {}}',
             b'{"until": 1, "ids": [], "stamps": []}', b"\xff", b"[" * 50_000, b"5"],
    ids=repr,
)  # fmt: skip
def test_garbage_is_refused(body):
    with pytest.raises(DecodeError):
        read(body)


def test_many_ids_are_several_entries():
    entries = tombstones([str(n) for n in range(2500)], 60)
    assert [len(entry.ids) for entry in entries] == [1000, 1000, 500]


def test_an_id_is_revoked_until_it_runs_out(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(clock, "wall", lambda: now)
    revoked = Revoked()
    revoked.add(Tombstone(1010.0, ("a",)))
    revoked.add(Tombstone(999.0, ("old",)))
    assert revoked.says("a")
    assert not revoked.says("b")
    assert not revoked.says(None)
    assert revoked.ids() == ["a"]
    now = 1011.0
    assert not revoked.says("a")
    assert revoked.ids() == []


def test_a_later_revocation_of_the_same_task_lasts_longer():
    revoked = Revoked()
    revoked.add(Tombstone(LATER, ("a",)))
    revoked.add(Tombstone(LATER - 1, ("a",)))
    assert revoked._ids["a"] == LATER


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ({"user": ["1"]}, True),
        ({"user": "2"}, True),
        ({"user": 1}, True),
        ({"user": ["3"]}, False),
        ({"other": ["1"]}, False),
        ({}, False),
        (None, False),
        ("user", False),
    ],
)
def test_tasks_are_revoked_by_stamps(stamps, expected):
    revoked = Revoked()
    revoked.add(Tombstone(LATER, stamps={"user": ("1", "2")}))
    assert revoked.says("any", stamps) is expected
    assert revoked.stamps() == {"user": ["1", "2"]}


def test_the_oldest_are_forgotten_beyond_the_limit():
    revoked = Revoked(limit=2)
    for name in "abc":
        revoked.add(Tombstone(LATER, (name,)))
    assert revoked.ids() == ["b", "c"]


def test_rabbitmq_keeps_them_in_a_stream_and_others_in_a_classic_queue():
    stream = queue(Version(3, 10), 60)
    assert stream.arguments["x-queue-type"] == "stream"
    assert stream.arguments["x-max-age"] == "60s"
    assert queue(Version(4, 3, 0, "amqtask dev broker"), 60).arguments == {"x-message-ttl": 60_000}


def test_the_logical_clock_only_grows():
    clock_ = LamportClock()
    assert [clock_.tick(), clock_.adjust(10), clock_.adjust(3), clock_.tick()] == [1, 11, 12, 13]
    assert [clock_.adjust("x"), clock_.adjust(-5), clock_.adjust(2**80)] == [14, 15, 16]
    assert clock_.value == 16
