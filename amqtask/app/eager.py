"""Eager calls: a task runs here and now, through everything that its message would go through.

Owns the way from a call to its result without a broker. Arguments and headers are encoded as for sending and decoded
as by a worker, so what production would refuse is refused here; the attempt itself is the worker's
(:mod:`amqtask.execution.executor`). Retries follow at once, whatever their delay.
"""

from __future__ import annotations

import itertools
import socket
import sys
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from amqtask.broker.content import seal
from amqtask.errors import AmqtaskError, Replaced, UnknownTask
from amqtask.execution.executor import Executor, Kept
from amqtask.execution.job import Job, Kind
from amqtask.execution.next_attempt import changed
from amqtask.plugins import did_you_mean
from amqtask.results.eager import EagerResult
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.topology.delays import delayed_queues, ladder_level
from amqtask.wire.again import sent_again
from amqtask.wire.message import Outgoing, strip_broker_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amqtask.app.messages import MessageBuilder
    from amqtask.broker.interface import ConnectionOptions
    from amqtask.canvas.plan import Sending
    from amqtask.execution.executor import Tasks
    from amqtask.execution.job import Outcome
    from amqtask.results.eager import EagerState
    from amqtask.tasks.options import SendOptions, TaskOptions
    from amqtask.tasks.sender import Call
    from amqtask.topology.router import Router

_RETRIES_MAX = 1000
"""A task without a limit of retries that always fails would otherwise never come back."""

_STATES: Mapping[int, EagerState] = {
    Kind.SUCCESS: "SUCCESS",
    Kind.IGNORED: "IGNORED",
    Kind.REJECTED: "REJECTED",
    Kind.REQUEUE: "REJECTED",
    Kind.EXPIRED: "REVOKED",
}
"""All others are failures."""


class Eager:
    """Runs calls in the thread, or on the event loop, of the caller. Thread-safe.

    Args:
        app: its tasks and settings.
        messages, router: as for sending.
        options: of the connections there would be, for the limit of a message's size.
        walk: runs a signature, given ``throw``.
    """

    def __init__(
        self,
        app: Tasks,
        messages: MessageBuilder,
        router: Router,
        options: ConnectionOptions,
        walk: Callable[[Any, bool | None], Any],
    ) -> None:
        self._walk = walk
        self._tasks, self._messages, self._router, self._options = app.tasks, messages, router, options
        self._propagates = app.settings.task_eager_propagates
        self._executor = Executor(app, f"eager@{socket.gethostname()}", eager=True)
        self._keys = itertools.count(1)

    def run(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None, throw: bool | None = None
    ) -> EagerResult[Any]:
        """Run a call until no retry follows any more.

        Args:
            task: name.
            defaults: options of the task.
            call: arguments.
            options: of this call.
            throw: raise what the task raised; None leaves it to the setting ``task_eager_propagates``.

        Raises:
            EncodeError, ConfigError, TypeError, MessageTooLarge: as for sending.
            UnknownTask: no task has this name, so there is nothing to run.
        """
        self._check_known(task)
        return self._run(self._messages.build(task, defaults, call, options), throw)

    def run_sending(self, sending: Sending, defaults: TaskOptions, throw: bool | None = None) -> EagerResult[Any]:
        """Like :meth:`run`, of a step of a canvas, stamps included."""
        self._check_known(sending.task)
        return self._run(self._messages.build_sending(sending, defaults), throw)

    async def arun(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None, throw: bool | None = None
    ) -> EagerResult[Any]:
        """Like :meth:`run`, on the running loop; a task that is a plain function holds it up."""
        self._check_known(task)
        job = self._make_job(self._messages.build(task, defaults, call, options))
        while True:
            kept = Kept()
            if self._executor.is_async(job):
                outcome = await self._executor.arun(job, kept)
            else:
                outcome = self._executor.run(job, kept)
            if outcome.kind != Kind.RETRY:
                return self._end(job, outcome, kept, throw)
            job = self._next_job(job, outcome, kept)

    # ---- steps

    def _check_known(self, task: str) -> None:
        if task not in self._tasks:
            raise UnknownTask(
                f"no task is named {task!r}{did_you_mean(task, self._tasks)}, so it can't run here (eager mode): "
                "import the module that defines it"
            )

    def _run(self, message: Outgoing, throw: bool | None) -> EagerResult[Any]:
        job = self._make_job(message)
        while True:
            kept = Kept()
            outcome = self._attempt(job, kept)
            if outcome.kind != Kind.RETRY:
                return self._end(job, outcome, kept, throw)
            job = self._next_job(job, outcome, kept)

    def _attempt(self, job: Job, kept: Kept) -> Outcome:
        if not self._executor.is_async(job):
            return self._executor.run(job, kept)
        if _is_loop_running():  # its own loop can't run inside of this one
            return _run_in_thread(lambda: self._run_and_leave(job, kept))
        return self._run_and_leave(job, kept)

    def _run_and_leave(self, job: Job, kept: Kept) -> Outcome:
        try:
            return self._executor.run(job, kept)
        finally:
            self._executor.leave_thread()

    def _next_job(self, job: Job, outcome: Outcome, kept: Kept) -> Job:
        _reraise_interruption(kept)
        if (job.headers.get("retries") or 0) >= _RETRIES_MAX:
            raise AmqtaskError(
                f"{job.headers['task']} has been retried {_RETRIES_MAX} times and asks for more: {outcome.text}"
            ) from kept.error
        properties = sent_again(job, changed(job.headers, outcome.headers or {}))
        body = job.body if outcome.body is None else outcome.body
        return self._make_job(Outgoing(job.exchange, job.routing_key, properties, body), job.queue)

    def _end(self, job: Job, outcome: Outcome, kept: Kept, throw: bool | None) -> EagerResult[Any]:
        _reraise_interruption(kept)
        state, error = _STATES.get(outcome.kind, "FAILURE"), kept.error
        if state == "REVOKED":
            error = AmqtaskError(f"{job.headers['task']} {outcome.text}")
        if isinstance(kept.raised, Replaced):
            return self._end_replaced(job, kept.raised, throw)
        result: EagerResult[Any] = EagerResult(
            job.headers["id"],
            job.headers["task"],
            state,
            kept.result,
            error=None if state == "IGNORED" else error,
            trace=kept.trace,
            traceback=outcome.error[2] if outcome.error else None,
            retries=job.headers.get("retries") or 0,
        )
        if throw or (throw is None and self._propagates):
            result.get()
        return result

    def _end_replaced(self, job: Job, by: Replaced, throw: bool | None) -> EagerResult[Any]:
        """The result of what takes a task's place, under the task's id."""
        found = self._walk(by.signature, throw)
        failed = next((leaf for leaf in found.leaves() if not leaf.successful()), None)
        task_id, name = job.headers["id"], job.headers["task"]
        if failed is None:
            return EagerResult(task_id, name, "SUCCESS", found.get())
        return EagerResult(task_id, name, failed.state, error=failed.result)

    def _make_job(self, message: Outgoing, queue: str | None = None) -> Job:
        """The job a worker makes of this message, its properties read from the bytes they are sent as."""
        from amqtask.broker.pika_driver import read_properties  # noqa: PLC0415 -- loads pika

        properties = read_properties(seal(message, self._options))
        queue = self._queue_of(message) if queue is None else queue
        return Job.of(next(self._keys), queue, message, properties, strip_broker_headers(properties.headers))

    def _queue_of(self, message: Outgoing) -> str:
        """The queue that would deliver it; of several (fanout) the first, for an eager call runs once."""
        headers = message.properties.headers or {}
        if message.exchange == DEFAULT_EXCHANGE:
            return message.routing_key
        if ladder_level(message.exchange) is not None:
            return delayed_queues(headers)[0]
        return next(iter(self._router.queues_for(message.exchange, message.routing_key, headers)), "")


def _reraise_interruption(kept: Kept) -> None:
    """Ctrl-C, a cancelled caller, a test that gives up: not the task's to fail with. ``SystemExit`` is."""
    if kept.raised is not None and not isinstance(kept.raised, Exception | SystemExit):
        raise kept.raised.with_traceback(kept.trace)


def _is_loop_running() -> bool:
    asyncio = sys.modules.get("asyncio")  # nobody has loaded it: no loop runs
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_thread(call: Callable[[], Outcome]) -> Outcome:
    """Call in a thread of its own and wait; in there no event loop is running."""
    context = copy_context()
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(context.run(call)), name="amqtask-eager", daemon=True)
    thread.start()
    thread.join()
    return outcomes[0]
