"""What is measured: every row of the tables, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        measure: enqueue, drain, latency or idle.
        peer: amqtask, celery, dramatiq or raw.
        name: what is special about it.
        settings: for the peer's module and its worker's command line.
        messages: of a drain; faster peers get more, so that the span is long enough to measure CPU.
        contest: the comparison this row takes part in, see :mod:`harness.targets`.
    """

    measure: str
    peer: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    messages: int = 0
    contest: str = ""

    @property
    def key(self) -> str:
        return f"{self.measure} | {self.peer} | {self.name}"


def _enqueue() -> Iterator[Variant]:
    for queue_type in ("classic", "quorum"):
        one = {"queue_type": queue_type, "pipelined": False, "confirm": True}
        many = {**one, "pipelined": True}
        yield Variant("enqueue", "raw", f"Blocking, a confirm each, {queue_type}", one, contest="one by one")
        yield Variant("enqueue", "amqtask", f"delay, {queue_type}", one, contest="one by one")
        yield Variant("enqueue", "raw", f"Select, window of 500, {queue_type}", many, contest="pipelined")
        yield Variant("enqueue", "amqtask", f"delay_many, {queue_type}", many, contest="pipelined")
    for peer, call in (("celery", "delay"), ("dramatiq", "send")):
        one = {"queue_type": "classic", "pipelined": False}
        yield Variant(
            "enqueue",
            peer,
            f"{call}, a confirm each, classic",
            {**one, "confirm": True},
            contest="one by one",
        )
        yield Variant("enqueue", peer, f"{call}, no confirm (its default), classic", one)


def _drain() -> Iterator[Variant]:
    for queue_type in ("classic", "quorum"):
        two = {"queue_type": queue_type, "pool": "prefork", "slots": 2}
        for prefetch in (None, 64, 300):
            settings = two if prefetch is None else {**two, "prefetch": prefetch}
            name = f"prefork 2, prefetch {prefetch or 'auto'}, {queue_type}"
            yield Variant("drain", "amqtask", name, settings, 60_000, "drain")
        for prefetch in (8, 128):
            settings = {**two, "prefetch": prefetch}
            yield Variant("drain", "celery", f"prefork 2, prefetch {prefetch}, {queue_type}", settings, 12_000, "drain")
        for threads, prefetch in ((1, 200), (8, 400)):
            settings = {"queue_type": queue_type, "processes": 2, "threads": threads, "prefetch": prefetch}
            name = f"2 processes of {threads}, prefetch {prefetch}, {queue_type}"
            yield Variant("drain", "dramatiq", name, settings, 30_000, "drain")
        yield Variant("drain", "raw", f"Select, 2 processes, {queue_type}", two, 80_000, "drain")
    yield from _strict()
    yield from _other_pools()


def _strict() -> Iterator[Variant]:
    """A child never has a second task waiting in it; what the parent holds meanwhile is the prefetch."""
    two = {"queue_type": "classic", "pool": "prefork", "slots": 2}
    for prefetch in (2, 64, 300):
        settings = {**two, "prefetch": prefetch, "one_at_a_time": True}
        name = f"prefork 2, one at a time, prefetch {prefetch}, classic"
        yield Variant("drain", "amqtask", name, settings, 30_000, "strict")
    for prefetch in (2, 8, 64):  # Celery's children never hold a second task
        settings = {**two, "prefetch": prefetch}
        name = f"prefork 2, one at a time, prefetch {prefetch}, classic"
        yield Variant("drain", "celery", name, settings, 10_000, "strict")
    settings = {"queue_type": "classic", "processes": 2, "threads": 1, "prefetch": 2}
    yield Variant("drain", "dramatiq", "2 processes of 1, prefetch 2, classic", settings, 16_000, "strict")


def _other_pools() -> Iterator[Variant]:
    for pool, slots in (("threads", 8), ("asyncio", 100), ("solo", 1)):
        settings = {"queue_type": "classic", "pool": pool, "slots": slots}
        yield Variant("drain", "amqtask", f"{pool} {slots}, prefetch auto, classic", settings, 40_000)
    settings = {"queue_type": "classic", "pool": "threads", "slots": 8, "prefetch": 128}
    yield Variant("drain", "celery", "threads 8, prefetch 128, classic", settings, 12_000)
    settings = {"queue_type": "classic", "processes": 2, "threads": 8}
    yield Variant("drain", "dramatiq", "2 processes of 8 (its default), classic", settings, 20_000)


def _latency() -> Iterator[Variant]:
    base = {"queue_type": "classic", "slots": 2}
    yield Variant("latency", "raw", "Blocking to Select, classic", {**base, "slots": 1, "pipelined": False})
    yield Variant("latency", "celery", "prefork 2, classic", {**base, "pool": "prefork"})
    settings = {"queue_type": "classic", "processes": 2, "threads": 8}
    yield Variant("latency", "dramatiq", "2 processes of 8, classic", settings, contest="latency")
    yield Variant("latency", "amqtask", "prefork 2, classic", {**base, "pool": "prefork"}, contest="latency")
    settings = {**base, "pool": "prefork", "queue_type": "quorum"}
    yield Variant("latency", "amqtask", "prefork 2, quorum", settings)
    yield Variant("latency", "amqtask", "threads 8, classic", {**base, "pool": "threads", "slots": 8})


def _idle() -> Iterator[Variant]:
    two = {"pool": "prefork", "slots": 2}
    yield Variant("idle", "amqtask", "prefork 2, quorum", {**two, "queue_type": "quorum"}, contest="idle")
    yield Variant("idle", "amqtask", "prefork 8, quorum", {**two, "slots": 8, "queue_type": "quorum"}, contest="wide")
    yield Variant("idle", "celery", "prefork 2, classic", {**two, "queue_type": "classic"})
    settings = {"queue_type": "classic", "processes": 2, "threads": 8}
    yield Variant("idle", "dramatiq", "2 processes of 8, classic", settings)


VARIANTS: tuple[Variant, ...] = (*_enqueue(), *_drain(), *_latency(), *_idle())
