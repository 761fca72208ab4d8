"""Work that one message starts: a composition travels whole, and a worker sends its parts. Owns that message's form.

Whoever has to send something exactly once can only send one message; a group is several. So it sends ::

    amqtask.start(work)          one message, under an id that is known before
      └─ member, member, body    sent by a worker, under ids that follow from that one

A worker that dies in between sends the parts again, under the same ids. The work takes the place of the message: its
result, or that of its last step, is known under the message's id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from amqtask.canvas.normal import add_errors, add_links, normal, options_of, single
from amqtask.canvas.plan import Sending
from amqtask.canvas.planning import plan
from amqtask.canvas.shapes import CHUNKS, DESTINATION, body, copied, first_task, is_shape, kind, members, options, shape
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.canvas.plan import Plan, PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.wire.message import TaskMessage

START: Final = "amqtask.start"
"""Task that starts the work it is given."""
COMPOSED: Final = ("celery.chain", "celery.group", "celery.chord", CHUNKS)
"""Names in signatures of compositions; Celery's scheduler sends them as if they were tasks."""
STARTS: Final = frozenset({START, *COMPOSED})
"""Names of messages that start work."""
_ON_THE_WAY: Final = (*DESTINATION, "priority", "serializer", "compression")
"""Options of the work that hold for the message that starts it, too."""
_LATER: Final = ("countdown", "eta")
_OF_ONE_RUN: Final = ("task_id", "root_id", "parent_id", "group_id", "group_index")
"""What is in the options of a signature that was frozen, or sent by Celery: each run has its own."""


def composition(task: str, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any]) -> Shape | None:
    """The composition that a call stands for, by its name; None for the call of a task.

    Args:
        task: name.
        args: of the call.
        kwargs: of the call; the parts are among them.
        given: options of the work.

    Returns:
        Plain dicts all through: msgpack asks a ``group`` for its length, which is not that of its dict.

    Raises:
        ConfigError: it is none that can be sent.
    """
    if task not in COMPOSED:
        return None
    try:
        work = copied(shape(task, args, kwargs, given, subtask_type=task.removeprefix("celery.")))
        forget_ids(work)
        found = normal(work)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{task} can't be read: {type(error).__name__}: {error}") from None
    if kind(found) != "task" and not members(found):
        raise ConfigError(f"{task} has no tasks; arguments by name it takes none, they belong to its tasks")
    return work


def forget_ids(sig: Shape) -> None:
    """Take out of a signature, and of all its parts, what belongs to one run."""
    for name in _OF_ONE_RUN:
        options_of(sig).pop(name, None)
    parts: list[Any] = [sig["kwargs"].get("header"), body(sig)] if kind(sig) == "chord" else []
    for inner in (*members(sig), *filter(is_shape, parts)):
        forget_ids(inner)


def single_message(work: Shape, task_id: str, context: PlanContext) -> Sending | None:
    """The message of work that consists of one: a chain whose first step carries the others; else None.

    Args:
        work: of :func:`composition`.
        task_id: what the result is known under.
        context: of ids that follow from it.

    Raises:
        ConfigError: it can't be planned.
    """
    made = plan(work, (), None, {"task_id": task_id}, context=context)
    if made.chords or made.parked or len(made.sendings) != 1:
        return None
    (only,) = made.sendings
    return None if any(only.options.get(name) is not None for name in _LATER) else only


def start_message(work: Shape, given: Mapping[str, Any]) -> tuple[Sending, str]:
    """The message that starts work, and the name of the task whose routes hold for it: it goes where the work goes.

    Args:
        work: of :func:`composition`.
        given: ``task_id``, and what else is only of this message, not of its parts.
    """
    first = first_task(normal(work))
    own = {name: options(work)[name] for name in _ON_THE_WAY if options(work).get(name) is not None}
    if not any(name in own for name in DESTINATION):
        own.update((name, options(first)[name]) for name in DESTINATION if options(first).get(name) is not None)
    route = Sending(first["task"], (), first["kwargs"], {}, {}, "").route_name
    return Sending(START, (), {"work": work}, {**own, **given}, {}, str(given["task_id"])), route


def started(message: TaskMessage, work: Shape, context: PlanContext, at_end: Shape | None = None) -> Plan:
    """What a worker sends that has got such a message.

    Args:
        message: as it came; parts that can expire do so with it.
        work: that it starts.
        context: of ``context_of(message, ..., purpose="replace")``.
        at_end: sent once the work has ended, or failed. Members of a group are joined for that by one more task.

    Raises:
        ConfigError: it can't be planned.
    """
    if message.expires is not None:
        work = {**work, "options": {**options(work), "expires": message.expires}}
    if at_end is not None:
        work = single(normal(work))
        add_links(work, [at_end])
        add_errors(work, [at_end])
    return plan(work, (), None, {"task_id": message.id}, context=context)
