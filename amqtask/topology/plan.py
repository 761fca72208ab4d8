"""Desired topology against the broker's: what is missing, there, or different.

Owns the comparison and its readable forms. A plan is made of questions only; nothing is created.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from amqtask.errors import AccessRefused, InequivalentArguments
from amqtask.topology.declarations import ExchangeBind, ExchangeDeclare, QueueBind, QueueDeclare, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

Action = Literal["create", "same", "exists", "differs", "bind"]
"""create: it is missing. same: it exists as declared. exists: it exists, but may not be compared (no
configure permission), or need not be as declared. differs: it exists with other arguments. bind: AMQP can't tell
whether a binding exists; binding again is harmless."""


class Probe(Protocol):
    """What a plan asks of a broker."""

    def exists(self, step: Step) -> bool:
        """Is there an object of this kind and name?"""

    def declare(self, step: Step) -> None:
        """Declare it; called only for objects that exist, which compares and changes nothing.

        Raises:
            InequivalentArguments: it exists with other properties.
            AccessRefused: the user may not configure it.
        """


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a plan.

    Attributes:
        action: what applying the plan does about it.
        step: the declaration.
        note: for ``differs`` what is different, in words.
    """

    action: Action
    step: Step
    note: str = ""

    @property
    def kind(self) -> str:
        """exchange, queue or binding."""
        return kind_of(self.step)

    @property
    def name(self) -> str:
        """Name of the object; ``source → destination (key)`` for a binding."""
        return name_of(self.step)


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying the desired topology means; the order is that of the steps."""

    items: tuple[Item, ...]

    @property
    def differences(self) -> tuple[Item, ...]:
        """What exists with other arguments: applying the plan would fail there."""
        return tuple(item for item in self.items if item.action == "differs")

    @property
    def missing(self) -> tuple[Item, ...]:
        """What applying the plan would create, bindings left out."""
        return tuple(item for item in self.items if item.action == "create")

    @property
    def clean(self) -> bool:
        """Does every exchange and queue exist, and none with other arguments?"""
        return not self.differences and not self.missing

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is left to do, in order: the missing objects, and every binding."""
        return tuple(item.step for item in self.items if item.action in ("create", "bind"))

    def rows(self) -> list[tuple[str, str, str, str]]:
        """For a table: action, kind, name, arguments or difference."""
        return [(item.action, item.kind, item.name, item.note or arguments_of(item.step)) for item in self.items]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "clean": self.clean,
            "items": [
                {
                    "action": item.action,
                    "kind": item.kind,
                    "name": item.name,
                    "arguments": dict(item.step.arguments),
                    **({"difference": item.note} if item.note else {}),
                }
                for item in self.items
            ],
        }


def plan(steps: Iterable[Step], probe: Probe) -> Plan:
    """Compare desired steps with what the broker has.

    Args:
        steps: in the order in which they would be applied.
        probe: asks the broker.

    Raises:
        BrokerError: the broker can't be asked.
    """
    return Plan(tuple(_item(step, probe) for step in steps))


def kind_of(step: Step) -> str:
    """exchange, queue or binding."""
    if isinstance(step, ExchangeDeclare):
        return "exchange"
    return "queue" if isinstance(step, QueueDeclare) else "binding"


def name_of(step: Step) -> str:
    """Name of the object; ``source → destination (key)`` for a binding."""
    if isinstance(step, ExchangeDeclare | QueueDeclare):
        return step.name
    ends = (step.exchange, step.queue) if isinstance(step, QueueBind) else (step.source, step.destination)
    return " → ".join(ends) + (f" ({step.routing_key})" if step.routing_key else "")


def arguments_of(step: Step) -> str:
    """The step's properties on one line."""
    words = [f"type={step.type}"] if isinstance(step, ExchangeDeclare) else []
    if isinstance(step, ExchangeDeclare | QueueDeclare) and not step.durable:
        words.append("transient")
    words.extend(f"{name}={value}" for name, value in step.arguments.items())
    return " ".join(words)


def _item(step: Step, probe: Probe) -> Item:
    if isinstance(step, QueueBind | ExchangeBind):
        return Item("bind", step)
    if not probe.exists(step):
        return Item("create", step)
    try:
        probe.declare(step)
    except InequivalentArguments as error:
        if step.lenient:
            return Item("exists", step)
        return Item("differs", step, error.difference)
    except AccessRefused:
        return Item("exists", step)
    return Item("same", step)
