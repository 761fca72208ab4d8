"""What changes in a task's message for its next attempt. Owns headers and body of a retry, as Celery writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.canvas.plan import Sending
from amqtask.canvas.shapes import listed
from amqtask.errors import ConfigError, Retry
from amqtask.tasks.limits import LIMIT_KEY
from amqtask.wire.codec import encode_body, lean_headers, serializer_for
from amqtask.wire.compression import compress
from amqtask.wire.dead_headers import FIRST_TIME, LOST
from amqtask.wire.message import Properties, strip_broker_headers
from amqtask.wire.signing import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Collection

    from amqtask.execution.job import Job
    from amqtask.tasks.limits import Limit
    from amqtask.wire.message import Table, TaskMessage
    from amqtask.wire.signing import Signer

_OF_ONE_ATTEMPT = frozenset({LIMIT_KEY, LOST, SIGNATURE})
"""Headers that are made anew for another one."""


def next_headers(message: TaskMessage, delay: float, received: Table | None = None) -> dict[str, Any]:
    """Header changes: same id, one retry more, its own parent, the time of the first failure; None removes a header.

    Args:
        message: of this attempt.
        delay: seconds until the next one.
        received: headers of this attempt. Those of protocol 1 say nothing, so everything is said then.
    """
    eta = (clock.utcnow() + timedelta(seconds=delay)).isoformat() if delay > 0 else None
    return {
        **(lean_headers(message) if _is_protocol_1(received) else {}),
        "retries": message.retries + 1,
        "root_id": message.root_id or message.id,
        "parent_id": message.id,
        "eta": eta,
        FIRST_TIME: first_failure(received or {}),
    }


def first_failure(received: Table) -> str:
    """When the first attempt failed, by the headers of this one, which has failed as well; ISO 8601."""
    told = received.get(FIRST_TIME)
    return told if isinstance(told, str) and told else clock.utcnow().isoformat(timespec="milliseconds")


def signed_again(signer: Signer, job: Job, changes: dict[str, Any], body: bytes | None) -> dict[str, Any]:
    """Header changes with the signature of the next attempt, if this one was signed; else without any.

    Args:
        signer: of the app.
        job: this attempt.
        changes: to its headers.
        body: of the next attempt; None when it stays.
    """
    if not signer.signs:  # this attempt's would be wrong
        return {**changes, SIGNATURE: None}
    new = Properties(job.content_type, job.content_encoding, changed(job.headers, changes), reply_to=job.reply_to)
    renewed = signer.renew(job, job.body, new, job.body if body is None else body)
    return {**changes, SIGNATURE: (renewed.headers or {}).get(SIGNATURE)}


def next_sending(
    job: Job, message: TaskMessage, error: Retry, delay: float, accept: Collection[str], headers: Table
) -> Sending:
    """The next attempt as a message of its own: the retry has options, of which the sender's own are made anew.

    Args:
        job: this attempt.
        message: the same, decoded.
        error: the retry, with options.
        delay: seconds until the next attempt.
        accept: names of serializers.
        headers: those that middleware adds.

    Raises:
        ContentRefused: the received format is not accepted any more.
    """
    given = {name: value for name, value in error.options.items() if value is not None}
    embed = dict(message.embed)
    for name, option in (("callbacks", "link"), ("errbacks", "link_error")):
        if more := listed(given.pop(option, None)):
            embed[name] = [*listed(embed.get(name)), *more]
    kept = strip_broker_headers(message.headers)
    options: dict[str, Any] = {
        "queue": None if given.keys() & {"exchange", "routing_key"} else job.queue,
        "countdown": delay,
        "task_id": message.id,
        "reply_to": job.reply_to,
        "priority": job.priority,
        "expires": message.expires,
        "shadow": message.shadow,
        "ignore_result": message.ignore_result,
        "time_limit": message.timelimit[0],
        "soft_time_limit": message.timelimit[1],
        "serializer": serializer_for(job.content_type, accept).name,
        "compression": job.headers.get("compression") or None,
        **given,
        "headers": {name: value for name, value in kept.items() if name not in _OF_ONE_ATTEMPT},
    }
    options["headers"].update(headers)
    options["headers"].update(given.get("headers") or {})
    options["headers"][FIRST_TIME] = first_failure(job.headers)
    return Sending(
        message.task,
        message.args if error.args_ is None else tuple(error.args_),
        message.kwargs if error.kwargs_ is None else dict(error.kwargs_),
        options,
        embed,
        message.root_id or message.id,
        message.id,
        message.group,
        message.group_index,
        message.stamps,
        message.replaced_task_nesting,
        message.retries + 1,
    )


def _is_protocol_1(received: Table | None) -> bool:
    return received is not None and "task" not in received


def changed(headers: Table, changes: Table) -> dict[str, Any]:
    """Headers with changes made to them; a value of None removes one. A new dict."""
    merged = {**headers, **changes}
    return {name: value for name, value in merged.items() if value is not None or name not in changes}


def needs_body(job: Job, error: BaseException) -> bool:
    """Whether the next attempt has another body than this one: new arguments, or protocol 1 before."""
    if isinstance(error, Retry) and (error.args_ is not None or error.kwargs_ is not None):
        return True
    return _is_protocol_1(job.headers)


def next_key(limit: Limit | None, message: TaskMessage, error: BaseException) -> dict[str, Any]:
    """The header with the key that the next attempt counts for, whose arguments may be others; empty without one."""
    if limit is None or limit.key is None or not isinstance(error, Retry):
        return {}
    args = message.args if error.args_ is None else error.args_
    kwargs = message.kwargs if error.kwargs_ is None else error.kwargs_
    try:
        return {LIMIT_KEY: limit.key_of(args, kwargs)}
    except ConfigError:  # it keeps the one it had
        return {}


def next_body(
    job: Job, message: TaskMessage, error: BaseException, accept: Collection[str], limit: int | None = None
) -> bytes:
    """The body with the retry's arguments, in the format and compression of the received one.

    Args:
        job: this attempt.
        message: the same, decoded.
        error: what the task raised: a Retry may have new arguments.
        accept: names of serializers.
        limit: bytes of a body that is compressed.

    Raises:
        EncodeError: an argument that the serializer can't write.
        MessageTooLarge: it is over ``limit``, and would be compressed.
        ContentRefused: the received format is not accepted any more.
    """
    args, kwargs = message.args, message.kwargs
    if isinstance(error, Retry):
        args = args if error.args_ is None else tuple(error.args_)
        kwargs = kwargs if error.kwargs_ is None else dict(error.kwargs_)
    body = encode_body(args, kwargs, message.embed, serializer_for(job.content_type, accept))
    compression: str | None = job.headers.get("compression")
    return compress(body, compression, limit)[0] if compression else body
