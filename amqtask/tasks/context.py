"""What a running task knows about its message: ``self.request``.

Owns the value and the context variable that holds it, one per thread, asyncio task or greenlet.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amqtask.results import joining

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from amqtask.wire.message import TaskMessage


@dataclass(slots=True)
class Context:
    """The request of a running task; meant to be read, valid while it runs.

    Attributes:
        task, id, args, kwargs: the call. ``id`` is None when the task was called directly, as a function.
        retries: how often it was retried; 0 on the first attempt.
        eta, expires: earliest and latest start, aware; or None.
        hostname: node name of the worker.
        queue: the queue that delivered it.
        delivery_info: ``exchange``, ``routing_key``, ``priority`` and ``redelivered``.
        priority: of the message, or None.
        redelivered: it was delivered before and not settled, for whatever reason.
        delivery_count: how often it was delivered before without being settled; 0 when the broker doesn't
            tell.
        headers: headers of the message that are not part of the protocol.
        root_id, parent_id: first task of the tree it belongs to, and the task that sent it.
        correlation_id, reply_to: AMQP properties of the message.
        ignore_result: what the sender asked for, or None.
        called_directly: it runs as a plain function call, without a message.
        is_eager: it runs in the caller's process, by ``apply()`` or ``task_always_eager``.
        children: result tuples of what it has sent so far.
        message: as it was decoded; None when the task was called directly.
        received: all headers of the message, as they came.
        report: stores a state of this task; None when nobody asks for it.
        additions: how many members it has added to its chord.
        exhausted: what ``self.retry()`` raised because no retry was left; not to be retried once more.
    """

    task: str
    id: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    hostname: str | None = None
    queue: str | None = None
    delivery_info: Mapping[str, Any] = field(default_factory=dict)
    priority: int | None = None
    redelivered: bool = False
    delivery_count: int = 0
    headers: Mapping[str, Any] = field(default_factory=dict)
    root_id: str | None = None
    parent_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    ignore_result: bool | None = None
    called_directly: bool = False
    exhausted: BaseException | None = None
    is_eager: bool = False
    children: list[Any] | tuple[()] = ()
    message: TaskMessage | None = None
    received: Mapping[str, Any] = field(default_factory=dict)
    report: Callable[[str, Any], None] | None = None
    additions: int = 0

    @property
    def group(self) -> str | None:
        """Id of the group that it is a member of."""
        return None if self.message is None else self.message.group

    @property
    def group_index(self) -> int | None:
        """Its place there."""
        return None if self.message is None else self.message.group_index

    @property
    def chord(self) -> Any:
        """Signature of the body of the chord that it counts for."""
        return self._embedded("chord")

    @property
    def chain(self) -> Any:
        """Signatures of the steps after it, the last one first."""
        return self._embedded("chain")

    @property
    def callbacks(self) -> Any:
        """Signatures that are sent when it has succeeded."""
        return self._embedded("callbacks")

    @property
    def errbacks(self) -> Any:
        """Signatures that are sent, or called, when it has failed."""
        return self._embedded("errbacks")

    def _embedded(self, name: str) -> Any:
        return None if self.message is None else self.message.embed.get(name)

    @property
    def timelimit(self) -> list[float | None] | None:
        """Hard and soft limit that the sender gave, in seconds."""
        return None if self.message is None else list(self.message.timelimit)

    @property
    def shadow(self) -> str | None:
        """The name to show instead of the task's."""
        return None if self.message is None else self.message.shadow

    @property
    def origin(self) -> str | None:
        """The process that sent it, as far as the sender said."""
        return self.received.get("origin")

    @property
    def argsrepr(self) -> str:
        """The positional arguments in words, the sender's if it gave any."""
        return self.received.get("argsrepr") or repr(self.args)

    @property
    def kwargsrepr(self) -> str:
        """The keyword arguments in words, the sender's if it gave any."""
        return self.received.get("kwargsrepr") or repr(dict(self.kwargs))

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute by name, or ``default``."""
        return getattr(self, name, default)

    def as_execution_options(self) -> dict[str, Any]:
        """What ``apply_async`` takes to send something in its place, as Celery has it."""
        hard, soft = self.timelimit or (None, None)
        return {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "time_limit": hard,
            "soft_time_limit": soft,
            "headers": dict(self.headers),
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": 0 if self.message is None else self.message.replaced_task_nesting,
            "origin": self.origin,
        }

    @property
    def stamps(self) -> Mapping[str, Any]:
        """What a canvas was stamped with."""
        return {} if self.message is None else self.message.stamps

    @property
    def stamped_headers(self) -> tuple[str, ...]:
        """Names of the stamps."""
        return tuple(self.stamps)

    def add_child(self, result: Any) -> None:
        """Note a result tuple of what this task has sent: the document of its result will name it."""
        if self.id is not None:
            self.children = [*self.children, result]


_current: ContextVar[Context | None] = ContextVar("amqtask_request", default=None)

current = _current.get
"""The context of the innermost running task, or None outside of any."""


def _holds_a_slot() -> bool:
    context = _current.get()
    return context is not None and not (context.called_directly or context.is_eager)


joining.set_inside_task(_holds_a_slot)


class running:  # noqa: N801 -- used as a function; a class costs a third of a generator, once per task
    """Make ``context`` the current one for a ``with`` block."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = _current.set(self._context)

    def __exit__(self, *_exception: object) -> None:
        _current.reset(self._token)
