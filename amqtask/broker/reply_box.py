"""Answers that have arrived in this process: kept for whoever asks, within bounds, and told to who waits.

Owns the memory and the waking. Knows nothing of connections: several of them, in several threads and event loops, may
put answers in, and any thread or loop may wait for them.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.broker.fork_lock import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    Replaces = Callable[[bytes, bytes], bool]
    """Given the answer that is kept and one that has come: does the new one count?"""

log = logging.getLogger(__name__)

_SEEN_LIMIT = 4 * 1024 * 1024
"""Bytes of answers that were read already and are kept for a second look; the older ones go."""

_ENTRY = 250
"""Bytes that an answer costs beside its body, about."""

_WARNING_PAUSE = 60.0
"""Seconds between two warnings of answers that had to go."""


class _Shelf:
    """Answers in the order of their arrival, with their size."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[float, bytes]] = {}
        self.size = 0

    def put(self, key: str, arrived: float, body: bytes) -> None:
        self.entries[key] = (arrived, body)
        self.size += len(body) + _ENTRY

    def pop(self, key: str) -> tuple[float, bytes] | None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.size -= len(entry[1]) + _ENTRY
        return entry

    def trim(self, limit: int, oldest: float) -> int:
        """Drop what arrived before ``oldest``, and then the oldest above ``limit`` bytes; how many of the latter."""
        dropped = 0
        entries = self.entries
        while entries:
            key = next(iter(entries))
            if entries[key][0] < oldest:
                self.pop(key)
            elif self.size > limit and len(entries) > 1:  # the newest stays, whatever its size
                self.pop(key)
                dropped += 1
            else:
                break
        return dropped

    def weigh(self) -> None:
        self.size = sum(len(body) + _ENTRY for _, body in self.entries.values())


class ReplyBox:
    """Keeps the newest answer of each task. Thread-safe; the child of a fork keeps a copy of what there was.

    Args:
        expires: seconds that answers are kept; 0 for as long as there is room.
        limit: bytes of answers that nobody has read yet. Beyond, the oldest go, with a warning.
        replaces: decides between two answers of one task.
    """

    def __init__(self, expires: float, limit: int, replaces: Replaces) -> None:
        self._expires, self._limit, self._replaces = expires, limit, replaces
        self._lock = ForkLock()
        self._unread, self._read = _Shelf(), _Shelf()
        self._watches: dict[str, list[ReplyWatch]] = {}
        self._dropped = 0
        self._warn_at = 0.0
        _boxes.add(self)

    def put(self, key: str, body: bytes) -> None:
        """An answer has come."""
        with self._lock:
            now = clock.monotonic()
            old = self._unread.entries.get(key) or self._read.entries.get(key)
            if old is None or self._replaces(old[1], body):
                self._remove(key)
                self._unread.put(key, now, body)
                self._trim(now)
            else:
                body = old[1]
            wake = [watch.take_note(key, body) for watch in self._watches.get(key, ())]
        for call in wake:
            call()

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The answers that there are, for somebody who wants to have them."""
        with self._lock:
            self._trim(clock.monotonic())
            found = self.peek(keys)
            self.mark_read(found)
            return found

    def peek(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The answers that there are, which nobody has read by that."""
        with self._lock:
            found = {}
            for key in keys:
                entry = self._unread.entries.get(key) or self._read.entries.get(key)
                if entry is not None:
                    found[key] = entry[1]
            return found

    def mark_read(self, keys: Iterable[str]) -> None:
        """Somebody has these: they are the first to go."""
        with self._lock:
            for key in keys:
                entry = self._unread.pop(key)
                if entry is not None:
                    self._read.put(key, *entry)

    def forget(self, keys: Iterable[str]) -> None:
        """Remove answers."""
        with self._lock:
            for key in keys:
                self._remove(key)

    def watch(self, keys: Collection[str]) -> ReplyWatch:
        """Begin to watch; what has come already counts as news. To be closed."""
        with self._lock:
            watch = ReplyWatch(self, keys)
            for key in watch.keys:
                self._watches.setdefault(key, []).append(watch)
            watch.news.update(self.get(keys))
            return watch

    def unwatch(self, watch: ReplyWatch) -> None:
        """End it; harmless when ended."""
        with self._lock:
            for key in watch.keys:
                others = [other for other in self._watches.get(key, ()) if other is not watch]
                if others:
                    self._watches[key] = others
                else:
                    self._watches.pop(key, None)

    @property
    def lock(self) -> ForkLock:
        """Guards the box and its watches."""
        return self._lock

    def forked(self) -> None:
        """In the child: a thread that does not exist here may have been in the middle of a change."""
        self._unread.weigh()
        self._read.weigh()

    def _remove(self, key: str) -> None:
        self._unread.pop(key)
        self._read.pop(key)

    def _trim(self, now: float) -> None:
        oldest = now - self._expires if self._expires else float("-inf")
        self._read.trim(_SEEN_LIMIT, oldest)
        self._dropped += self._unread.trim(self._limit, oldest)
        if self._dropped and now >= self._warn_at:
            log.warning(
                "%d answers that nobody has read were dropped: more than %d MiB of them are in memory; "
                "send such tasks with ignore_result, or forget() their results",
                self._dropped,
                self._limit // (1024 * 1024),
            )
            self._dropped = 0
            self._warn_at = now + _WARNING_PAUSE


class ReplyWatch:
    """Answers to some tasks as they come. One thread or coroutine waits at a time.

    Attributes:
        keys: the tasks.
        news: what has come since the last :meth:`take`.
    """

    def __init__(self, box: ReplyBox, keys: Collection[str]) -> None:
        self._box = box
        self.keys = frozenset(keys)
        self.news: dict[str, bytes] = {}
        self._wake: Callable[[], None] = _nothing

    def take_note(self, key: str, body: bytes) -> Callable[[], None]:
        """For the box, under its lock: an answer has come; returns what wakes the one who waits."""
        self.news[key] = body
        return self._wake

    def arm(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever something comes, from whatever thread; at once when there is something already."""
        with self._box.lock:
            self._wake = wake
            ready = bool(self.news)
        if ready:
            wake()

    def disarm(self) -> None:
        """Nobody waits any more."""
        self._wake = _nothing

    def take(self) -> dict[str, bytes]:
        """What has come since the last time."""
        with self._box.lock:
            taken, self.news = self.news, {}
            self._box.mark_read(taken)
            return taken

    def close(self) -> None:
        """End it; harmless when ended."""
        self._box.unwatch(self)


def _nothing() -> None:
    pass


_boxes: weakref.WeakSet[ReplyBox] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for box in list(_boxes):
        box.forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
