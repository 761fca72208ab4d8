"""Sends what the canvas plans: an app as signatures see it. Owns the order: chords begin, then messages are sent."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from amqtask import clock
from amqtask.canvas.option_names import check_names
from amqtask.canvas.parking import LIFETIME, messages_of
from amqtask.canvas.plan import CHORD_OPTION, PlanContext, Sending
from amqtask.canvas.shapes import DESTINATION, first_task, kind
from amqtask.execution.job import Begin
from amqtask.tasks.context import current
from amqtask.tasks.options import CELERY_SEND_OPTIONS
from amqtask.topology.chords import WATCH_TASK, lifetime, watch_pause
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.codec import serializers
from amqtask.wire.ids import new_id
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.app.messages import MessageBuilder
    from amqtask.app.producer import Producer
    from amqtask.broker.interface import Layout
    from amqtask.canvas.plan import ChordStart, Plan
    from amqtask.canvas.shapes import Shape
    from amqtask.config.settings import Settings
    from amqtask.results.access import ResultAccess
    from amqtask.results.base import Backend
    from amqtask.tasks.middleware import Middlewares
    from amqtask.tasks.registry import TaskRegistry
    from amqtask.wire.message import Outgoing

_LONG_CHAIN = 64
"""Steps that a message of a chain carries at most; see :mod:`amqtask.canvas.parking`."""
_LARGE_GROUP = 1000
"""Messages that coroutines send one by one at most: a coroutine for each costs more than a batch."""


@runtime_checkable
class BeginsChords(Protocol):
    """A transport inside of a worker, which begins chords itself."""

    def begin(self, chords: Sequence[Begin], key: str) -> None:
        """Have chords begun; returns once they are.

        Args:
            chords: to begin.
            key: the same whenever this is done again for the same message.
        """


class CanvasSender:
    """Implements :class:`amqtask.canvas.app.CanvasApp`. Thread-safe.

    Args:
        settings, tasks: of the app.
        messages: builds messages.
        producer: sends them.
        results: of the app, for handles.
        backend: where results are kept, if they are.
        apply: runs a signature here.
        middleware: of the app.
    """

    def __init__(
        self,
        settings: Settings,
        tasks: TaskRegistry,
        messages: MessageBuilder,
        producer: Callable[[], Producer],
        results: ResultAccess,
        backend: Backend | None,
        apply: Callable[[Shape, Sequence[Any], Mapping[str, Any], Mapping[str, Any]], Any],
        middleware: Middlewares,
    ) -> None:
        self._middleware = middleware
        self._settings, self.tasks, self._messages, self._producer = settings, tasks, messages, producer
        self._results, self._backend, self._apply = results, backend, apply
        self._park_after = None if settings.interop == "celery" else _LONG_CHAIN  # Celery's workers know nothing of it
        self._known_options = None if settings.interop == "celery" else CELERY_SEND_OPTIONS
        self._signer = Signer(settings)

    @property
    def always_eager(self) -> bool:
        """``task_always_eager``."""
        return self._settings.task_always_eager

    @property
    def errbacks_on_headers(self) -> bool:
        """``task_allow_error_cb_on_chord_header``."""
        return self._settings.task_allow_error_cb_on_chord_header

    def plan_context(self) -> PlanContext:
        """For one plan, made in this process: ids, queue for answers, the running task as parent."""
        context = PlanContext(
            reply_to=self._messages.reply_to,
            results=self._results,
            native_chords=self._backend is not None and self._backend.chords is not None,
            chord_expires=self._settings.chord_expires,
            park_after=self._park_after,
            known=self._known_options,
        )
        task = current()
        return context if task is None or task.id is None else context.within(task.id, task.root_id)

    def send(self, plan: Plan) -> None:
        """Send a plan: chords begun first, then every message confirmed.

        Raises:
            TypeError: arguments that a task does not take, as far as the task is known here; nothing was sent.
            EncodeError, ConfigError: nothing was sent.
            PublishError, BackendError: some of it may have been.
        """
        self._check_arguments(plan)
        producer = self._producer()
        with producer.around(_count(plan)):
            messages = self.outgoing(plan)
            chords = self.begins(plan)
            if chords:
                self._begin(chords, plan.sendings[0].id)
            producer.deliver(messages, plan.task_ids)
        _add_children(plan)

    async def asend(self, plan: Plan) -> None:
        """Like :meth:`send`, without blocking the running loop."""
        import asyncio  # noqa: PLC0415 -- whoever awaits this has loaded it

        if plan.parked or len(plan.sendings) > _LARGE_GROUP:  # thousands of messages: as a batch, in order
            await asyncio.to_thread(self.send, plan)
            return
        self._check_arguments(plan)
        producer = self._producer()
        with producer.around(_count(plan)):
            messages = self.outgoing(plan)
            if chords := self.begins(plan):
                await asyncio.to_thread(self._begin, chords, plan.sendings[0].id)
            await producer.adeliver(messages, plan.task_ids)
        _add_children(plan)

    def _check_arguments(self, plan: Plan) -> None:
        """What is sent now has all its arguments; later steps get more."""
        for sending in plan.sendings:
            task = self.tasks.get(sending.task)
            if task is not None:
                task.check_arguments(*sending.args, **sending.kwargs)

    def apply(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """Run a signature of any kind here, step by step.

        Raises:
            TypeError: an option that nobody knows, as for sending it.
        """
        if self._known_options is not None:
            given = {name: value for name, value in options.items() if name != "throw"}
            check_names(sig, given, self._known_options, lenient=current() is not None)
        return self._apply(sig, args, kwargs, options)

    def outgoing(self, plan: Plan, *, own_reply: bool = True) -> list[Outgoing]:
        """The messages of a plan.

        Args:
            plan: to send.
            own_reply: this process waits for results of steps that name no queue for them.

        Raises:
            EncodeError, ConfigError, TypeError: a step that can't be sent.
        """
        if plan.chords and (headers := self._middleware.before_chord()):
            for start in plan.chords:  # in place: the members carry the same
                own = (start.body if kind(start.body) == "group" else first_task(start.body))["options"]
                own["headers"] = {**headers, **(own.get("headers") or {})}
        build = self._messages.build_sending
        serializer = serializers.get(self._settings.task_serializer)
        made = [message for parked in plan.parked for message in messages_of(parked, serializer, self._signer)]
        made += [self._watch(start) for start in plan.chords if self._is_watched(start)]
        made += [build(one, self.tasks.options_of(one.route_name), own_reply=own_reply) for one in plan.sendings]
        return made

    def _is_watched(self, start: ChordStart) -> bool:
        """Celery's workers, which count in Redis as ours do, would take the message for an unknown task's."""
        return CHORD_OPTION in start.body["options"] or self._settings.interop != "celery"

    def _watch(self, start: ChordStart) -> Outgoing:
        """The message that has workers look after a chord; it goes where the body will go."""
        first = first_task(start.body)
        counted = start.body["options"].get(CHORD_OPTION)
        deadline = counted["deadline"] if counted else int(clock.wall() + self._settings.chord_expires)
        named = {} if counted else {"group_id": start.group_id, "deadline": deadline}
        left = max(deadline - clock.wall(), 0.0) + 1.0
        pause = min(watch_pause(0), timedelta(seconds=left))
        options: dict[str, Any] = {"task_id": new_id(), "countdown": pause, "ignore_result": True}
        options.update({name: first["options"][name] for name in DESTINATION if first["options"].get(name) is not None})
        watch = Sending(WATCH_TASK, (start.body,), named, options, {}, start.group_id)
        name = first["task"]
        return self._messages.build_sending(watch, self.tasks.options_of(name), own_reply=False, route=name)

    def _begin(self, chords: list[Begin], key: str) -> None:
        """Make chords known to whoever counts them; a task has its worker do that."""
        transport = self._producer().transport
        if isinstance(transport, BeginsChords):
            transport.begin(chords, key)
            return
        counting = None if self._backend is None else self._backend.chords
        for at, chord in enumerate(chords):
            if chord.queue is not None:
                transport.declare(chord_queue(chord))
            elif counting is not None and chord.more:
                counting.grow(chord.group_id, chord.size, f"{key}:{at}")
            elif counting is not None:
                counting.begin(chord.group_id, chord.size)

    def begins(self, plan: Plan) -> list[Begin]:
        """The chords of a plan, to be begun before its messages are sent."""
        kept = lifetime(self._settings.chord_expires)
        begun = []
        for start in plan.chords:
            counted = start.body["options"].get(CHORD_OPTION)
            begun.append(Begin(start.group_id, start.size, counted["queue"] if counted else None, kept))
        begun += [Begin(parked.queue, len(parked.segments), parked.queue, LIFETIME) for parked in plan.parked]
        return [*begun, *(Begin(group_id, by, more=True) for group_id, by in plan.grows)]


def _count(plan: Plan) -> int:
    """Of messages that middleware sees, at least."""
    return len(plan.sendings) + len(plan.chords)


def _add_children(plan: Plan) -> None:
    task = current()
    if task is not None and plan.tree is not None:
        task.add_child(plan.tree.as_tuple())


def chord_queue(begin: Begin) -> Layout:
    """The queue in which RabbitMQ keeps the completions of a chord; see :mod:`amqtask.worker.chords.counting`."""
    assert begin.queue is not None
    step = QueueDeclare(begin.queue, arguments={"x-queue-type": "classic", "x-expires": int(begin.lifetime * 1000)})
    return lambda _version: [step]
