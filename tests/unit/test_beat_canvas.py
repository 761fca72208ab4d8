"""How signatures stand in a schedule, and which message a composition becomes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from amqtask import Amqtask, ConfigError, Exchange, Queue, chain, chord, group
from amqtask.beat.occurrences import Occurrences, occurrence_id
from amqtask.beat.service import start_beat
from amqtask.schedules.entry import read_entry, spec_of
from amqtask.wire.codec import decode

DUE = datetime(2030, 1, 1, tzinfo=UTC)


class Shop:
    def __init__(self, *queues, **settings):
        declared = [Queue("amqtask"), Queue("other"), *queues]
        self.app = Amqtask("shop", broker="amqp://", task_queues=declared, **settings)

        @self.app.task(name="add")
        def add(one, two):
            return one + two

        @self.app.task(name="total", priority=4)
        def total(numbers):
            return sum(numbers)

        self.add, self.total = add, total

    def message(self, entry, **how):
        read = read_entry("one", entry, UTC)
        return Occurrences(self.app, "log").message(read, DUE, **how)


@pytest.fixture
def shop():
    made = Shop()
    yield made
    made.app.close()


def test_a_signature_stands_for_its_call_and_the_entry_has_the_last_word(shop):
    sig = shop.add.s(1, two=2).set(priority=3, expires=9)
    entry = read_entry("one", {"task": sig, "schedule": 5, "expires": 7, "kwargs": {"two": 5}}, UTC)
    assert (entry.task, entry.args, dict(entry.kwargs)) == ("add", (1,), {"two": 5})
    assert dict(entry.options) == {"priority": 3, "expires": 7}
    assert read_entry("one", {"task": dict(sig), "schedule": 5, "expires": 7, "kwargs": {"two": 5}}, UTC) == entry


def test_a_composition_survives_being_kept_as_plain_values(shop):
    entry = read_entry("one", {"task": chord([shop.add.s(1, 2)], shop.total.s()), "schedule": 5}, UTC)
    again = read_entry("one", spec_of(entry), UTC)
    first, second = (Occurrences(shop.app, "log").message(one, DUE) for one in (entry, again))
    assert first.body == second.body


def test_a_chain_is_its_first_step_with_the_others_in_it(shop):
    made = shop.message({"task": chain(shop.add.s(1, 2), shop.add.s(3)), "schedule": 5})
    message = decode(made.properties, made.body, ["msgpack"])
    assert (message.task, message.args) == ("add", (1, 2))
    (rest,) = message.embed["chain"]
    assert rest["options"]["task_id"] == occurrence_id("shop", "one", DUE)
    assert shop.message({"task": chain(shop.add.s(1, 2), shop.add.s(3)), "schedule": 5}).body == made.body


def test_what_is_several_messages_is_started_by_one_in_the_queue_of_its_first_task(shop):
    work = group(shop.total.s([1]), shop.add.s(1, 2))
    made = shop.message({"task": work, "schedule": 5, "expires": 60})
    message = decode(made.properties, made.body, ["msgpack"])
    assert (message.task, message.id) == ("amqtask.start", occurrence_id("shop", "one", DUE))
    assert message.expires is not None
    assert made.properties.priority == 4
    assert shop.message({"task": work, "schedule": 5, "queue": "other"}).routing_key == "other"


@pytest.mark.parametrize("settings", [{}, {"interop": "celery", "task_serializer": "msgpack"}])
def test_what_is_nested_can_be_read_by_workers(settings):
    shop = Shop(**settings)
    try:
        inner = group(shop.add.s(3, 4), chord([shop.add.s(5, 6)], shop.total.s()))
        made = shop.message({"task": chord([shop.add.s(1, 2), inner], inner), "schedule": 5})
        kwargs = decode(made.properties, made.body, ["msgpack"]).kwargs
        work = kwargs.get("work", {"kwargs": kwargs})
        assert [one["task"] for one in work["kwargs"]["header"]] == ["add", "celery.group"]
        assert work["kwargs"]["body"]["kwargs"]["tasks"][0]["args"] == [3, 4]
    finally:
        shop.app.close()


def test_what_is_taken_apart_goes_to_one_queue_for_each_would_send_all_parts():
    out = Exchange("out", "fanout")
    to_all = {"task_routes": {"add": {"exchange": "out", "routing_key": ""}}}
    shop = Shop(Queue("here", exchange=out), Queue("there", exchange=out), **to_all)
    try:
        one, both = (
            shop.message({"task": work, "schedule": 5})
            for work in (group(shop.add.s(1, 2), shop.add.s(3, 4)), chain(shop.add.s(1, 2), shop.add.s(3)))
        )
        assert (one.routing_key, one.properties.headers["BCC"]) == ("here", ["log"])
        assert (both.routing_key, both.properties.headers["BCC"]) == ("here", ["there", "log"])
    finally:
        shop.app.close()


@pytest.mark.parametrize("kind", ["chain", "group", "chord"])
def test_ids_of_a_signature_that_was_frozen_are_left_out_for_each_run_has_its_own(shop, kind):
    one, two = shop.add.s(1, 2), shop.add.s(3)
    work = {"chain": chain(one, two), "group": group(one, two), "chord": chord(group(one, two), shop.total.s())}[kind]
    work.freeze()
    ids = set(re.findall(r"[0-9a-f-]{36}", json.dumps(work)))
    made = shop.message({"task": work, "schedule": 5})
    assert len(ids) >= 2
    assert not [one for one in ids if one.encode() in made.body or one == made.properties.correlation_id]


def test_workers_of_celery_get_the_names_that_they_know():
    shop = Shop(interop="celery")
    try:
        work = chord([shop.add.s(1, 2), shop.add.s(1, 2)], shop.total.s())
        assert shop.message({"task": work, "schedule": 5}).properties.headers["task"] == "celery.chord"
        steps = chain(shop.add.s(1, 2), shop.add.s(3))
        assert shop.message({"task": steps, "schedule": 5}).properties.headers["task"] == "add"
    finally:
        shop.app.close()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"task": "celery.group"}, "'bad': celery.group has no tasks"),
        ({"task": "celery.chord", "kwargs": {"header": [], "body": None}}, "'bad': a chord needs a body"),
        ({"task": "celery.chain", "kwargs": {"tasks": ["add"]}}, "'bad': celery.chain can't be read"),
        ({"task": "+", "overlap": "cancel_previous"}, "'cancel_previous' can't cancel celery.chain"),
        ({"task": "+", "args": (1, 2, 3)}, "'bad'.*takes 2 positional arguments"),
    ],
)
def test_a_composition_that_can_not_be_sent_is_an_error_at_the_start(shop, entry, why):
    if entry["task"] == "+":
        entry = {**entry, "task": chain(shop.add.s(1, 2), shop.add.s(1))}
    shop.app.conf.beat_schedule = {"bad": {"schedule": 5, **entry}}
    with pytest.raises(ConfigError, match=why):
        start_beat(shop.app)
