"""What a plan will bring about, as a tree of ids. Owns the tree; handles are made of it in ``handles``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Node:
    """A task or a group that was planned.

    Attributes:
        id: of the task or group.
        name: of the task; of a group ``celery.group``.
        members: of a group; None for a task.
        parent: what its arguments come from: the step before, or the header of its chord.
    """

    __slots__ = ("id", "members", "name", "parent")

    def __init__(self, node_id: str, name: str, members: list[Node] | None = None, parent: Node | None = None) -> None:
        self.id, self.name, self.members, self.parent = node_id, name, members, parent

    def lineage(self) -> Iterator[Node]:
        """Itself, its parent, and so on."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def tasks(self) -> Iterator[Node]:
        """Every task of the tree."""
        for node in self.lineage():
            if node.members is None:
                yield node
            for member in node.members or ():
                yield from member.tasks()

    def as_tuple(self) -> tuple[Any, Any]:
        """As Celery writes it among the children of a result: ``((id, parent), members)``."""
        result: tuple[Any, Any] | None = None
        for node in reversed(list(self.lineage())):
            members = None if node.members is None else [member.as_tuple() for member in node.members]
            result = ((node.id, result), members)
        assert result is not None
        return result

    def __repr__(self) -> str:
        return f"<Node: {self.name}[{self.id}]>"
