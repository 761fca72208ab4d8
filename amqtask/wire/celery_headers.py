"""The headers of a message as a Celery client writes them: all of protocol 2, and none that surprises a worker.

Owns the full set and the words in it. amqtask's own messages leave away what says nothing, which Celery's workers
read too; but monitors, older releases and other clients' workers know only the full set.
"""

from __future__ import annotations

import os
import reprlib
import socket
from typing import TYPE_CHECKING, Any

from amqtask.wire.header_values import plain_stamps, whole_seconds

if TYPE_CHECKING:
    from amqtask.wire.message import TaskMessage

_REPR_LIMIT = 1024
"""Characters of ``argsrepr`` and of ``kwargsrepr``, as at Celery."""

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

_short = reprlib.Repr()
_short.maxlevel = 4
_short.maxtuple = _short.maxlist = _short.maxdict = _short.maxset = _short.maxfrozenset = 50
_short.maxstring = _short.maxother = _short.maxlong = 256


def celery_headers(message: TaskMessage) -> dict[str, Any]:
    """Every header of protocol 2, in Celery's order, with the sender's own behind them.

    ``argsrepr`` and ``kwargsrepr`` in ``message.headers`` are kept, which is how a caller hides secrets.
    """
    stamped = list(message.stamped_headers or message.stamps)
    return {
        "lang": "py",
        "task": message.task,
        "id": message.id,
        "shadow": message.shadow,
        "eta": None if message.eta is None else message.eta.isoformat(),
        "expires": None if message.expires is None else message.expires.isoformat(),
        "group": message.group,
        "group_index": message.group_index,
        "retries": message.retries,
        "timelimit": [whole_seconds(limit) for limit in message.timelimit],
        "root_id": message.root_id or message.id,
        "parent_id": message.parent_id,
        "argsrepr": message.headers.get("argsrepr") or _words(message.args),
        "kwargsrepr": message.headers.get("kwargsrepr") or _words(message.kwargs),
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": message.ignore_result,
        "replaced_task_nesting": message.replaced_task_nesting,
        "stamped_headers": stamped or None,
        "stamps": plain_stamps(message.stamps),
        **{name: value for name, value in message.headers.items() if name not in ("argsrepr", "kwargsrepr")},
    }


def celery_embed(message: TaskMessage) -> dict[str, Any]:
    """The third element of the body with its four keys, as workers in other languages expect it."""
    return {**_EMBED, **message.embed}


def _words(value: Any) -> str:
    """A repr that never raises and never grows: whatever the arguments are, this goes into a header."""
    try:
        words = _short.repr(value)
    except Exception as problem:
        return f"<repr raised {type(problem).__name__}>"
    words = words if len(words) <= _REPR_LIMIT else f"{words[: _REPR_LIMIT - 3]}..."
    return words.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates fit no header
