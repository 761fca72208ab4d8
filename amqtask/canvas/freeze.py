"""Ids for a piece of work, before anything of it is sent. Owns who gets one, and the tree of them.

The ids go into the signatures themselves, so that whoever sends a later part uses those that the caller knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.nodes import Node
from amqtask.canvas.normal import options_of, place, single
from amqtask.canvas.shapes import Shape, body, kind, members

if TYPE_CHECKING:
    from collections.abc import Callable

_GROUP = "celery.group"


class Freezer:
    """Gives ids to signatures in normal form, which it changes; what has an id keeps it.

    Args:
        new_id: makes them.
        reply_to: queue for answers, for every task that names none.
    """

    def __init__(self, new_id: Callable[[], str], reply_to: str | None) -> None:
        self._new_id, self._reply_to = new_id, reply_to

    def freeze(
        self, sig: Shape, task_id: str | None = None, parent: Node | None = None, *, counts: bool = False
    ) -> tuple[Shape, Node | None]:
        """Give ids to a signature and all its parts.

        Args:
            sig: in normal form.
            task_id: for the task that ends it, or the group, when it has none.
            parent: what it follows.
            counts: it is a member of a chord, so that a single task has to end it.

        Returns:
            The signature, maybe another one, and its ids; None of an empty chain.
        """
        if counts:
            sig = single(sig)
        which = kind(sig)
        if which == "chain":
            return sig, self._chain(sig, task_id, parent)
        if which == "group":
            return sig, self._group(sig, task_id, parent)
        if which == "chord":
            return sig, self._chord(sig, task_id, parent)
        return sig, self._task(sig, task_id, parent)

    def _task(self, sig: Shape, task_id: str | None, parent: Node | None) -> Node:
        options = options_of(sig)
        found = options.get("task_id") or task_id or self._new_id()
        options["task_id"] = found
        if self._reply_to is not None:
            options.setdefault("reply_to", self._reply_to)
        return Node(found, sig["task"], None, parent)

    def _group(self, sig: Shape, task_id: str | None, parent: Node | None) -> Node:
        options = options_of(sig)
        found = options.get("task_id") or task_id or self._new_id()
        options.setdefault("root_id", None)
        options.setdefault("parent_id", None)
        options["task_id"] = found
        return Node(found, _GROUP, self._members(sig, counts=False), parent)

    def _members(self, group: Shape, *, counts: bool) -> list[Node]:
        nodes, tasks = [], []
        for index, member in enumerate(members(group)):
            frozen, node = self.freeze(member, counts=counts)
            assert node is not None  # a normal form has no empty chain here
            place(frozen, {"group_index": index})
            nodes.append(node)
            tasks.append(frozen)
        group["kwargs"]["tasks"] = tasks
        return nodes

    def _chain(self, sig: Shape, task_id: str | None, parent: Node | None) -> Node | None:
        steps = members(sig)
        node = parent if steps else None
        for position, step in enumerate(steps):
            last = position == len(steps) - 1
            steps[position], node = self.freeze(step, task_id if last else None, node)
        sig["kwargs"]["tasks"] = steps
        if node is not None:
            options_of(sig)["task_id"] = node.id
        return node

    def _chord(self, sig: Shape, task_id: str | None, parent: Node | None) -> Node | None:
        header: Shape = sig["kwargs"]["header"]
        options = options_of(header)
        group_id = options.get("task_id") or self._new_id()
        options["task_id"] = group_id
        options.setdefault("root_id", None)
        options.setdefault("parent_id", None)
        head = Node(group_id, _GROUP, self._members(header, counts=True), parent)
        then: Any = body(sig)
        own = options_of(sig).get("task_id")
        wanted = task_id or (own if own != group_id else None)
        sig["kwargs"]["body"], node = self.freeze(then, wanted, head)
        options_of(sig)["task_id"] = group_id
        return node
