"""Long chains: most of their steps wait in the broker, so that no message carries them all. Owns how one is cut.

A message of a chain carries what follows it, in Celery's shape; 10,000 steps would be sent 10,000 times. Cut, it is ::

    step, step, ..., amqtask.chain_more(queue, 1)      in messages, as any chain
    [step, step, ..., amqtask.chain_more(queue, 2)]    first message of the chain's queue
    [step, step, ..., last step]                       second message of the queue

``amqtask.chain_more`` replaces itself by the segment that it names, with the result that it got. It has the id of the
chain's last step: what becomes of the chain, its failure included, is always known under that id.

Whoever fails a chain knows the next steps only. For the others it sends ``amqtask.chain_skip``, which reads a segment,
as ``chain_more`` does, and sends it behind ``amqtask.chain_skipped``: that one ends as the chain has failed, and so its
steps fail with it, the next ``chain_more`` among them. One segment after the other, each in a message that holds it: no
work is done in one go, and a worker that dies leaves nothing out.

A segment stays in the queue until a later one is wanted, for what wants it may come twice. Whoever sends the last one
sends ``amqtask.chain_over`` too, which comes days later and deletes the queue. The segments of a chain that has failed
stay, for the step that failed may be replayed. The broker itself deletes the queue of a chain of which nothing has been
heard for :data:`LIFETIME`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from amqtask.canvas.normal import PLACE
from amqtask.canvas.plan import CHAIN_MORE, CHAIN_OVER, Parked, Sending, derived_ids, result_name
from amqtask.canvas.shapes import DESTINATION, Shape, ends_in_group, first_task, is_shape, kind, members, options, shape
from amqtask.errors import DecodeError, EncodeError
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.wire.codec import serializer_for
from amqtask.wire.message import Outgoing, Properties
from amqtask.wire.refusals import Refusals
from amqtask.wire.signing import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from amqtask.wire.message import TaskMessage
    from amqtask.wire.serializers.base import Serializer
    from amqtask.wire.signing import Signer

logger = logging.getLogger(__name__)

CHAIN_QUEUE_PREFIX: Final = "amqtask.chain."
_KEPT: Final = ("task_id", "reply_to", "ignore_result", "replaced_task_nesting", *PLACE)
"""Options of the end that hold for whatever stands for it."""
_NUMBER: Final = "x-amqtask-segment"
SEGMENT: Final = 12
"""Steps of one segment: about 3 kB with small arguments."""
LIFETIME: Final = 49 * 86_400.0
"""Seconds for which the queue of a chain is kept while its chain does not go on; RabbitMQ takes 49.7 days at most."""
_OVER_AFTER: Final = 2 * 86_400.0
"""Seconds for which the last segment is kept once it was sent: a task may be slow, and run twice before it."""


def cut(rest: list[Shape], new_id: Callable[[], str]) -> tuple[list[Shape], Parked | None]:
    """Cut what follows the first step of a chain.

    Args:
        rest: frozen steps in normal form, the next first.
        new_id: makes the name of the queue: a chain that is sent again has one of its own, even with the same ids.

    Returns:
        What the messages carry, and what is parked. A chain that ends in a group is not cut: no single id stands
        for its result.
    """
    if len(rest) <= SEGMENT or ends_in_group(rest[-1]):
        return rest, None
    end = end_of(rest[-1])
    queue = CHAIN_QUEUE_PREFIX + new_id()
    name = result_name(end["task"], end.get("kwargs"))
    kept = {name: options(end)[name] for name in _KEPT if name in options(end)}
    segments = [rest[start : start + SEGMENT] for start in range(0, len(rest), SEGMENT)]
    for number, segment in enumerate(segments[:-1], 1):
        following = first_task(segments[number][0])  # whose worker is to go on
        where: dict[str, Any] = {name: options(following)[name] for name in DESTINATION if name in options(following)}
        named = {"queue": queue, "segment": number, "route": following["task"], "end": name}
        segment.append(shape(CHAIN_MORE, (), named, {**where, **kept}))
        kept = {name: value for name, value in kept.items() if name not in PLACE}  # a replacement keeps its place
    return segments[0], Parked(queue, tuple(map(tuple, segments[1:])))


def over(message: TaskMessage, steps: Sequence[Shape], queue: str | None) -> list[Sending]:
    """What tidies up after a chain: one message when these are its last steps, else none.

    Args:
        message: that wanted them.
        steps: a segment.
        queue: where the message came from.
    """
    name = str(message.kwargs["queue"])
    if steps and steps[-1]["task"] == CHAIN_MORE and steps[-1]["kwargs"].get("queue") == name:
        return []
    where = {} if queue is None else {"queue": queue}
    task_id = derived_ids(name, purpose="over")()
    options = {**where, "task_id": task_id, "ignore_result": True, "countdown": _OVER_AFTER}
    kwargs = {"queue": name, "route": str(message.kwargs.get("route", message.task))}
    return [Sending(CHAIN_OVER, (), kwargs, options, {}, message.root_id or message.id, message.id)]


class Source(Protocol):
    """Takes messages out of a queue, one by one; :class:`amqtask.broker.admin.Admin` does."""

    def get(self, queue: str) -> Any:
        """The next message, with ``tag``, ``properties`` and ``body``; None when there is none."""

    def ack(self, tag: int) -> None:
        """A message is done with."""

    def requeue(self) -> None:
        """Put back, in their places, all that were taken and not acknowledged."""


def messages_of(parked: Parked, serializer: Serializer, signer: Signer) -> list[Outgoing]:
    """The messages to put into the queue of a chain, before its first step is sent.

    Raises:
        EncodeError: an argument that the serializer can't write.
        ConfigError: they can't be signed, and have to be.
    """
    try:
        bodies = [serializer.dumps(list(segment)) for segment in parked.segments]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodeError(f"an argument of a step can't be written by {serializer.name}: {error}") from error
    made = []
    for number, body in enumerate(bodies, 1):
        properties = Properties(
            serializer.content_type,
            serializer.content_encoding,
            {_NUMBER: number},
            message_id=f"{parked.queue}/{number}",
        )
        message = Outgoing(DEFAULT_EXCHANGE, parked.queue, properties, body)
        made.append(signer.signed(message, STEPS, parked.queue, number))
    return made


def find(
    source: Source, queue: str, wanted: int, accept: Collection[str], signer: Signer, *, keep: bool = False
) -> list[Shape] | None:
    """The steps of a segment, which stays in the queue until a later one is wanted.

    Those before it are done with and leave the queue: a segment is only wanted once all before it is confirmed. What
    others have put there stays, with a line in the log: it may be the segment of a client that does not sign.

    Args:
        source: of the messages.
        queue: of the chain.
        wanted: number of the segment, from 1.
        accept: names of serializers that may be used; the one that has written them says so in the message.
        signer: checks them.
        keep: leave those before it, too: they have not run.

    Returns:
        None when the chain has gone on already: what asked is a duplicate, and nothing is to be sent.

    Raises:
        ContentRefused: the segment is of a format that is not accepted.
        DecodeError: it can't be read, or has no signature and must have one.
    """
    refused = None
    refusals = Refusals(logger, f"A message in {queue}")
    try:
        while (received := source.get(queue)) is not None:
            number = (received.properties.headers or {}).get(_NUMBER)
            try:
                signer.verify(received.properties, received.body, STEPS, queue, number, any_age=True)
            except DecodeError as error:
                refusals.tell(error)
                refused = error if number == wanted else refused
                continue
            if not isinstance(number, int) or number > wanted:
                return None
            if number == wanted:
                return _steps(serializer_for(received.properties.content_type, accept), received.body)
            if not keep:
                source.ack(received.tag)
        if refused is not None:
            raise DecodeError(f"segment {wanted} of {queue} is not to be believed: {refused}")
        return None
    finally:
        source.requeue()


def _steps(serializer: Serializer, text: bytes) -> list[Shape]:
    try:
        steps = serializer.loads(text)
    except Exception as error:
        raise DecodeError(f"the steps of a chain can't be read: {error}") from error
    if not isinstance(steps, list) or not all(map(is_shape, steps)):
        raise DecodeError("the steps of a chain can't be read: they are not signatures")
    return steps


def end_of(sig: Shape) -> Shape:
    """The task that ends a piece of work in normal form."""
    which = kind(sig)
    then = sig["kwargs"].get("body") if which == "chord" else None
    if then is not None:
        return end_of(then)
    return end_of(members(sig)[-1]) if which == "chain" else sig
