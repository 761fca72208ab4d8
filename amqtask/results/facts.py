"""What is stored of a task, fact by fact. Owns their names on a handle; they are Celery's."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from amqtask.results.node import Leaf
from amqtask.results.states import FAILURE, SUCCESS

if TYPE_CHECKING:
    from datetime import datetime


class Facts(Leaf):
    """The part of a task's handle that only reads; each fact asks the backend until the task has ended."""

    __slots__ = ()

    @property
    @abstractmethod
    def result(self) -> Any:
        """What the task returned; the exception of one that failed or is retried; what ``update_state`` was given."""

    @property
    def state(self) -> str:
        """See :mod:`amqtask.results.states`, or what ``update_state`` was given."""
        return self.meta.status

    @property
    def status(self) -> str:
        """:attr:`state`, by its older name."""
        return self.state

    @property
    def info(self) -> Any:
        """:attr:`result`, by another name."""
        return self.result

    def ready(self) -> bool:
        """Whether it has ended, well or not."""
        return self.meta.final

    def successful(self) -> bool:
        """Whether it returned."""
        return self.state == SUCCESS

    def failed(self) -> bool:
        """Whether it raised, and is not retried any more."""
        return self.state == FAILURE

    @property
    def traceback(self) -> str | None:
        """Of its exception, as text; None without one."""
        return self.meta.traceback

    @property
    def date_done(self) -> datetime | None:
        """When it ended, aware; None before."""
        return self.meta.done_at

    @property
    def args(self) -> Any:
        """Its arguments; None unless a Celery worker with ``result_extended`` ran it: amqtask does not keep them."""
        return self.meta.args

    @property
    def kwargs(self) -> Any:
        """Its keyword arguments, as :attr:`args`."""
        return self.meta.kwargs

    @property
    def worker(self) -> str | None:
        """Node name of the worker that ran it."""
        return self.meta.worker

    @property
    def queue(self) -> str | None:
        """The queue it came from."""
        return self.meta.queue

    @property
    def retries(self) -> int | None:
        """How often it was retried."""
        return self.meta.retries

    @property
    def runtime(self) -> float | None:
        """Seconds inside the task function; None when no worker of amqtask ran it."""
        return self.meta.runtime
