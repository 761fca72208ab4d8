"""Deliveries for tests of the worker's policies."""

from __future__ import annotations

import itertools

from amqtask.wire.message import Properties
from amqtask.worker.deliveries.delivery import Delivery

_keys = itertools.count(1)


def delivery(queue="q", *, priority=None, redelivered=False, message_id=None, epoch=1, tag=None, body=b"[]", **headers):
    """A delivery of a task message; keyword arguments become headers (``_`` for ``-``)."""
    key = next(_keys)
    table = {"task": "t", "id": f"id-{key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    properties = Properties(
        content_type="application/json", headers=table, priority=priority, message_id=message_id or f"m-{key}"
    )
    return Delivery(key, epoch, tag or key, queue, "", queue, redelivered, properties, body)
