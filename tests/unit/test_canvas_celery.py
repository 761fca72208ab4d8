"""What the canvas makes is what Celery makes: the same algebra, and messages that carry the same."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from functools import partial
from types import SimpleNamespace

import celery
import pytest
from canvas_trees import Register, Task
from canvas_world import World
from celery import canvas as theirs

from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.maps import chunks, xmap, xstarmap
from amqtask.canvas.plan import PlanContext, Sending
from amqtask.canvas.planning import plan
from amqtask.canvas.signature import Signature


class Ours:
    signature, chain, group, chord, xmap, xstarmap, chunks = Signature, chain, group, chord, xmap, xstarmap, chunks


class Theirs:
    signature, chain, group, chord = theirs.Signature, theirs.chain, theirs.group, theirs.chord
    xmap, xstarmap, chunks = theirs.xmap, theirs.xstarmap, theirs.chunks


def s(names, name, *args, immutable=False):
    return names.signature(name, args=args, immutable=immutable)


def lazily(names, *steps):
    """A chain whose steps nobody has joined."""
    made = names.chain()
    made["kwargs"]["tasks"] = list(steps)
    return made


COMPOSED = {
    "task | task": lambda n: s(n, "a", 1) | s(n, "b"),
    "task | task | task": lambda n: s(n, "a", 1) | s(n, "b", immutable=True) | s(n, "c"),
    "chain()": lambda n: n.chain(s(n, "a"), s(n, "b"), s(n, "c")),
    "chain(iterable)": lambda n: n.chain([s(n, "a"), s(n, "b")]),
    "chain(chain)": lambda n: n.chain(s(n, "a"), n.chain(s(n, "b"), s(n, "c"))),
    "task | chain": lambda n: s(n, "a") | n.chain(s(n, "b"), s(n, "c")),
    "chain | chain": lambda n: n.chain(s(n, "a"), s(n, "b")) | n.chain(s(n, "c"), s(n, "d")),
    "task | group": lambda n: s(n, "a") | n.group(s(n, "b"), s(n, "c")),
    "task | group of one": lambda n: s(n, "a") | n.group(s(n, "b")),
    "group | task": lambda n: n.group(s(n, "a"), s(n, "b")) | s(n, "c"),
    "group of one | task": lambda n: n.group(s(n, "a")) | s(n, "c"),
    "chain(group of one, task)": lambda n: n.chain(n.group(s(n, "a")), s(n, "c")),
    "group | task | task": lambda n: n.group(s(n, "a"), s(n, "b")) | s(n, "c") | s(n, "d"),
    "group | group": lambda n: n.group(s(n, "a"), s(n, "b")) | n.group(s(n, "c"), s(n, "d")),
    "task | group | task": lambda n: s(n, "a") | n.group(s(n, "b"), s(n, "c")) | s(n, "d"),
    "task | group | task | task": lambda n: s(n, "a") | n.group(s(n, "b"), s(n, "c")) | s(n, "d") | s(n, "e"),
    "task | group | group": lambda n: s(n, "a") | n.group(s(n, "b"), s(n, "c")) | n.group(s(n, "d"), s(n, "e")),
    "task | empty group": lambda n: n.chain(s(n, "a"), s(n, "x")) | n.group([]),
    "chain of task, empty group, task": lambda n: n.chain(s(n, "a"), n.group([]), s(n, "b")),
    "chain(chain of group of one, task)": lambda n: n.chain(lazily(n, n.group([s(n, "x")]), s(n, "c")), s(n, "d")),
    "chain(chain with group of one, task)": lambda n: n.chain(
        s(n, "a"), lazily(n, s(n, "b"), n.group([s(n, "x")])), s(n, "d")
    ),
    "task | task | chain of group of one, task": lambda n: (
        s(n, "a") | s(n, "b") | lazily(n, n.group([s(n, "x")]), s(n, "c"))
    ),
    "group | group of one | task": lambda n: n.group(s(n, "a"), s(n, "b")) | n.group([s(n, "x")]) | s(n, "c"),
    "chord with a body of one in a group | task": lambda n: n.chord([s(n, "a")], n.group([s(n, "b")])) | s(n, "c"),
    "task | empty group | task": lambda n: s(n, "a") | n.group([]) | s(n, "b"),
    "task | empty group | task | task": lambda n: s(n, "a") | n.group([]) | s(n, "b") | s(n, "c"),
    "task | task | empty group | task": lambda n: s(n, "a") | s(n, "x") | n.group([]) | s(n, "b"),
    "empty group | task": lambda n: n.group([]) | s(n, "b"),
    "chord": lambda n: n.chord([s(n, "a"), s(n, "b")], s(n, "c")),
    "chord | task": lambda n: n.chord([s(n, "a"), s(n, "b")], s(n, "c")) | s(n, "d"),
    "chord | chain": lambda n: n.chord([s(n, "a"), s(n, "b")], s(n, "c")) | n.chain(s(n, "d"), s(n, "e")),
    "task | chord": lambda n: s(n, "x") | n.chord([s(n, "a"), s(n, "b")], s(n, "c")),
    "task | chord | task": lambda n: s(n, "x") | n.chord([s(n, "a"), s(n, "b")], s(n, "c")) | s(n, "d"),
    "chord with a body of two": lambda n: n.chord([s(n, "a")], s(n, "b") | s(n, "c")),
    "chord of chains": lambda n: n.chord([s(n, "a") | s(n, "b"), s(n, "c") | s(n, "d")], s(n, "e")),
    "chord of chords": lambda n: n.chord([n.chord([s(n, "a"), s(n, "b")], s(n, "c")), s(n, "d")], s(n, "e")),
    "group of chains": lambda n: n.group(s(n, "a") | s(n, "b"), s(n, "c")),
    "group(generator)": lambda n: n.group(s(n, "a", i) for i in range(3)),
    "map": lambda n: n.xmap(s(n, "a"), [1, 2]),
    "starmap": lambda n: n.xstarmap(s(n, "a"), [(1, 2), (3, 4)]),
    "chunks": lambda n: n.chunks(s(n, "a"), zip(range(4), range(4), strict=True), 2).group(),
    "callbacks": lambda n: n.signature("a", options={"link": [s(n, "b")], "link_error": [s(n, "c")]}) | s(n, "d"),
}


class Taken:
    """What a Celery app would have sent."""

    def __init__(self):
        self.app = celery.Celery("app", broker="memory://", backend="cache+memory://", set_as_current=False)
        self.messages, self.sizes = [], {}
        self.app.backend.apply_chord = lambda header, *_rest, **_more: self.sizes.update({header[0]: len(header[1])})
        self.app.amqp.send_task_message = lambda _producer, name, message, **_options: self.messages.append(message)


def as_json(sig):
    return json.loads(json.dumps(sig))


def tidy(value, ids):
    """Ids by their order, without what only tells who waits for the result, and without nothings."""
    if isinstance(value, dict):
        dropped = ("reply_to", "root_id", "parent_id", "priority", "add_to_parent")
        return {k: tidy(v, ids) for k, v in sorted(value.items()) if k not in dropped and v not in (None, [], {}, ())}
    if isinstance(value, list | tuple):
        return [tidy(item, ids) for item in value]
    if isinstance(value, str) and len(value) == 36:
        return ids.setdefault(value, f"id {len(ids)}")
    return value


def taken_from_celery(work):
    taken = Taken()
    bound = SimpleNamespace(**{name: getattr(Theirs, name) for name in vars(Theirs) if name[0] != "_"})
    bound.signature = partial(theirs.Signature, app=taken.app)
    sig = work(bound)
    for part in [sig, *getattr(sig, "tasks", [])]:
        part._app = taken.app
    sig.apply_async()
    return taken


def sent_by_celery(work):
    ids: dict[str, str] = {}
    for message in taken_from_celery(work).messages:
        args, kwargs, embed = message.body
        head = message.headers
        yield tidy(
            [head["task"], args, kwargs, embed, head["id"], head["group"], head["group_index"]],
            ids,
        )


def sent_by_us(work):
    ids: dict[str, str] = {}
    for one in plan(work(Ours), context=PlanContext(reply_to="us")).sendings:
        yield tidy([one.task, one.args, one.kwargs, one.embed, one.id, one.group, one.group_index], ids)


@pytest.mark.parametrize("work", COMPOSED.values(), ids=COMPOSED.keys())
def test_composed_signatures_are_celerys(work):
    assert as_json(work(Ours)) == as_json(work(Theirs))


ALIKE = {
    name: work
    for name, work in COMPOSED.items()
    if name not in ("group | group", "group | group of one | task", "chord with a body of one in a group | task")
}
"""Celery gives the members of a body that is a group, or begins with one, the id of the header's group; ours have that
of their own."""


@pytest.mark.parametrize("work", ALIKE.values(), ids=ALIKE.keys())
def test_messages_carry_what_celerys_carry(work):
    assert as_json(list(sent_by_us(work))) == as_json(list(sent_by_celery(work)))


@pytest.mark.parametrize("work", COMPOSED.values(), ids=COMPOSED.keys())
def test_celery_reads_our_signatures_and_we_read_its(work):
    ours, its = as_json(work(Ours)), as_json(work(Theirs))
    assert as_json(theirs.Signature.from_dict(as_json(ours))) == ours
    assert as_json(Signature.from_dict(as_json(its))) == its


class Anything(Register):
    """Every task there may be."""

    def __init__(self):
        self.tasks = defaultdict(lambda: Task(""))


@pytest.mark.parametrize("work", COMPOSED.values(), ids=COMPOSED.keys())
@pytest.mark.parametrize("seed", range(5))
def test_what_celery_sends_runs_like_what_we_send(work, seed):
    ours = World(random.Random(seed), Anything())
    ours.run(work(Ours))
    taken = taken_from_celery(work)
    its = World(random.Random(seed), Anything(), reply_to=taken.messages[0].properties["reply_to"])
    for group_id, size in taken.sizes.items():
        its.begin(group_id, size)
    for message in taken.messages:
        args, kwargs, embed = message.body
        head = message.headers
        its.send(
            Sending(
                head["task"],
                tuple(args),
                kwargs,
                {"task_id": head["id"], "reply_to": message.properties["reply_to"]},
                embed,
                head["root_id"],
                head["parent_id"],
                head["group"],
                head["group_index"],
            )
        )
    its.work_off()
    assert its.ran == ours.ran


@pytest.mark.parametrize(
    "given", [{}, {"start": 1, "stop": 5, "step": 2}, {"start": 2, "stop": 4, "step": 3}, {"step": 0.5, "stop": 2.2}]
)
def test_members_are_spread_over_time_as_celerys_are(given):
    ours, its = (n.group(s(n, "a") for _ in range(6)).skew(**given) for n in (Ours, Theirs))
    assert [task["options"]["countdown"] for task in ours.tasks] == [task["options"]["countdown"] for task in its.tasks]
