"""What a worker has done since it started. Owns the counting; for its last log line, reports and remote control."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amqtask.execution.job import Kind
from amqtask.worker.custody.gates import Observer

if TYPE_CHECKING:
    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect

_NAMES_MAX = 10_000
"""Names are what clients have written: only this many are told apart."""


@dataclass(slots=True)
class Counts:
    """Counts of one worker; written on its I/O thread.

    Attributes:
        received: messages that were new.
        duplicates: messages that were known already.
        ended: kind of an outcome -> how many.
        dead: dead letters.
        lost: deliveries whose process went away.
        handed_back: messages that went back to their queues, started or not.
        tasks: name of a task -> messages of it that were new.
    """

    received: int = 0
    duplicates: int = 0
    ended: dict[int, int] = field(default_factory=dict)
    dead: int = 0
    lost: int = 0
    handed_back: int = 0
    tasks: Counter[str] = field(default_factory=Counter)


class Counting(Observer):
    """Keeps :attr:`counts`."""

    def __init__(self) -> None:
        self.counts = Counts()

    def received(self, delivery: Delivery) -> None:  # noqa: D102 -- as Observer says
        counts, name = self.counts, delivery.name
        counts.received += 1
        if name is not None and (name in counts.tasks or len(counts.tasks) < _NAMES_MAX):
            counts.tasks[name] += 1

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: ARG002, D102
        counts, kind = self.counts, outcome.kind
        if effect.dead:
            counts.dead += 1
            if kind == Kind.RETRY:  # it has asked for what can't be
                kind = Kind.FAILED
        counts.ended[kind] = counts.ended.get(kind, 0) + 1

    def unsendable(self, delivery: Delivery, kind: int | None, effect: Effect) -> None:  # noqa: ARG002, D102
        counts = self.counts
        counts.dead += 1
        if kind is not None:
            counts.ended[kind] -= 1
            if not counts.ended[kind]:
                del counts.ended[kind]
            counts.ended[Kind.FAILED] = counts.ended.get(Kind.FAILED, 0) + 1

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:  # noqa: ARG002, D102
        self.counts.lost += 1
        if effect.dead:
            self.counts.dead += 1
