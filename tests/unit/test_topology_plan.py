"""Desired against actual, with a broker that is a dictionary."""

from __future__ import annotations

import pytest

from amqtask.errors import AccessRefused, InequivalentArguments
from amqtask.topology.declarations import Exchange, Queue, Step, Version
from amqtask.topology.layout import topology_steps
from amqtask.topology.model import Topology
from amqtask.topology.plan import Plan, name_of, plan

TOPOLOGY = Topology.from_code([Queue("emails", Exchange("tasks", "topic"), "email.#")], {"*": "emails"})
STEPS = topology_steps(TOPOLOGY, Version(3, 10))


class Objects:
    """Answers like a broker that has these objects; counts declarations of missing ones."""

    def __init__(self, *steps: Step, may_configure: bool = True) -> None:
        self.by_name = {name_of(step): step for step in steps}
        self.may_configure = may_configure

    def exists(self, step: Step) -> bool:
        return name_of(step) in self.by_name

    def declare(self, step: Step) -> None:
        there = self.by_name[name_of(step)]
        if not self.may_configure:
            raise AccessRefused("no")
        for argument in {*step.arguments, *there.arguments}:
            wanted, existing = step.arguments.get(argument), there.arguments.get(argument)
            if wanted != existing:
                raise InequivalentArguments("queue", name_of(step), argument, str(wanted), str(existing))


def actions(made: Plan) -> dict[str, str]:
    return {item.name: item.action for item in made.items}


def test_on_an_empty_broker_everything_is_created_in_order() -> None:
    made = plan(STEPS, Objects())
    assert actions(made) == {
        "tasks": "create",
        "emails.dead": "create",
        "emails": "create",
        "tasks → emails (email.#)": "bind",
    }
    assert made.steps == STEPS
    assert not made.clean


def test_after_applying_nothing_is_left_but_bindings() -> None:
    made = plan(STEPS, Objects(*STEPS))
    assert set(actions(made).values()) == {"same", "bind"}
    assert made.clean
    assert made.differences == made.missing == ()
    assert [name_of(step) for step in made.steps] == ["tasks → emails (email.#)"]


def test_a_difference_is_named_with_both_sides() -> None:
    other = Topology.from_code([Queue("emails", max_length=5)], {"*": "emails"})
    made = plan(STEPS, Objects(*topology_steps(other, Version(3, 10))))
    (different,) = made.differences
    assert (different.kind, different.name) == ("queue", "emails")
    assert different.note == "x-max-length is 5, wanted None"
    assert not made.clean
    assert ("differs", "queue", "emails", "x-max-length is 5, wanted None") in made.rows()


def test_without_the_right_to_configure_existence_is_all_that_is_known() -> None:
    made = plan(STEPS, Objects(*STEPS, may_configure=False))
    assert set(actions(made).values()) == {"exists", "bind"}
    assert made.clean


@pytest.mark.parametrize("broker", [Objects(), Objects(*STEPS)])
def test_rows_and_json_say_the_same(broker: Objects) -> None:
    made = plan(STEPS, broker)
    document = made.to_json()
    assert document["clean"] is made.clean
    assert [(item["action"], item["kind"], item["name"]) for item in document["items"]] == [
        row[:3] for row in made.rows()
    ]
    assert ("tasks", "type=topic") in {row[2:] for row in made.rows()}
    assert document["items"][1]["arguments"]["x-queue-type"] == "quorum"
