"""Stamps: every part of a piece of work gets those that Celery gives it."""

from __future__ import annotations

import json

import pytest
from celery import Celery
from celery import canvas as theirs

from amqtask.canvas.after import after_success, context_of
from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.plan import PlanContext
from amqtask.canvas.planning import plan
from amqtask.canvas.signature import Signature
from amqtask.canvas.stamps import StampingVisitor
from amqtask.wire.message import TaskMessage

CELERY = Celery("app", broker="memory://", set_as_current=False)


class Ours:
    visitor = StampingVisitor
    chain, group, chord = chain, group, chord

    @staticmethod
    def s(name, **options):
        return Signature(name, options=options)


class Theirs:
    visitor = theirs.StampingVisitor
    chain, group, chord = theirs.chain, theirs.group, theirs.chord

    @staticmethod
    def s(name, **options):
        return theirs.Signature(name, options=options, app=CELERY)


def visitors(names):  # noqa: C901
    class Named(names.visitor):
        def on_signature(self, sig, **headers):
            return {"name": sig.task}

    class Partial(names.visitor):
        def on_signature(self, sig, **headers):
            return {"stamp": 1, "other": 2, "stamped_headers": ["stamp"]}

    class All(names.visitor):
        def on_signature(self, sig, **headers):
            return {"on_signature": sig.task}

        def on_group_start(self, group, **headers):
            return {"on_group": len(list(group.tasks))}

        def on_chain_start(self, chain, **headers):
            return {"on_chain": len(chain.tasks)}

        def on_chord_header_start(self, chord, **headers):
            return {"on_header": "yes"}

        def on_chord_body(self, chord, **headers):
            return {"on_body": "yes"}

        def on_callback(self, callback, **headers):
            return {"on_callback": callback.task}

        def on_errback(self, errback, **headers):
            return {"on_errback": errback.task}

    class Nothing(names.visitor):
        def on_signature(self, sig, **headers):
            return None

    return {"named": Named, "partial": Partial, "all": All, "nothing": Nothing, "none": lambda: None}


WORK = {
    "task": lambda n: n.s("a"),
    "chain": lambda n: n.chain(n.s("a"), n.s("b")),
    "group": lambda n: n.group([n.s("a"), n.s("b")]),
    "chord": lambda n: n.chord([n.s("a"), n.s("b")], n.s("c")),
    "nested": lambda n: n.chord([n.chain(n.s("a"), n.s("b")), n.s("c")], n.chain(n.s("d"), n.s("e"))),
    "stamped before": lambda n: n.s("a", stamped_headers=["tenant"], tenant="old"),
    "callbacks": lambda n: n.s("a", link=[n.s("b")], link_error=[n.s("c")]),
}


def stamps_in(sig):
    """Name of each task in a signature -> its stamps; names that have no value, as Celery leaves some, don't count."""
    found = {}

    def walk(value):
        if isinstance(value, dict) and "task" in value:
            given = value["options"]
            names = sorted(name for name in given.get("stamped_headers") or () if name in given)
            found[value["task"]] = {"stamped": names} | {k: given[k] for k in given if k in names or k == "other"}
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(json.loads(json.dumps(sig)))
    return {name: stamps for name, stamps in found.items() if not name.startswith("celery.")}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("visitor", ["named", "partial", "all", "nothing", "none"])
@pytest.mark.parametrize("headers", [{}, {"tenant": "new", "trace": "t1"}], ids=["", "headers"])
def test_stamps_are_where_celery_puts_them(work, visitor, headers):
    ours, its = WORK[work](Ours), WORK[work](Theirs)
    ours.stamp(visitors(Ours)[visitor](), **headers)
    its.stamp(visitors(Theirs)[visitor](), **headers)
    expected = stamps_in(its)
    if visitor == "none" and "header" in ours.kwargs:  # Celery leaves the body out when there is no visitor
        expected = {name: {"stamped": sorted(headers), **headers} for name in expected}
    assert stamps_in(ours) == expected


def test_appended_stamps_are_lists_of_all():
    sig = Ours.s("a", stamped_headers=["tenant"], tenant="old").stamp(append_stamps=True, tenant="new", trace=1)
    assert sig.options["tenant"] == ["old", "new"]
    assert sig.options["stamped_headers"] == ["tenant", "trace"]
    assert sig.stamp(append_stamps=True, tenant="new").options["tenant"] == ["old", "new"]


def test_callbacks_that_are_plain_dicts_are_stamped_too():
    sig = Signature("a", options={"link": [dict(Ours.s("b"))]})
    sig.stamp(tenant="x")
    assert sig.options["link"][0]["options"]["tenant"] == "x"


def test_stamps_travel_with_every_step_and_no_later_option_changes_them():
    work = chain(Ours.s("a"), Ours.s("b")).stamp(tenant="x")
    (sent,) = plan(work, given={"tenant": "y"}, context=PlanContext()).sendings
    assert sent.stamps == {"tenant": "x"}
    message = TaskMessage(sent.task, sent.id, sent.args, sent.kwargs, sent.embed, stamps=sent.stamps)
    (following,) = after_success(message, 1, context_of(message, PlanContext(), None)).plans[0].sendings
    assert following.stamps == {"tenant": "x"}
