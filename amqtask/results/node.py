"""What a task's handle and a group's have in common: they are the nodes of a tree of results. Owns the base class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amqtask.results.meta import Meta

Tuple = tuple[tuple[str, Any], list[Any] | None]
"""A result as Celery writes it into documents: ``((id, tuple of the parent or None), members or None)``."""


class ResultBase(ABC):
    """A node of a tree of results.

    Attributes:
        id: of the task or group.
        parent: what had to end before it was sent: the task before it in a chain, a chord's header; or None.
    """

    __slots__ = ()

    id: str
    parent: ResultBase | None

    @property
    @abstractmethod
    def children(self) -> Sequence[ResultBase]:
        """What it has sent, or what it consists of."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it has ended, well or not."""

    @abstractmethod
    def get(self, timeout: float | None = None, propagate: bool = True) -> Any:
        """Wait for its end; what it returned."""

    @abstractmethod
    def forget(self) -> None:
        """Remove what is stored of it."""

    @abstractmethod
    def tuple_after(self, parent: Tuple | None) -> Tuple:
        """Its own part of :meth:`as_tuple`."""

    @abstractmethod
    def leaves(self) -> Iterator[Leaf]:
        """The tasks it stands for: itself, or its members and theirs."""

    def as_tuple(self) -> Tuple:
        """Ids of the tree and of what was before it, as Celery writes them: ``((id, parent), members)``."""
        found: Tuple | None = None
        for node in reversed(list(self.ancestors())):  # a long chain is deep: not by recursion
            found = node.tuple_after(found)
        return self.tuple_after(found)

    def ancestors(self) -> Iterator[ResultBase]:
        """Its parent, the parent's parent, and so on."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def __str__(self) -> str:
        return self.id


class Leaf(ResultBase):
    """A task: what is waited for."""

    __slots__ = ()

    @property
    @abstractmethod
    def known(self) -> bool:
        """Whether its end is known here, so that nothing has to be asked."""

    @property
    @abstractmethod
    def meta(self) -> Meta:
        """What is stored of the task; of one of which nothing is stored, its state."""

    @abstractmethod
    def settle(self, meta: Meta) -> None:
        """Take note of what is stored of it; of its end for good."""

    @abstractmethod
    def unsettle(self) -> None:
        """Know nothing of its end any more."""

    @abstractmethod
    def maybe_throw(self, propagate: bool = True) -> Any:
        """What it returned, as far as it is known; raises its exception if it has failed."""


def forgotten(node: ResultBase) -> list[str]:
    """Ids of a node's tasks, which know nothing of their ends any more; not of those that never asked anybody."""
    leaves = list(node.leaves())
    for leaf in leaves:
        leaf.unsettle()
    return [leaf.id for leaf in leaves if not leaf.known]
