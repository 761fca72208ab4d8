"""AsyncResult: the handle of a sent task. Owns the handle only; nothing is stored or fetched here."""

from __future__ import annotations

from typing import Generic, TypeVar

R_co = TypeVar("R_co", covariant=True)


class AsyncResult(Generic[R_co]):
    """A task that was sent: the broker has confirmed its message. Immutable, hashable, equal by id.

    Attributes:
        id: of the task; a UUIDv7 unless the caller chose another.
        name: of the task.
    """

    __slots__ = ("id", "name")

    def __init__(self, task_id: str, name: str) -> None:
        self.id, self.name = task_id, name

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.name}[{self.id}]>"

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, AsyncResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)
