"""The messages that begin the body of a chord: where they stand in the tree of tasks."""

from __future__ import annotations

import pytest

from amqtask import Amqtask, chord, group
from amqtask.canvas.plan import PlanContext
from amqtask.canvas.planning import plan
from amqtask.execution.chord_bodies import ChordBodies
from amqtask.topology.chords import WATCH_TASK
from amqtask.wire.codec import serializers


@pytest.fixture
def app():
    app = Amqtask("bodies", broker="amqp://nobody@127.0.0.1:1/")
    yield app
    app.close()


def begun(app, work, context=PlanContext(native_chords=False)):  # noqa: B008 -- a value
    """Ids of the tasks sent first, and headers of the messages that begin the body, once all members have succeeded."""
    planned = plan(work, context=context)
    (start,) = planned.chords
    dumps = serializers.get(app.settings.result_serializer).dumps
    node = next(node for node in planned.tree.lineage() if node.id == start.group_id)
    members = [member.id for member in node.members]
    results = [dumps([number, member, "SUCCESS", number]) for number, member in enumerate(members)]
    after = ChordBodies(app, "here").of(start.body, start.group_id, results)
    headers = [message.properties.headers for message in after.messages]
    headers = [one for one in headers if one["task"] != WATCH_TASK]
    return [sent.id for sent in planned.sendings], members, headers


BODIES = {
    "task": lambda s: s("c"),
    "group": lambda s: group(s("c"), s("d")),
    "chain": lambda s: s("c") | s("d"),
    "chain that ends in a group": lambda s: s("c") | group(s("d"), s("e")),
    "chord": lambda s: chord([s("c"), s("d")], s("e")),
    "group of chains": lambda s: group(s("c") | s("d"), s("e")),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_the_last_member_is_the_parent_of_the_body_and_its_root_that_of_the_body(app, body):
    sent, members, headers = begun(app, chord([app.signature("a"), app.signature("b")], body(app.signature)))
    assert sent == members
    assert {(one["parent_id"], one["root_id"]) for one in headers} == {(members[-1], members[-1])}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_has_the_root_of_what_its_chord_follows(app, body):
    s, worker = app.signature, PlanContext(native_chords=False, root_id="root", parent_id="step")
    sent, members, headers = begun(app, chord([s("a"), s("b") | s("x")], body(s)), worker)
    assert len(sent) == 2
    assert {(one["parent_id"], one["root_id"]) for one in headers} == {(members[-1], "root")}


def test_a_chain_is_the_parent_by_its_end_and_the_root_by_its_beginning(app):
    s = app.signature
    sent, members, headers = begun(app, chord([s("a"), s("b") | s("x")], s("c")))
    assert {(one["parent_id"], one["root_id"]) for one in headers} == {(members[-1], sent[-1])}
