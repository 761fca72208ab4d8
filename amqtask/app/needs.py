"""Declare on miss: what to declare when a message finds no queue, and what to say when nothing can be done.

Owns the mapping from a message to the topology it needs. Nothing is declared while everything exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.errors import InequivalentArguments, TopologyError, Unroutable
from amqtask.plugins import did_you_mean
from amqtask.topology.declarations import DEFAULT_EXCHANGE, QueueDeclare
from amqtask.topology.delays import (
    DEAD_SUFFIX,
    EXIT_PREFIX,
    dead_name,
    delayed_queues,
    exact_delays,
    exit_name,
    exit_step,
    ladder_level,
    ladder_steps,
    remedy,
    retry_name,
)
from amqtask.topology.layout import topology_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.broker.interface import Layout
    from amqtask.config.settings import Settings
    from amqtask.topology.declarations import Step, Version
    from amqtask.topology.model import Topology
    from amqtask.topology.router import Router
    from amqtask.wire.message import Outgoing


class Need(NamedTuple):
    """What a message passes through on the broker.

    Attributes:
        level: of the delay ladder; -1: none.
        queues: that the topology declares.
        others: queues that another program declares: only looked for.
    """

    level: int
    queues: tuple[str, ...]
    others: tuple[str, ...] = ()


_PRIVATE = ("amqtask.chord.", "amqtask.reply.", "amq.")
"""Queues of these names come and go with those who use them."""


class Needs:
    """What messages need on the broker, and which of it has been declared from here. Thread-safe.

    Args:
        settings, topology, router: of the app.
    """

    def __init__(self, settings: Settings, topology: Topology, router: Router) -> None:
        self._settings, self._topology, self._router = settings, topology, router
        self._declared: set[Need] = set()

    @property
    def may_declare(self) -> bool:
        """Whether the setting ``topology_mode`` lets us declare."""
        return self._settings.topology_mode == "declare"

    def may_be_full(self, need: Need | None) -> bool:
        """Whether a queue among these has a length limit, as far as declarations say; True when it is not known."""
        if need is None:
            return True
        queues = (self._topology.queue(name) for name in need.queues)
        return any(queue.max_length is not None or queue.max_length_bytes is not None for queue in queues)

    def need(self, message: Outgoing) -> Need | None:
        """The declared objects this message passes through; None when none of them is declared."""
        headers = message.properties.headers or {}
        level = ladder_level(message.exchange)
        if level is not None:
            named = delayed_queues(headers)
            return Need(level, tuple(filter(self._is_known, named)), tuple(n for n in named if not self._is_known(n)))
        if message.exchange == DEFAULT_EXCHANGE:
            queues = self._declared_for(message.routing_key) or self._celery_queue(message.routing_key, headers)
        else:
            queues = self._router.queues_for(message.exchange, message.routing_key, headers)
        return Need(-1, tuple(queues)) if queues else None

    def is_declared(self, message: Outgoing) -> bool:
        """Whether the topology has all that a message passes through."""
        need = self.need(message)
        return need is not None and not need.others

    def _is_known(self, queue: str) -> bool:
        return queue in self._topology.queues or self._topology.open

    def _declared_for(self, name: str) -> list[str]:
        """The declared queue of this name, or the one whose dead-letter or retry queue has it."""
        if name in self._topology.queues:
            return [name]
        return [
            queue.name
            for queue in self._topology.queues.values()
            if name == dead_name(queue.name) or name in {retry_name(queue.name, d) for d in exact_delays(queue)}
        ]

    def _celery_queue(self, name: str, headers: Mapping[str, Any]) -> list[str]:
        """The queue of a Celery deployment that a task, or a dead letter, is for; never a caller's for results."""
        if not self._topology.open or name.startswith(_PRIVATE):
            return []
        base = name.removesuffix(DEAD_SUFFIX)
        return [base] if "task" in headers or base != name else []

    def to_prepare(self, message: Outgoing) -> Need | None:
        """What has to be declared before a delayed message is sent; None for others, and after :meth:`note_declared`.

        A message that waits in the broker can't come back as unroutable when its time has come: its queues have to
        exist before.
        """
        if not delayed_queues(message.properties.headers):
            return None
        need = self.need(message)
        if need is not None and not self.may_declare:  # the ladder itself is noticed when it is missing
            need = Need(-1, (), (*need.queues, *need.others, *map(exit_name, self._queues_with_exit(need))))
        return None if need in self._declared else need

    def _queues_with_exit(self, need: Need) -> list[str]:
        """Queues of a delayed message for which it leaves the ladder in another way."""
        return [] if need.level < 0 else [name for name in need.queues if self._topology.has_exit(name)]

    def error_for(self, need: Need, error: Exception) -> Exception:
        """The error for the user, when the broker did not let us declare what a message needs."""
        if not need.others or not isinstance(error, TopologyError) or isinstance(error, InequivalentArguments):
            return error
        gone = next((name for name in need.others if str(error).startswith(f"queue {name!r} is missing")), None)
        if gone is None or gone in self._topology.queues or gone.startswith(EXIT_PREFIX):
            return Unroutable(str(error))
        return Unroutable(self._no_queue(gone))

    def note_declared(self, need: Need) -> None:
        """Remember that it has been declared: :meth:`to_prepare` asks for it no more."""
        self._declared.add(need)

    def layout(self, need: Need) -> Layout:
        """What to declare for a need."""
        level, queues, others = need
        looked_for = tuple(QueueDeclare(name, passive=True) for name in others)
        kind = self._settings.delay_queue_type
        exits = [exit_step(name) for name in self._queues_with_exit(need)]
        ladder = ladder_steps(level, kind) if level >= 0 else ()

        def steps(version: Version) -> Sequence[Step]:
            return (*looked_for, *topology_steps(self._topology, version, queues), *exits, *ladder)

        return steps

    def explain(self, message: Outgoing, error: Unroutable) -> Unroutable:
        """The error for the user: why nothing was declared, and what to do."""
        mode = self._settings.topology_mode
        need = self.need(message)
        if need is not None:
            if mode == "declare":
                return Unroutable(f"{error}, even after declaring what routing.yaml says")
            unknown = [name for name in need.queues if name not in self._topology.queues]
            if unknown and need.level < 0:
                return Unroutable(self._no_queue(unknown[0]))
            return Unroutable(f"{error}; topology_mode is {mode!r}: {remedy(message.exchange)}")
        if message.exchange == DEFAULT_EXCHANGE:
            return Unroutable(self._no_queue(message.routing_key))
        known_exchanges = self._topology.exchanges
        if message.exchange not in known_exchanges:
            hint = did_you_mean(message.exchange, known_exchanges)
            return Unroutable(f"{error}; exchange {message.exchange!r} is not declared{hint}")
        return Unroutable(
            f"{error}; no declared queue is bound to exchange {message.exchange!r} with key {message.routing_key!r}"
        )

    def _no_queue(self, name: str) -> str:
        known = self._topology.queues
        hint = did_you_mean(name, known) or f"; declared are {', '.join(known)}"
        return f"queue {name!r} does not exist and is not declared{hint}"
