"""Which waiting message runs next (sans I/O): priorities within a queue, order between queues.

Owns the messages that were delivered but not started. Consumer priorities do not rank two queues on RabbitMQ
(measured: an even split), so the order between queues is the worker's own:

* ``strict``: the first queue with a message, in the order they were given;
* ``weighted``: smooth weighted round robin over the queues that have messages;
* ``fair``: the same with equal weights.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from amqtask.topology.declarations import QueueOrder
    from amqtask.worker.deliveries.delivery import Delivery


class Ready:
    """Waiting deliveries. Not thread-safe; lives on the I/O thread.

    Args:
        weights: queue -> weight, in strict order.
        order: how queues rank among each other.
    """

    def __init__(self, weights: Mapping[str, int], order: QueueOrder) -> None:
        self._order = order
        self._weights = {queue: 1 if order == "fair" else max(1, weight) for queue, weight in weights.items()}
        self._credit = dict.fromkeys(self._weights, 0)
        self._heaps: dict[str, list[tuple[int, int, Delivery]]] = {queue: [] for queue in self._weights}
        self._first = next(iter(self._heaps))
        self._ahead: deque[Delivery] = deque()
        self._reserved: set[int] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Delivery]:
        yield from self._ahead
        for heap in self._heaps.values():
            for _, _, delivery in sorted(heap, key=lambda entry: entry[1]):
                yield delivery

    def push(self, delivery: Delivery) -> None:
        """Add a delivery; higher priority first, then in the order of arrival, also for one that was here before."""
        self._count += 1
        if delivery.key in self._reserved:
            self._reserved.discard(delivery.key)
            self._ahead.append(delivery)
        else:
            heapq.heappush(self._heaps[delivery.queue], (-delivery.priority, delivery.key, delivery))

    @property
    def reserved(self) -> int:
        """How many slots are to be left free."""
        return len(self._reserved)

    def reserve(self, key: int) -> None:
        """It was the turn of this delivery, which has to wait for a moment: it comes before all others then."""
        self._reserved.add(key)

    def release(self, key: int) -> None:
        """It has not come; harmless when it has."""
        self._reserved.discard(key)

    def pop(self) -> Delivery | None:
        """Take the delivery that runs next; None when nothing waits."""
        if not self._count:
            return None
        self._count -= 1
        if self._ahead:
            return self._ahead.popleft()
        return heapq.heappop(self._heaps[self._next_queue()])[2]

    def add(self, queue: str, weight: int = 1) -> None:
        """From now on there are deliveries of this queue too, after those that there were."""
        if queue not in self._heaps:
            self._weights[queue] = 1 if self._order == "fair" else max(1, weight)
            self._credit[queue], self._heaps[queue] = 0, []

    def take(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Take what is wanted, in the order of arrival per queue; the rest keeps its order."""
        taken = [delivery for delivery in self if wanted(delivery)]
        gone = set(map(id, taken))
        self._ahead = deque(delivery for delivery in self._ahead if id(delivery) not in gone)
        for queue, heap in self._heaps.items() if gone else ():
            self._heaps[queue] = [entry for entry in heap if id(entry[2]) not in gone]
            heapq.heapify(self._heaps[queue])
        self._count -= len(taken)
        return taken

    def clear(self) -> list[Delivery]:
        """Take everything, in the order of arrival per queue."""
        taken = list(self)
        self._ahead.clear()
        for heap in self._heaps.values():
            heap.clear()
        self._count = 0
        return taken

    def _next_queue(self) -> str:
        if len(self._heaps) == 1:
            return self._first
        filled = [queue for queue, heap in self._heaps.items() if heap]
        if self._order == "strict" or len(filled) == 1:
            return filled[0]
        total = 0
        for queue in filled:
            weight = self._weights[queue]
            self._credit[queue] += weight
            total += weight
        best = max(filled, key=self._credit.__getitem__)
        self._credit[best] -= total
        return best
