"""What a plan consists of: messages to send, chords to begin. Owns the values; ``planning`` makes them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask import clock
from amqtask.canvas.handles import Handle, handle
from amqtask.canvas.shapes import ERRBACK, MAPS
from amqtask.wire.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amqtask.canvas.nodes import Node
    from amqtask.canvas.shapes import Shape
    from amqtask.results.source import Results

CHORD_OPTION = "amqtask_chord"
"""Option of a body that RabbitMQ counts for: ``{"queue", "size", "deadline"}``."""
CHAIN_MORE = "amqtask.chain_more"
"""Task that goes on with a long chain; see :mod:`amqtask.canvas.parking`."""
CHAIN_SKIP, CHAIN_SKIPPED = "amqtask.chain_skip", "amqtask.chain_skipped"
"""Tasks that tell the steps of a long chain that they will never run."""
CHAIN_OVER = "amqtask.chain_over"
"""Task that deletes the queue of a long chain, some time after its last steps have left it."""
CHORD_QUEUE_PREFIX = "amqtask.chord."
NAME_MAX = 255
"""Bytes of a queue's name; see AMQP 0-9-1, short strings. The broker cuts the connection for more."""

_NAMESPACE = uuid.UUID("2f1c3d6e-3a53-5b0c-9c51-1f0a8b2e7d44")


class Sending(NamedTuple):
    """One message to be: the call of one task.

    Attributes:
        task: name.
        args, kwargs: the call.
        options: as of ``apply_async`` (``task_id`` always, ``reply_to``, ``queue``, ``countdown``, ...).
        embed: ``callbacks``, ``errbacks``, ``chain`` and ``chord``, those of them that there are.
        root_id, parent_id: first task of the tree, and the task that sends it.
        group, group_index: the group or chord header it is a member of, and its place there.
        stamps: name -> value.
        replaced_task_nesting: how many replacements deep it is.
        retries: how often the task was retried before.
    """

    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    embed: dict[str, Any]
    root_id: str
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    stamps: dict[str, Any] = {}  # noqa: RUF012 -- a default that nobody changes
    replaced_task_nesting: int = 0
    retries: int = 0

    @property
    def id(self) -> str:
        """Of the task."""
        return str(self.options["task_id"])

    @property
    def of_chain(self) -> bool:
        """Does it move a long chain? Then of the task whose routes hold neither expiry nor ``ignore_result`` do."""
        return self.task in (CHAIN_MORE, CHAIN_SKIP, CHAIN_SKIPPED, CHAIN_OVER)

    @property
    def route_name(self) -> str:
        """The task whose routes hold: of ``celery.map`` the one it calls, of those of long chains the next step's."""
        if self.of_chain:
            return str(self.kwargs.get("route", self.task))
        inner = self.kwargs.get("task") if self.task in MAPS or self.task == ERRBACK else None
        return str(inner["task"]) if isinstance(inner, dict) and "task" in inner else self.task


def result_name(task: str, kwargs: Any) -> str:
    """Name of the task whose result it will be; of ``amqtask.chain_more``, the last one of the chain."""
    end = kwargs.get("end") if task == CHAIN_MORE and isinstance(kwargs, dict) else None
    return end if isinstance(end, str) else task


class ChordStart(NamedTuple):
    """A chord that has to be known before any of its members is sent.

    Attributes:
        group_id: of the header.
        size: how many members count.
        body: signature, as the members carry it. Without native chords its option ``amqtask_chord`` holds ``queue``,
            ``size`` and ``deadline`` (seconds since the epoch, whole).
    """

    group_id: str
    size: int
    body: Shape


class Parked(NamedTuple):
    """Steps of a long chain that wait in a queue of their own; see :mod:`amqtask.canvas.parking`.

    Attributes:
        queue: its name.
        segments: one message each, in this order.
    """

    queue: str
    segments: tuple[tuple[Shape, ...], ...]


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What a plan needs to know of who makes it.

    Attributes:
        new_id: makes ids of tasks and groups.
        reply_to: queue for the answers; goes into every signature that has none.
        root_id, parent_id: of the running task, when there is one.
        results: for handles.
        native_chords: the backend counts chords; else RabbitMQ does.
        chord_expires: seconds until a chord that is not complete fails.
        park_after: longest rest of a chain that its messages carry whole; None: however long it is.
        known: names of the options that a signature sent by its owner may have; None: any.
    """

    new_id: Callable[[], str] = new_id
    reply_to: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    results: Results | None = None
    native_chords: bool = True
    chord_expires: float = 86400.0
    park_after: int | None = None
    known: frozenset[str] | None = None

    def within(self, parent_id: str, root_id: str | None) -> PlanContext:
        """The same, for what that task sends."""
        return replace(self, parent_id=parent_id, root_id=root_id or parent_id)

    def deadline(self) -> int:
        """Of a chord that begins now: seconds since the epoch."""
        return int(clock.wall() + self.chord_expires)


@dataclass(slots=True)
class Plan:
    """What to do to start a piece of work: begin the chords, then send everything, in order.

    Attributes:
        tree: ids of what it will bring about; None of an empty chain.
        sendings: messages.
        chords: to begin first.
        parked: steps of long chains, to be stored before anything is sent.
        grows: ids of chords that get members more, and how many: before anything is sent.
        results: where the handles ask.
    """

    tree: Node | None = None
    sendings: list[Sending] = field(default_factory=list)
    chords: list[ChordStart] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    grows: list[tuple[str, int]] = field(default_factory=list)
    results: Results | None = None

    @property
    def result(self) -> Handle:
        """A new handle of the result; its ``parent`` leads to what goes before. None of an empty chain."""
        return None if self.tree is None else handle(self.tree, self.results)

    @property
    def task_ids(self) -> list[str]:
        """Of all tasks whose results may be waited for, those included that are sent later, by workers."""
        return [] if self.tree is None else list(dict.fromkeys(node.id for node in self.tree.tasks()))


def derived_ids(task_id: str, nesting: int = 0, purpose: str = "after") -> Callable[[], str]:
    """Ids for what follows from one task: the same, in the same order, whenever it is asked again.

    So a task that runs twice sends the same messages. They are UUIDs of version 5, which tell no age.

    Args:
        task_id: of the task.
        nesting: its ``replaced_task_nesting``: a replacement has the id of what it replaces.
        purpose: tells apart what may follow from one task for different reasons.
    """

    def ids() -> Iterator[str]:
        for number in count():
            yield str(uuid.uuid5(_NAMESPACE, f"{task_id}/{nesting}/{purpose}/{number}"))

    return ids().__next__
