"""What follows from a task crosses the pipe of a child unchanged."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType

from amqtask.execution.job import After, Begin, Kind, Outcome
from amqtask.results.base import Part, Record
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.pools.prefork.frames import FrameReader, FrameWriter
from amqtask.worker.pools.prefork.values import outcome_of, plain_outcome

MESSAGE = Outgoing(
    "",
    "work",
    Properties("application/json", "utf-8", {"task": "t", "at": datetime(2026, 1, 1, tzinfo=UTC)}, reply_to="q"),
    b"\x00\xff",
)
AFTER = After(
    (MESSAGE, MESSAGE),
    (Record("id", "SUCCESS", b"{}", "application/json", None, "q", "c"),),
    (Part({"task": "body", "options": {"amqtask_chord": {"size": 2}}}, "g", None, "id", "SUCCESS", b"[]"),),
    (Begin("g", 2, "amqtask.chord.g", 7200.0), Begin("h", 1, more=True)),
)


def cross(outcome):
    ((fields,),) = FrameReader().feed(FrameWriter().frame(plain_outcome(outcome)))
    return outcome_of(fields)


def test_outcome_with_everything_that_can_follow_is_the_same_on_the_other_side():
    outcome = Outcome(7, Kind.SUCCESS, 0.5, "text", after=AFTER)
    crossed = cross(outcome)
    assert crossed == outcome
    assert crossed.after is not None
    for before, after in zip(AFTER, crossed.after, strict=True):
        assert [type(one) for one in before] == [type(one) for one in after]
    assert isinstance(crossed.after.messages[0].properties, Properties)


def test_outcome_without_anything_to_follow_is_the_same_on_the_other_side():
    outcome = Outcome(7, Kind.RETRY, 0.5, delay=2.0, headers={"retries": 1})
    assert cross(outcome) == outcome


def test_headers_may_be_any_mapping():
    properties = MESSAGE.properties._replace(headers=MappingProxyType({"task": "t"}))
    crossed = cross(Outcome(7, Kind.SUCCESS, after=After((MESSAGE._replace(properties=properties),))))
    assert crossed.after is not None
    assert crossed.after.messages[0].properties.headers == {"task": "t"}
