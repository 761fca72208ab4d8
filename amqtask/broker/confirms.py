"""The ledger of published messages that the broker has not confirmed yet, without any I/O.

Owns the arithmetic of publisher confirms: sequence numbers, ``multiple``, returns of mandatory messages (which come
before the confirm of the same message), and what is left when a channel is lost. One ledger per channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class ConfirmLedger(Generic[T]):
    """In-flight items by sequence number; every operation is O(1) per item. Not thread-safe.

    Each item leaves exactly once: by :meth:`on_ack`, :meth:`on_nack`, :meth:`forget` or :meth:`drain`.
    """

    __slots__ = ("_items", "_lowest", "_returned", "_sequence")

    def __init__(self) -> None:
        self._items: dict[int, T] = {}
        self._returned: dict[int, str] = {}
        self._sequence = 0
        self._lowest = 1  # nothing below it is in flight

    def __len__(self) -> int:
        return len(self._items)

    def published(self, item: T) -> int:
        """Enter an item that is written to the channel now; returns its sequence number, from 1."""
        self._sequence += 1
        self._items[self._sequence] = item
        return self._sequence

    def items(self) -> list[T]:
        """What is in flight, oldest first."""
        return list(self._items.values())

    def on_ack(self, tag: int, multiple: bool) -> list[tuple[T, str | None]]:
        """Take out what a basic.ack confirms.

        Args:
            tag: the broker's delivery tag; 0 with ``multiple`` means everything.
            multiple: everything up to ``tag``.

        Returns:
            (item, None), or (item, reason) for one that was returned as unroutable. Unknown tags yield nothing.
        """
        if not multiple:
            if tag not in self._items:
                return []
            if tag == self._lowest:
                self._lowest += 1
            return [(self._items.pop(tag), self._returned.pop(tag, None) if self._returned else None)]
        last = min(tag, self._sequence) if tag else self._sequence
        taken = [
            (self._items.pop(number), self._returned.pop(number, None))
            for number in range(self._lowest, last + 1)
            if number in self._items
        ]
        self._lowest = max(self._lowest, last + 1)
        return taken

    def on_nack(self, tag: int, multiple: bool) -> list[tuple[T, str | None]]:
        """Take out what a basic.nack refuses; like :meth:`on_ack`."""
        return self.on_ack(tag, multiple)

    def on_return(self, matches: Callable[[T], bool], reason: str) -> bool:
        """Mark the oldest matching item as returned; its confirm is still to come.

        A basic.return carries no tag. The broker returns in the order of publishing, so the oldest that looks like
        it is it; of two that look the same it does not matter which.

        Returns:
            False when nothing matches.
        """
        for number, item in self._items.items():
            if number not in self._returned and matches(item):
                self._returned[number] = reason
                return True
        return False

    def forget(self, wanted: Callable[[T], bool]) -> list[T]:
        """Take out the items nobody waits for any more; later confirms for them yield nothing."""
        numbers = [number for number, item in self._items.items() if wanted(item)]
        for number in numbers:
            self._returned.pop(number, None)
        return [self._items.pop(number) for number in numbers]

    def drain(self) -> list[tuple[T, str | None]]:
        """Take out everything, oldest first, for publishing again on another channel; starts a new count."""
        taken = [(item, self._returned.get(number)) for number, item in self._items.items()]
        self._items.clear()
        self._returned.clear()
        self._sequence, self._lowest = 0, 1
        return taken
