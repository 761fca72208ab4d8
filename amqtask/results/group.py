"""GroupResult: the handle of tasks that were sent together. Owns the handle, and how result tuples become handles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.errors import DecodeError
from amqtask.results.current import current_results
from amqtask.results.future import AsyncResult, R_co, Results
from amqtask.results.result_set import ResultSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.results.node import ResultBase
    from amqtask.results.source import ResultsOwner

__all__ = ["GroupResult", "ResultSet", "result_from_tuple"]


class GroupResult(ResultSet[R_co]):
    """The tasks of a group, in the order of the group.

    Args:
        id: of the group; None, as Celery has it, for what is no group.
        results: handles of its members.
        access, app: as for :class:`ResultSet`.
        parent: what had to end before the group was sent.

    Attributes:
        id, parent: as given; without an id, "".
    """

    __slots__ = ("id", "parent")

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 -- Celery's name for it
        results: Iterable[ResultBase] = (),
        parent: ResultBase | None = None,
        *,
        access: Results | None = None,
        app: ResultsOwner | None = None,
    ) -> None:
        super().__init__(results, access=access, app=app)
        self.id, self.parent = id or "", parent

    def save(self) -> GroupResult[R_co]:
        """Store what the group consists of, for :meth:`restore` by whoever knows its id."""
        results = self._bound()
        results.backend.save_group(self.id, results.dump_group(self))
        return self

    @classmethod
    def restore(
        cls,
        id: str,  # noqa: A002
        *,
        access: Results | None = None,
        app: ResultsOwner | None = None,
    ) -> GroupResult[Any] | None:
        """A group that was saved, by this app or the one made last; None when there is none, or none any more."""
        access = access or (current_results() if app is None else app.results)
        document = access.backend.fetch_group(id)
        if document is None:
            return None
        group = access.load_group(document)
        if not isinstance(group, GroupResult):
            raise DecodeError(f"what is stored of group {id} is not a group")
        return group

    def delete(self) -> None:
        """Remove what :meth:`save` has stored."""
        self._bound().backend.forget_group(self.id)

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other == self.id
        if isinstance(other, GroupResult):
            return (other.id, other.results, other.parent) == (self.id, self.results, self.parent)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(member.id for member in self.results)}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.id, self.results, self.parent)


def result_from_tuple(value: Any, *, results: Results | None = None) -> ResultBase:
    """The handle that a result tuple describes: ``[[id, parent], members]``, lists or tuples.

    Args:
        value: as documents hold it.
        results: of the app; without them, of the app made last.

    Raises:
        DecodeError: it is none.
    """
    lineage: list[tuple[str, Any]] = []  # a long chain is deep: not by recursion
    while value is not None:
        task_id, value, members = _parts(value)
        lineage.append((task_id, members))
    node: ResultBase | None = None
    for task_id, members in reversed(lineage):
        if members is None:
            node = AsyncResult(task_id, results=results, parent=node)
        else:
            inner = [result_from_tuple(member, results=results) for member in members]
            node = GroupResult(task_id, inner, node, access=results)
    assert node is not None
    return node


def _parts(value: Any) -> tuple[str, Any, list[Any] | None]:
    try:
        head, members = value
        task_id, parent = head if isinstance(head, list | tuple) else (head, None)
    except (TypeError, ValueError):
        task_id, parent, members = None, None, None
    if not isinstance(task_id, str) or not isinstance(members, list | tuple | None) or not (task_id or members):
        raise DecodeError(f"not a result's ids: {value!r:.200}")
    return task_id, parent, None if members is None else list(members)


def _rebuilt(group_id: str, members: list[ResultBase], parent: ResultBase | None) -> GroupResult[Any]:
    return GroupResult(group_id, members, parent=parent)
