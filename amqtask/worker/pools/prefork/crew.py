"""The children of a pool: births, succession, deaths, growth. Owns who takes whose place, and when.

A child that has run its share of tasks, or holds too much memory, gets an heir: a child in a slot of its own, which
takes jobs as soon as it is up and the elder has ended its last one. So nothing is interrupted, no more tasks run at
once than there are slots, and while the next child comes up the last one is still there. A crashed child is replaced
at once; children that keep dying before they are up are replaced with growing pauses.
"""

from __future__ import annotations

import logging
import random
import signal
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Protocol

from amqtask.worker.pools.prefork.slot import Slot

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop
    from amqtask.worker.pools.prefork.server import ForkServer
    from amqtask.worker.pools.prefork.watch import Watch

logger = logging.getLogger("amqtask.worker")

_AGAIN = 0.5
"""Seconds until a child that was to be killed is looked at again."""

_PAUSE_FIRST = 0.2
_PAUSE_MAX = 10.0
"""Seconds between children that die before they are up."""


class Owner(Protocol):
    """The pool, as its crew sees it."""

    def wants_children(self) -> bool:
        """Whether dead children are to be replaced."""

    def read(self, slot: Slot) -> None:
        """The child of this slot has written something, or is gone."""

    def recount(self, slot: Slot) -> None:
        """Whether this slot takes jobs may have changed."""

    def has_room(self) -> None:
        """Waiting jobs may find a place now."""


class Crew:
    """Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        owner: the pool.
        server: makes the children.
        watch: over them.
        most: slots that may exist at once, heirs included.
        tasks_max: tasks after which a child is replaced; None: never.
        jitter: up to this many more, drawn per child.

    Attributes:
        slots: all there are.
        ended: why children have ended -> how many; see :class:`~amqtask.worker.pools.base.Pool`.
    """

    def __init__(
        self,
        loop: Loop,
        owner: Owner,
        server: ForkServer,
        watch: Watch,
        *,
        most: int,
        tasks_max: int | None,
        jitter: int,
    ) -> None:
        self._loop, self._owner, self._server, self._watch = loop, owner, server, watch
        self._tasks_max, self._jitter = tasks_max, jitter
        self._numbers = list(range(most))[::-1]
        self._most = most // 2
        self.slots: list[Slot] = []
        self.ended = Counter(retired=0, killed=0, died=0)
        self._by_number: dict[int, Slot] = {}

    def at(self, number: int) -> Slot | None:
        """The slot of this number."""
        return self._by_number.get(number)

    # -- how many

    @property
    def size(self) -> int:
        """Places: slots that are not about to end, and not heirs."""
        return sum(not slot.leaving and slot.elder is None for slot in self.slots)

    def grow(self, slots: int) -> None:
        """More places."""
        for _ in range(min(slots, self._most - self.size)):
            self.spawn(self._new_slot())

    def shrink(self, slots: int) -> None:
        """Fewer places, one at least."""
        for _ in range(min(slots, self.size - 1)):
            places = [slot for slot in self.slots if not slot.leaving and slot.elder is None]
            self._dismiss(min(places, key=lambda slot: (len(slot.jobs), -slot.number)))

    def _dismiss(self, slot: Slot) -> None:
        heir, slot.heir = slot.heir, None
        for one in (slot, heir):
            if one is not None:
                one.leaving, one.elder = True, None
                self._owner.recount(one)
                self.idle(one)

    # -- births

    def spawn(self, slot: Slot) -> None:
        """Have a child made for this slot, unless the pool ends; jobs wait in its socket until it is up."""
        if slot.alive or not self._owner.wants_children() or self._by_number.get(slot.number) is not slot:
            return
        theirs = slot.connect(partial(self._owner.read, slot))
        slot.left = self._share()
        try:
            self._server.spawn(slot.number, theirs)
            slot.alive = True
        except OSError as error:
            logger.warning("the fork server takes no order (%s); trying again", error)
            slot.disconnect()
            self._loop.call_later(_PAUSE_FIRST, partial(self._respawn, slot))
        finally:
            theirs.close()
        self._watch.expect(slot)
        self._owner.recount(slot)

    def ready(self, slot: Slot) -> None:
        """The child is up."""
        slot.ready, slot.early_deaths = True, 0
        if slot.elder is not None and not slot.elder.jobs:
            self._succeed(slot.elder)

    def _share(self) -> int | None:
        if self._tasks_max is None:
            return None
        return self._tasks_max + random.randint(0, self._jitter)  # noqa: S311 -- so that not all end at once

    def _respawn(self, slot: Slot) -> None:
        self.spawn(slot)
        self._owner.has_room()

    def _new_slot(self) -> Slot:
        slot = Slot(self._numbers.pop(), self._loop)
        self.slots.append(slot)
        self._by_number[slot.number] = slot
        return slot

    # -- succession

    def retire(self, slot: Slot, reason: str) -> None:
        """Replace the child once it has ended its jobs and another one is up; harmless when that goes on already."""
        if slot.heir is not None or slot.elder is not None or slot.leaving:
            return
        if not self._owner.wants_children():
            slot.left = None  # it may take what is left
            return
        logger.info("child %d is replaced: %s", slot.pid, reason)
        heir = slot.heir = self._new_slot()
        heir.elder = slot
        self._owner.recount(slot)
        self.spawn(heir)

    def idle(self, slot: Slot) -> None:
        """The child may have ended its last job: what has waited for that?"""
        if slot.jobs:
            return
        if slot.leaving:
            if slot.connected and not slot.closing:
                slot.close()
                self._watch.expect(slot)
            elif not slot.alive:
                self._remove(slot)
        elif slot.heir is not None and slot.heir.ready:
            self._succeed(slot)

    def _succeed(self, elder: Slot) -> None:
        heir, elder.heir = elder.heir, None
        assert heir is not None
        heir.elder = None
        elder.leaving = True
        self._owner.recount(heir)
        self.idle(elder)
        self._owner.has_room()

    # -- deaths

    def kill(self, slot: Slot, reason: str) -> None:
        """Have the child killed; what becomes of its jobs is seen when it is dead."""
        if not slot.killed:
            logger.warning("child %d is killed: %s", slot.pid, reason)
            slot.killed = reason
            self._owner.recount(slot)
            self._watch.expect(slot, _AGAIN)
        self._server.signal(slot.number, signal.SIGKILL)

    def died(self, slot: Slot, ready: bool, reason: str) -> None:
        """The slot has been cleared: who comes next?

        Args:
            slot: of the child.
            ready: it had come up.
            reason: in words.
        """
        slot.alive = False
        if self._owner.wants_children():  # else all of them end
            self.ended["retired" if slot.leaving else "killed" if slot.killed else "died"] += 1
        if slot.leaving:
            self._remove(slot)
        elif slot.heir is not None:
            self._succeed(slot)
        elif ready or not self._owner.wants_children():
            self.spawn(slot)
        else:
            self._pause(slot, reason)

    def _pause(self, slot: Slot, reason: str) -> None:
        pause = min(_PAUSE_FIRST * 2**slot.early_deaths, _PAUSE_MAX)
        slot.early_deaths += 1
        logger.error("child %d died before it was up (%s); next one in %.1f s", slot.pid, reason, pause)
        self._loop.call_later(pause, partial(self._respawn, slot))

    def _remove(self, slot: Slot) -> None:
        self._watch.forget(slot)
        self._owner.recount(slot)
        self.slots.remove(slot)
        del self._by_number[slot.number]
        self._numbers.append(slot.number)
