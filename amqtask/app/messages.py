"""From a call to a message ready to publish. Owns that step; it neither publishes nor declares.

What is constant for a task (destination, serializer, priority, ...) is worked out once and kept; a plain
``delay()`` then costs an id, a header table and the serializer.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from amqtask.app import times
from amqtask.app.announcing import BeforePublish
from amqtask.app.destination import Destination, call_destination, task_destination
from amqtask.app.lenient import as_celery
from amqtask.config.zones import home_zone
from amqtask.errors import ConfigError, EncodeError
from amqtask.results.joining import is_wait_refused
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

_TASKS_KEPT = 10_000
"""``send_task`` may be given any number of names."""


class _TaskConstants(NamedTuple):
    """What is the same for every call of a task that says nothing of its own.

    Attributes:
        limit: one that counts by a key; else None.
        inherits: messages get the priority of the task that sends them.
        plain: nothing has to be worked out for each call.
    """

    destination: Destination
    priority: int
    serializer: Serializer
    compression: str | None
    expires: float | datetime | None
    ignore_result: bool | None
    limit: Limit | None
    inherits: bool
    plain: bool


class MessageBuilder:
    """Makes messages of calls. Thread-safe: all it keeps are constants of tasks, by name.

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
        self._before_publish = BeforePublish(middleware)
        self._naive_zone = UTC if settings.interop == "celery" else home_zone(settings.timezone)
        """Of times without a zone; Celery takes them as UTC whatever its ``timezone``."""
        self._constants: dict[str, _TaskConstants] = {}
        self._celery = settings.interop == "celery"
        self._stores = settings.result_backend is not None and reply_to is None
        self._signer = Signer(settings)

    @property
    def reply_to(self) -> str | None:
        """The queue of this process for results; None when they don't come by message, or nobody here may wait."""
        # a task that must not wait gets no answers that would pile up unread
        return None if self._reply_to is None or is_wait_refused() else self._reply_to()

    def aware(self, eta: datetime) -> datetime:
        """The same moment; one without a zone is in that of the settings, with interop in UTC."""
        return times.aware(eta, self._naive_zone)

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
        constants = self._constants.get(task) or self._constants_of(task, defaults)
        if options or not constants.plain or current() is not None or self._before_publish.wanted:
            return self._build(constants, task, call, cast("CelerySendOptions", options or {}), None, own_reply=True)
        # The common case, written out: see encode() for what it leaves away.
        task_id = new_id()
        headers: dict[str, Any] = {"task": task, "id": task_id}
        if constants.ignore_result:
            headers["ignore_result"] = True
        serializer = constants.serializer
        try:
            body = serializer.dumps((*call, _NO_EMBED))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _name_culprit(task, call, serializer, error) from error
        properties = Properties(
            serializer.content_type,
            serializer.content_encoding,
            headers,
            PERSISTENT,
            constants.priority,
            task_id,
            None if self._reply_to is None or constants.ignore_result else self._reply_to(),
            message_id=task_id,
        )
        return Outgoing(*constants.destination, properties, body)

    def check(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions) -> None:
        """Raise what :meth:`build` would; nobody is told of a message. Arguments as there."""
        constants = self._constants.get(task) or self._constants_of(task, defaults)
        self._made(constants, task, call, cast("CelerySendOptions", options), None, own_reply=True)

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
        constants = self._constants.get(route) or self._constants_of(route, defaults)
        if route != sending.task:  # the arguments are not those of the task whose limit it is
            constants = constants._replace(limit=None)
        if sending.of_chain:
            constants = constants._replace(expires=None, ignore_result=None)
        options = cast("CelerySendOptions", sending.options)
        call = (sending.args, sending.kwargs)
        return self._build(constants, sending.task, call, options, sending, own_reply=own_reply)

    def _build(
        self,
        constants: _TaskConstants,
        task: str,
        call: Call,
        options: CelerySendOptions,
        place: Sending | None,
        *,
        own_reply: bool,
    ) -> Outgoing:
        """The message of any call, once everybody was told of it."""
        message, destination, properties, body = self._made(constants, task, call, options, place, own_reply=own_reply)
        if self._before_publish.wanted:
            properties = self._before_publish.tell(message, destination, properties)
        return Outgoing(*destination, self._signer.sign(properties, body), body)

    def _made(
        self,
        constants: _TaskConstants,
        task: str,
        call: Call,
        options: CelerySendOptions,
        place: Sending | None,
        *,
        own_reply: bool,
    ) -> tuple[TaskMessage, Destination, Properties, bytes]:
        """The message of any call, and where it goes; ``place`` says where in a canvas it stands."""
        lenient = self._celery or not own_reply
        options = as_celery(options, self._router) if lenient else _check_options(options)
        destination = call_destination(constants.destination, options)
        eta, delay = times.start(options.get("countdown"), options.get("eta"), self._naive_zone)
        given = options.get("expires")
        expires = times.expiry(constants.expires if given is None else given, self._naive_zone)
        headers = _check_headers(options)
        if constants.limit is not None and (key := constants.limit.key_of(*call)) is not None:
            headers.setdefault(LIMIT_KEY, key)
        if delay:
            if lenient:  # when that is over, a worker sees by the eta that it has to wait on
                delay = min(delay, LONGEST)
            destination, headers = self._through_ladder(task, destination, headers, delay)
        message = self._message(constants, task, call, options)
        message.eta, message.expires, message.headers = eta, expires, headers
        if self._celery:
            _set_celery_place(message, options)
        if place is not None:
            _set_place(message, place)
        reply_to = options.get("reply_to")
        if reply_to is None and own_reply and not message.ignore_result:
            reply_to = self.reply_to
        properties, body = self._encode(constants, message, options, reply_to)
        if expires is not None and not delay and not self._is_awaited(message, reply_to):
            # In a delay queue the broker would pass an expired message on early, as if its delay were over:
            # while delayed, only the header holds, and the worker reads it.
            properties = properties._replace(expiration=times.expiration(expires))
        return message, destination, properties, body

    def _is_awaited(self, message: TaskMessage, reply_to: str | None) -> bool:
        """Whether somebody is to be told of the end, expiry included: the broker would tell nobody, a worker does."""
        kept = self._stores and (not message.ignore_result or self._settings.task_store_errors_even_if_ignored)
        return kept or reply_to is not None or any(message.embed.get(name) for name in _EMBEDS_AWAITING)

    def _message(self, constants: _TaskConstants, task: str, call: Call, options: CelerySendOptions) -> TaskMessage:
        task_id: Any = options.get("task_id")
        if task_id is not None and (not isinstance(task_id, str) or not task_id):
            raise TypeError(f"task_id must be a text, not {task_id!r}")
        ignore = options.get("ignore_result")
        message = TaskMessage(task, task_id or new_id(), tuple(call[0]), dict(call[1]))
        message.ignore_result = constants.ignore_result if ignore is None else ignore
        message.shadow = options.get("shadow")
        limits = options.get("time_limit"), options.get("soft_time_limit")
        if limits != (None, None):
            message.timelimit = check_time_limits(*limits, task)
        parent = current()
        if parent is not None and parent.id is not None:
            message.parent_id, message.root_id = parent.id, parent.root_id or parent.id
        return message

    def _encode(
        self, constants: _TaskConstants, message: TaskMessage, options: CelerySendOptions, reply_to: str | None
    ) -> tuple[Properties, bytes]:
        name, asked, priority = options.get("serializer"), options.get("compression"), options.get("priority")
        serializer = constants.serializer if name is None else serializers.get(name)
        compression = constants.compression if asked is None else known_compression(asked)
        parent = current() if constants.inherits else None
        usual = constants.priority if parent is None or parent.priority is None else parent.priority
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
            raise _name_culprit(message.task, call, serializer, error, message.embed) from error

    def _through_ladder(
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
        target = delay_target(queues, delay, self._router.exits_among(queues))
        return Destination(target.exchange, target.routing_key), {**strip_broker_headers(headers), **target.headers}

    def _constants_of(self, task: str, defaults: TaskOptions) -> _TaskConstants:
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
        constants = _TaskConstants(
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
        if len(self._constants) >= _TASKS_KEPT:
            self._constants.clear()
        self._constants[task] = constants
        return constants


_NO_EMBED: dict[str, Any] = {}

_EMBEDS_AWAITING = ("errbacks", "chain", "chord")
"""What a message carries that is concerned when its task never runs."""


def _set_place(message: TaskMessage, place: Sending) -> None:
    """Fill in what a message says of the canvas around it."""
    message.embed, message.group, message.group_index = dict(place.embed), place.group, place.group_index
    message.root_id, message.parent_id = place.root_id, place.parent_id
    message.stamps, message.stamped_headers = dict(place.stamps), tuple(place.stamps)
    message.replaced_task_nesting, message.retries = place.replaced_task_nesting, place.retries


def _check_options(options: CelerySendOptions) -> CelerySendOptions:
    if (priority := options.get("priority")) is not None:
        check_priority(priority)
    return options


def _set_celery_place(message: TaskMessage, options: CelerySendOptions) -> None:
    """The place in a canvas that Celery's callers may give a single call, and the words that hide its arguments."""
    message.root_id = options.get("root_id") or message.root_id
    message.parent_id = options.get("parent_id") or message.parent_id
    message.group, message.group_index = options.get("group_id"), options.get("group_index")
    message.headers.update({name: options[name] for name in ("argsrepr", "kwargsrepr") if options.get(name)})


def _check_headers(options: SendOptions) -> dict[str, Any]:
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


def _name_culprit(
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
