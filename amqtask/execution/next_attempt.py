"""What changes in a task's message for its next attempt. Owns headers and body of a retry, as Celery writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import EncodeError
from amqtask.wire.codec import encode_body, serializers
from amqtask.wire.compression import compress

if TYPE_CHECKING:
    from collections.abc import Collection

    from amqtask.errors import Retry
    from amqtask.execution.job import Job
    from amqtask.wire.message import Table, TaskMessage


def next_headers(message: TaskMessage, delay: float) -> dict[str, Any]:
    """Header changes: same id, one retry more, its own parent; None removes a header.

    Args:
        message: of this attempt.
        delay: seconds until the next one.
    """
    eta = (clock.utcnow() + timedelta(seconds=delay)).isoformat() if delay > 0 else None
    return {
        "retries": message.retries + 1,
        "root_id": message.root_id or message.id,
        "parent_id": message.id,
        "eta": eta,
    }


def changed(headers: Table, changes: Table) -> dict[str, Any]:
    """Headers with changes made to them; a value of None removes one. A new dict."""
    merged = {**headers, **changes}
    return {name: value for name, value in merged.items() if value is not None or name not in changes}


def next_body(job: Job, message: TaskMessage, retry: Retry, accept: Collection[str]) -> bytes:
    """The body with the retry's arguments, in the format and compression of the received one.

    Raises:
        EncodeError: an argument that the serializer can't write.
    """
    args = message.args if retry.args_ is None else tuple(retry.args_)
    kwargs = message.kwargs if retry.kwargs_ is None else dict(retry.kwargs_)
    for name in accept:
        serializer = serializers.get(name)
        if job.content_type in (serializer.content_type, name):
            body = encode_body(args, kwargs, message.embed, serializer)
            compression: str | None = job.headers.get("compression")
            if not compression:
                return body
            return compress(body, _COMPRESSORS.get(compression, compression))[0]
    raise EncodeError(f"no serializer for {job.content_type!r}")


_COMPRESSORS = {"application/x-gzip": "zlib", "application/x-bz2": "bz2", "application/x-lzma": "lzma"}
