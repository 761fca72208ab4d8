"""What the I/O loop alone knows of its worker at one moment. Owns which numbers these are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.worker.engine import Engine


class State(NamedTuple):
    """Numbers of one moment.

    Attributes:
        slots, busy: of the pool: how many there are, and run a task.
        prefetch: how many messages the consumed queues may send without an ack; 0 is no limit.
        unacked: how many they have sent.
        unconfirmed: messages that wait for the broker's confirm, or for being sent.
        blocked: the broker blocks publishers.
        connected: name of a connection -> it stands.
        reconnects: name of a connection -> how often it was made again.
        duplicates: messages that came again although they were done, or still run here.
        children: why children of the pool have ended -> how many; None where there are none.
    """

    slots: int
    busy: int
    prefetch: int
    unacked: int
    unconfirmed: int
    blocked: bool
    connected: Mapping[str, bool]
    reconnects: Mapping[str, int]
    duplicates: int
    children: Mapping[str, int] | None

    @classmethod
    def of(cls, worker: Engine) -> State:
        """To be called on the I/O thread."""
        pool, publisher = worker.pool, worker.publisher
        opened = {"consume": worker.link.opened, "publish": publisher.opened}
        return cls(
            slots=pool.size,
            busy=len(pool.running()),
            prefetch=sum(worker.consumers.consumed.values()),
            unacked=len(worker.custody.acks.settlements),
            unconfirmed=publisher.pending,
            blocked=publisher.blocked,
            connected={"consume": worker.connection is not None, "publish": publisher.connected},
            reconnects={name: max(0, times - 1) for name, times in opened.items()},
            duplicates=worker.custody.counts.duplicates,
            children=pool.ended_children,
        )
