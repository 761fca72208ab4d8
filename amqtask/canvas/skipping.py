"""A long chain has failed: what tells the steps that wait in its queue. Owns those plans; see :mod:`.parking`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from amqtask.canvas.plan import CHAIN_SKIP, CHAIN_SKIPPED, Plan, Sending, derived_ids
from amqtask.canvas.planning import plan
from amqtask.canvas.shapes import DESTINATION, chain_shape, options, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from amqtask.canvas.plan import PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.wire.message import TaskMessage


def skips(
    chains: Iterable[Shape], error: Mapping[str, Any], traceback: str | None, heard: Callable[[str | None], bool]
) -> list[Plan]:
    """The messages that pass a failure on to the steps of a segment, and of all after it.

    Args:
        chains: each an ``amqtask.chain_more`` that will never go on; one that names no segment is left out.
        error: the failure's document.
        traceback: as text.
        heard: whether results for a caller with this queue go anywhere.
    """
    return [
        _skip(more, error, traceback) for more in chains if _is_whole(more) and heard(options(more).get("reply_to"))
    ]


def _is_whole(more: Shape) -> bool:
    named = more.get("kwargs")
    return isinstance(named, dict) and isinstance(named.get("segment"), int) and isinstance(named.get("queue"), str)


def _skip(more: Shape, error: Mapping[str, Any], traceback: str | None) -> Plan:
    given, named = options(more), more["kwargs"]
    where: dict[str, Any] = {name: given[name] for name in DESTINATION if name in given}
    new_id = derived_ids(f"{named['queue']}/{named['segment']}", purpose="skip")
    kwargs = {**named, "error": dict(error), "traceback": traceback}
    more_options = {**where, "task_id": new_id(), "ignore_result": True}
    root_id = str(given.get("task_id") or more_options["task_id"])
    return Plan(sendings=[Sending(CHAIN_SKIP, (), kwargs, more_options, {}, root_id)])


def skipped(message: TaskMessage, steps: Sequence[Shape], queue: str | None, context: PlanContext) -> Plan:
    """Pass the failure on to a segment.

    Args:
        message: of ``amqtask.chain_skip``.
        steps: the segment that it names.
        queue: where the message came from.
        context: of ``context_of(..., purpose="skip")``.
    """
    kwargs = {name: message.kwargs.get(name) for name in ("route", "error", "traceback")}
    where = {"ignore_result": True, **({} if queue is None else {"queue": queue})}
    whole = replace(context, park_after=None)
    return plan(chain_shape([shape(CHAIN_SKIPPED, (), kwargs, where), *steps]), context=whole)
