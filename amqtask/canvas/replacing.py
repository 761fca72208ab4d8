"""What a running task sends in its own place, or into the chord it is a member of. Owns those plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.canvas.after import member_of
from amqtask.canvas.normal import add_errors, add_links, nest, normal, single
from amqtask.canvas.parking import CHAIN_QUEUE_PREFIX, over
from amqtask.canvas.plan import NAME_MAX
from amqtask.canvas.planning import plan
from amqtask.canvas.shapes import chain_shape, kind, listed, members, options
from amqtask.errors import ConfigError, DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.canvas.plan import Plan, PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.wire.message import TaskMessage


def replacement(message: TaskMessage, sig: Shape, context: PlanContext) -> Plan:
    """Run something else instead of a task, which ends without a result of its own.

    What ends the replacement has the id of the task; so its caller, its callbacks and errbacks, the rest of its chain
    and its chord get the result of the replacement, and never notice. Of a group, that is the list of results.

    Args:
        message: of the task.
        sig: what is to run; not changed.
        context: of ``context_of(..., purpose="replace")``.

    Raises:
        ConfigError: an empty chain, or a signature that is a member of a chord itself.
    """
    if options(sig).get("chord"):
        raise ConfigError("a signature that replaces a task must not be a member of a chord")
    work = single(normal(sig))
    if kind(work) == "chain" and not members(work):
        raise ConfigError("a task can't be replaced with an empty chain")
    add_links(work, listed(message.embed.get("callbacks")))
    add_errors(work, listed(message.embed.get("errbacks")))
    nesting = message.replaced_task_nesting + 1
    rest = [normal(step) for step in listed(message.embed.get("chain"))]
    for part in (work, *rest):
        nest(part, nesting)
    given = {
        "task_id": message.id,
        "chain": rest or None,
        "chord": message.embed.get("chord"),
        "group_id": message.group,
        "group_index": message.group_index,
        "root_id": message.root_id,
    }
    new = plan(work, (), None, given, context=context)
    new.sendings = [one if one.id != message.id else one._replace(parent_id=message.parent_id) for one in new.sendings]
    return new


def addition(message: TaskMessage, sig: Shape, context: PlanContext) -> Plan:
    """One more member for the chord that a running task is a member of; the chord waits for it, too.

    Args:
        message: of the task.
        sig: the member; not changed.
        context: of ``context_of(..., purpose=...)``, with a purpose of its own for each addition of one task.

    Raises:
        ConfigError: the task is a member of no chord.
    """
    member = member_of(message)
    if member is None:
        raise ConfigError(f"{message.task}[{message.id}] is a member of no chord: nothing can be added to it")
    given = {
        "chord": member.chord,
        "group_id": member.group_id,
        "group_index": member.group_index,
        "root_id": message.root_id,
    }
    new = plan(single(normal(sig)), (), None, given, context=context)
    new.grows.append((member.group_id, 1))
    return new


def more(message: TaskMessage, steps: Sequence[Shape], queue: str | None, context: PlanContext) -> Plan:
    """Go on with a segment.

    Args:
        message: of ``amqtask.chain_more``.
        steps: the segment that it names.
        queue: where the message came from.
        context: of ``context_of(..., purpose="replace")``.
    """
    new = replacement(message, {**chain_shape(steps), "args": tuple(message.args)}, context)
    new.sendings += over(message, steps, queue)
    return new


def position(message: TaskMessage) -> tuple[str, int]:
    """Queue and number of the segment that ``amqtask.chain_more`` wants; segments count from 1.

    The messages of the queue are the segments in their order. Those before the wanted one are done with: it is only
    wanted once everything before is confirmed. When the first of the queue is a later one, or there is none, the chain
    has gone on already, and nothing is to be sent.

    Raises:
        DecodeError: the queue is no chain's; what is no segment leaves the queue, so it must not be any other.
    """
    return queue_of(message), int(message.kwargs["segment"])


def queue_of(message: TaskMessage) -> str:
    """The queue of the chain that a message is about.

    Raises:
        DecodeError: it is no chain's.
    """
    queue = str(message.kwargs["queue"])
    if not queue.startswith(CHAIN_QUEUE_PREFIX) or len(queue.encode(errors="replace")) > NAME_MAX:
        raise DecodeError(f"{queue[:100]!r} is not a queue of a chain")
    return queue
