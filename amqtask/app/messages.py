"""From a call to a message ready to publish. Owns that step; it neither publishes nor declares.

What is constant for a task (destination, serializer, priority, ...) is worked out once and kept; a plain
``delay()`` then costs an id, a header table and the serializer.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from amqtask.app import times
from amqtask.app.announcing import Announcing
from amqtask.app.destination import Destination, call_destination, task_destination
from amqtask.app.lenient import as_celery
from amqtask.config.zones import zone
from amqtask.errors import ConfigError, EncodeError
from amqtask.results.joining import refused
from amqtask.tasks.context import current
from amqtask.tasks.limits import LIMIT_KEY
from amqtask.tasks.option_values import check_priority, check_time_limits, whole_priority
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.topology.delays import LONGEST, delay_target
from amqtask.wire.codec import PROTOCOL_HEADERS, encode, encode_body, serializers
from amqtask.wire.compression import known_compression
from amqtask.wire.ids import new_id
from amqtask.wire.message import PERSISTENT, Outgoing, Properties, TaskMessage, strip_broker_headers
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from amqtask.canvas.plan import Sending
    from amqtask.config.settings import Settings
    from amqtask.tasks.limits import Limit
    from amqtask.tasks.middleware import Middlewares
    from amqtask.tasks.options import CelerySendOptions, SendOptions, TaskOptions
    from amqtask.tasks.sender import Call
    from amqtask.topology.router import Router
    from amqtask.wire.serializers.base import Serializer

_PLANS_KEPT = 10_000
"""``send_task`` may be given any number of names."""


class _Plan(NamedTuple):
    """What is the same for every call of a task that says nothing of its own."""

    destination: Destination
    priority: int
    serializer: Serializer
    compression: str | None
    expires: float | datetime | None
    ignore_result: bool | None
    limit: Limit | None
    """One that counts by a key."""
    inherits: bool
    """Its messages get the priority of the task that sends them."""
    plain: bool
    """Nothing has to be worked out per call."""


class MessageBuilder:
    """Makes messages of calls. Thread-safe: plans are pure, and kept per task name.

    Args:
        settings, router: of the app.
        reply_to: gives the queue of this process for results that come by message; None without such a backend.
        middleware: of the app.
    """

    def __init__(
        self,
        settings: Settings,
        router: Router,
        reply_to: Callable[[], str] | None = None,
        middleware: Middlewares | None = None,
    ) -> None:
        self._settings, self._router, self._reply_to = settings, router, reply_to
        self._announcing = Announcing(middleware)
        self._naive = UTC if settings.interop == "celery" else zone(settings.timezone)
        """Of times without a zone; Celery takes them as UTC whatever its ``timezone``."""
        self._plans: dict[str, _Plan] = {}
        self._celery = settings.interop == "celery"
        self._stores = settings.result_backend is not None and reply_to is None
        self._signer = Signer(settings)

    @property
    def reply_to(self) -> str | None:
        """The queue of this process for results; None when they don't come by message, or nobody here may wait."""
        # a task that must not wait gets no answers that would pile up unread
        return None if self._reply_to is None or refused() else self._reply_to()

    def aware(self, eta: datetime) -> datetime:
        """The same moment; one without a zone is in that of the settings, with interop in UTC."""
        return times.aware(eta, self._naive)

    def build(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> Outgoing:
        """The message of one call; its ``correlation_id`` is the task id.

        Args:
            task: name.
            defaults: options of the task.
            call: arguments.
            options: of this call, or None.

        Raises:
            EncodeError: an argument can't be serialized; names it.
            ConfigError, TypeError: an option that can't be used.
        """
        plan = self._plans.get(task) or self._plan(task, defaults)
        if options or not plan.plain or current() is not None or self._announcing.wanted:
            return self._build(plan, task, call, cast("CelerySendOptions", options or {}), None, own_reply=True)
        # The common case, written out: see encode() for what it leaves away.
        task_id = new_id()
        headers: dict[str, Any] = {"task": task, "id": task_id}
        if plan.ignore_result:
            headers["ignore_result"] = True
        serializer = plan.serializer
        try:
            body = serializer.dumps((*call, _NO_EMBED))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _culprit(task, call, serializer, error) from error
        properties = Properties(
            serializer.content_type,
            serializer.content_encoding,
            headers,
            PERSISTENT,
            plan.priority,
            task_id,
            None if self._reply_to is None or plan.ignore_result else self._reply_to(),
            message_id=task_id,
        )
        return Outgoing(*plan.destination, properties, body)

    def build_sending(
        self, sending: Sending, defaults: TaskOptions, *, own_reply: bool = True, route: str | None = None
    ) -> Outgoing:
        """The message of one step of a canvas.

        Args:
            sending: as planned.
            defaults: options of the task.
            own_reply: this process waits for the result, unless the step names another queue. If not, a worker sends
                what another program has composed: options are taken as Celery takes them.
            route: name of the task whose routes hold; that of the step when None.

        Raises:
            EncodeError, ConfigError, TypeError: as for :meth:`build`.
        """
        route = route or sending.route_name
        plan = self._plans.get(route) or self._plan(route, defaults)
        if route != sending.task:  # the arguments are not those of the task whose limit it is
            plan = plan._replace(limit=None)
        if sending.of_chain:
            plan = plan._replace(expires=None, ignore_result=None)
        options = cast("CelerySendOptions", sending.options)
        call = (sending.args, sending.kwargs)
        return self._build(plan, sending.task, call, options, sending, own_reply=own_reply)

    def _build(
        self, plan: _Plan, task: str, call: Call, options: CelerySendOptions, place: Sending | None, *, own_reply: bool
    ) -> Outgoing:
        lenient = self._celery or not own_reply
        options = as_celery(options, self._router) if lenient else _strictly(options)
        destination = call_destination(plan.destination, options)
        eta, delay = times.start(options.get("countdown"), options.get("eta"), self._naive)
        given = options.get("expires")
        expires = times.expiry(plan.expires if given is None else given, self._naive)
        headers = _own_headers(options)
        if plan.limit is not None and (key := plan.limit.key_of(*call)) is not None:
            headers.setdefault(LIMIT_KEY, key)
        if delay:
            if lenient:  # when that is over, a worker sees by the eta that it has to wait on
                delay = min(delay, LONGEST)
            destination, headers = self._delayed(task, destination, headers, delay)
        message = self._message(plan, task, call, options)
        message.eta, message.expires, message.headers = eta, expires, headers
        if self._celery:
            _put_by_hand(message, options)
        if place is not None:
            _put_in_place(message, place)
        reply_to = options.get("reply_to")
        if reply_to is None and own_reply and not message.ignore_result:
            reply_to = self.reply_to
        properties, body = self._encode(plan, message, options, reply_to)
        if expires is not None and not delay and not self._is_awaited(message, reply_to):
            # In a delay queue the broker would pass an expired message on early, as if its delay were over:
            # while delayed, only the header holds, and the worker reads it.
            properties = properties._replace(expiration=times.expiration(expires))
        if self._announcing.wanted:
            properties = self._announcing.before(message, destination, properties)
        return Outgoing(*destination, self._signer.sign(properties, body), body)

    def _is_awaited(self, message: TaskMessage, reply_to: str | None) -> bool:
        """Whether somebody is to be told of the end, expiry included: the broker would tell nobody, a worker does."""
        kept = self._stores and (not message.ignore_result or self._settings.task_store_errors_even_if_ignored)
        return kept or reply_to is not None or any(message.embed.get(name) for name in _TOLD)

    def _message(self, plan: _Plan, task: str, call: Call, options: CelerySendOptions) -> TaskMessage:
        task_id: Any = options.get("task_id")
        if task_id is not None and (not isinstance(task_id, str) or not task_id):
            raise TypeError(f"task_id must be a text, not {task_id!r}")
        ignore = options.get("ignore_result")
        message = TaskMessage(task, task_id or new_id(), tuple(call[0]), dict(call[1]))
        message.ignore_result = plan.ignore_result if ignore is None else ignore
        message.shadow = options.get("shadow")
        limits = options.get("time_limit"), options.get("soft_time_limit")
        if limits != (None, None):
            message.timelimit = check_time_limits(*limits, task)
        parent = current()
        if parent is not None and parent.id is not None:
            message.parent_id, message.root_id = parent.id, parent.root_id or parent.id
        return message

    def _encode(
        self, plan: _Plan, message: TaskMessage, options: CelerySendOptions, reply_to: str | None
    ) -> tuple[Properties, bytes]:
        name, asked, priority = options.get("serializer"), options.get("compression"), options.get("priority")
        serializer = plan.serializer if name is None else serializers.get(name)
        compression = plan.compression if asked is None else known_compression(asked)
        parent = current() if plan.inherits else None
        usual = plan.priority if parent is None or parent.priority is None else parent.priority
        try:
            return encode(
                message,
                serializer=serializer,
                compression=compression,
                compression_min=self._settings.task_compression_min,
                priority=usual if priority is None else whole_priority(priority),
                reply_to=reply_to,
                message_id=new_id() if "task_id" in options else None,  # somebody's own id may be used twice
                delivery_mode=options.get("delivery_mode") or self._settings.task_default_delivery_mode,
                celery=self._celery,
                limit=self._settings.broker_max_message_size,
            )
        except EncodeError as error:
            call = (message.args, message.kwargs)
            raise _culprit(message.task, call, serializer, error, message.embed) from error

    def _delayed(
        self, task: str, destination: Destination, headers: dict[str, Any], delay: timedelta
    ) -> tuple[Destination, dict[str, Any]]:
        """The delay ladder leads to queues, not to exchanges: find out which queues are meant."""
        queues = self._router.queues_for(*destination, headers)
        if not queues and destination.exchange == DEFAULT_EXCHANGE:
            queues = [destination.routing_key]  # not declared here, but named
        if not queues:
            raise ConfigError(
                f"{task}: countdown and eta need a queue, but no declared queue is bound to exchange "
                f"{destination.exchange!r} with key {destination.routing_key!r}"
            )
        target = delay_target(queues, delay, self._router.plain_among(queues))
        return Destination(target.exchange, target.routing_key), {**strip_broker_headers(headers), **target.headers}

    def _plan(self, task: str, defaults: TaskOptions) -> _Plan:
        settings = self._settings
        routing = self._router.route(task)
        priority = next(
            given
            for given in (defaults.priority, routing.priority, settings.task_default_priority)
            if given is not None
        )
        compression = defaults.compression or settings.task_compression
        ignore, limit = defaults.ignore_result, defaults.max_concurrency
        if limit is not None and limit.key is None:
            limit = None
        plan = _Plan(
            task_destination(routing, defaults),
            priority,
            serializers.get(defaults.serializer or settings.task_serializer),
            None if compression is None else known_compression(compression),
            defaults.expires,
            (settings.task_ignore_result if ignore is None else ignore) or None,
            limit,
            settings.task_inherit_parent_priority and defaults.priority is None and routing.priority is None,
            not limit
            and not (compression or defaults.expires is not None or self._celery or self._signer.signs)
            and settings.task_default_delivery_mode == PERSISTENT,
        )
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.clear()
        self._plans[task] = plan
        return plan


_NO_EMBED: dict[str, Any] = {}

_TOLD = ("errbacks", "chain", "chord")
"""What a message carries that is concerned when its task never runs."""


def _put_in_place(message: TaskMessage, place: Sending) -> None:
    """Fill in what a message says of the canvas around it."""
    message.embed, message.group, message.group_index = dict(place.embed), place.group, place.group_index
    message.root_id, message.parent_id = place.root_id, place.parent_id
    message.stamps, message.stamped_headers = dict(place.stamps), tuple(place.stamps)
    message.replaced_task_nesting, message.retries = place.replaced_task_nesting, place.retries


def _strictly(options: CelerySendOptions) -> CelerySendOptions:
    if (priority := options.get("priority")) is not None:
        check_priority(priority)
    return options


def _put_by_hand(message: TaskMessage, options: CelerySendOptions) -> None:
    """The place in a canvas that Celery's callers may give a single call, and the words that hide its arguments."""
    message.root_id = options.get("root_id") or message.root_id
    message.parent_id = options.get("parent_id") or message.parent_id
    message.group, message.group_index = options.get("group_id"), options.get("group_index")
    message.headers.update({name: options[name] for name in ("argsrepr", "kwargsrepr") if options.get(name)})


def _own_headers(options: SendOptions) -> dict[str, Any]:
    headers = dict(options.get("headers") or {})
    for name in headers:
        if not isinstance(name, str):
            raise TypeError(f"a header's name must be a text, not {name!r}")
        if name in PROTOCOL_HEADERS:
            raise ConfigError(f"header {name!r} belongs to the message protocol; choose another name")
    return headers


_EMBEDDED = {
    "callbacks": "link",
    "errbacks": "link_error",
    "chain": "a later step of its chain",
    "chord": "the body of its chord",
}
"""What a message carries beside its arguments, as callers know it."""


def _culprit(
    task: str, call: Call, serializer: Serializer, error: Exception, embed: Mapping[str, Any] = _NO_EMBED
) -> EncodeError:
    """Names the argument, or what follows the task, that can't be written."""
    named = [(f"argument {position}", value) for position, value in enumerate(call[0], start=1)]
    named += [(f"argument {name!r}", value) for name, value in call[1].items()]
    named += [(_EMBEDDED.get(name, name), value) for name, value in embed.items()]
    for name, value in named:
        try:
            encode_body([value], {}, None, serializer)
        except EncodeError as reason:
            return EncodeError(f"{task}: {name} can't be sent: {reason.__cause__}")
    return EncodeError(f"{task}: it can't be sent as {serializer.name}: {error.__cause__ or error}")
