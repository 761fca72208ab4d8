"""What follows from the end of a task: callbacks, the next step, errbacks, failures of what will never run.

Owns those rules, which are Celery's (see each function). Pure: it says what to send, store and count; the worker does
it, all of it before the message of the task is acknowledged. Asked twice for one message, it says the same, same ids
included: pass a context of :func:`context_of`.
"""

from __future__ import annotations

import logging
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.canvas.normal import normal
from amqtask.canvas.plan import CHAIN_MORE, CHAIN_SKIPPED, Plan, PlanContext, derived_ids, result_name
from amqtask.canvas.planning import plan
from amqtask.canvas.shapes import (
    Shape,
    body,
    extended,
    group_shape,
    is_shape,
    kind,
    listed,
    members,
    options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from amqtask.wire.message import TaskMessage


logger = logging.getLogger(__name__)


class Member(NamedTuple):
    """What a task counts in.

    Attributes:
        chord: the body's signature, as the message carries it.
        group_id: of the header.
        group_index: its place there, or None.
    """

    chord: Shape
    group_id: str
    group_index: int | None


class Failed(NamedTuple):
    """A task that can never run, since what it waits for has failed.

    Attributes:
        task_id, name: of the task.
        reply_to: where its caller waits, or None.
        member: the chord that it counts in, as failed; or None.
        ignored: what its signature says of ``ignore_result``.
    """

    task_id: str
    name: str
    reply_to: str | None
    member: Member | None
    ignored: bool | None = None


class Errback(NamedTuple):
    """An errback to be called in this process, as ``errback(request, exception, traceback)``.

    Attributes:
        signature: of the errback.
        task_id: of the task that failed.
    """

    signature: Shape
    task_id: str


class Followup(NamedTuple):
    """What follows from the end of a task.

    Attributes:
        plans: to send, in this order. Their ``tree.as_tuple()`` are the children of the task's document.
        member: the chord to count the task in, or None.
        failed: tasks to which the failure passes; each gets the failure as its result.
        calls: errbacks to call here.
        skipped: each ``amqtask.chain_more`` among them: the steps it stands for fail too; see
            :func:`amqtask.canvas.skipping.skips`.
    """

    plans: tuple[Plan, ...] = ()
    member: Member | None = None
    failed: tuple[Failed, ...] = ()
    calls: tuple[Errback, ...] = ()
    skipped: tuple[Shape, ...] = ()

    @property
    def children(self) -> list[tuple[Any, Any]]:
        """For the task's document, as Celery writes them."""
        return [plan.tree.as_tuple() for plan in self.plans if plan.tree is not None]


def _never(_errback: Shape) -> bool:
    return False


def context_of(message: TaskMessage, base: PlanContext, reply_to: str | None, purpose: str = "after") -> PlanContext:
    """The context in which a task's followups are planned.

    Args:
        message: of the task.
        base: what is the same for every task of this worker.
        reply_to: of the message: whatever follows answers to the same caller.
        purpose: apart from its end; ``replace`` and each ``add_to_chord`` need ids of their own.
    """
    new_id = derived_ids(message.id, message.replaced_task_nesting, purpose)
    root_id = message.root_id or message.id
    return changed(base, new_id=new_id, reply_to=reply_to, root_id=root_id, parent_id=message.id)


def chord_context(chord: Shape, group_id: str, base: PlanContext, last: str | None = None) -> PlanContext:
    """The context in which the body of a chord is planned, or its failure; the same whoever does it.

    Args:
        chord: the body's signature, as the members carry it.
        group_id: of the header.
        base: what is the same for every task of this worker.
        last: id of the last member of the header, which the body follows; at Celery it is whichever has ended last.
    """
    given, first = options(chord), next(unreached(chord), None)
    return changed(
        base,
        new_id=derived_ids(group_id, purpose="body"),
        reply_to=given.get("reply_to") or (None if first is None else first.reply_to),
        root_id=given.get("root_id") or last,
        parent_id=given.get("parent_id") or last,
    )


def member_of(message: TaskMessage) -> Member | None:
    """What a task counts in."""
    chord = message.embed.get("chord")
    return Member(chord, message.group, message.group_index) if is_shape(chord) and message.group else None


def after_success(message: TaskMessage, result: Any, context: PlanContext) -> Followup:
    """A task has returned: its callbacks get the result, then the next step of its chain; then it counts.

    A single callback is sent as it is. Of several, groups are sent each on its own, the others as one new group. Of one
    that means nothing the log tells.

    Args:
        message: of the task.
        result: what it returned.
        context: of :func:`context_of`.

    Raises:
        ConfigError: the next step means nothing.
    """
    plans = [plan(sig, (result,), context=context) for sig in _callbacks(message)]
    steps = listed(message.embed.get("chain"))
    if steps:
        plans.append(plan(steps[-1], (result,), None, {"chain": steps[:-1]}, context=context))
    return Followup(tuple(plans), member_of(message))


def after_failure(message: TaskMessage, context: PlanContext, in_process: Callable[[Shape], bool] = _never) -> Followup:
    """A task has failed for good: the rest of its chain fails with it, its errbacks are called or sent, it counts.

    Args:
        message: of the task.
        context: of :func:`context_of`.
        in_process: whether an errback is to be called here: it is known, and takes more than the id.
    """
    calls, plans = _errbacks(listed(message.embed.get("errbacks")), message.id, context, in_process)
    steps = listed(message.embed.get("chain"))[::-1]
    # under the id of its end, the failure of a long chain is known from the beginning
    known = message.root_id if message.task == CHAIN_SKIPPED else None
    return Followup(tuple(plans), member_of(message), *_lost(steps, calls, known))


def chord_body(chord: Shape, results: Sequence[Any], context: PlanContext) -> Plan:
    """All members of a chord have succeeded: the body, with the list of their results.

    Args:
        chord: the body's signature, as the members carry it.
        results: in the order of the header.
        context: of :func:`chord_context`.
    """
    return plan(chord, (list(results),), context=context)


def chord_failed(chord: Shape, context: PlanContext, in_process: Callable[[Shape], bool] = _never) -> Followup:
    """A member of a chord has failed, or its time is up: the body can never run.

    Its tasks, and what would have followed it, fail; the errbacks of the body are called, or sent, with its id.

    Args:
        chord: the body's signature, as the members carry it.
        context: as for :func:`chord_body`.
        in_process: as for :func:`after_failure`.
    """
    calls: list[Errback] = []
    plans: list[Plan] = []
    for task_id, errbacks in body_errbacks(chord):
        more, sent = _errbacks(errbacks, task_id, context, in_process)
        calls += more
        plans += sent
    steps = [chord, *reversed(listed(options(chord).get("chain")))]
    return Followup(tuple(plans), None, *_lost(steps, calls))


def _lost(
    steps: Sequence[Shape], calls: Sequence[Errback], known: str | None = None
) -> tuple[tuple[Failed, ...], tuple[Errback, ...], tuple[Shape, ...]]:
    """The last three of a :class:`Followup`: of steps that will never run; ``known`` is one that has been told."""
    failed = [found for step in steps for found in unreached(step) if found.task_id != known]
    return tuple(failed), tuple(calls), tuple(step for step in steps if step["task"] == CHAIN_MORE)


def unreached(sig: Shape) -> Iterator[Failed]:
    """The tasks of a signature that will never run, as far as they have ids: all whose result may be waited for."""
    which = kind(sig)
    if which != "task":
        for inner in members(sig):
            yield from unreached(inner)
        then = body(sig) if which == "chord" else None
        if then is not None:
            yield from unreached(then)
        return
    given = options(sig)
    task_id = given.get("task_id")
    if task_id:
        chord, group_id = given.get("chord"), given.get("group_id")
        member = Member(chord, group_id, given.get("group_index")) if is_shape(chord) and group_id else None
        name = result_name(sig["task"], sig.get("kwargs"))
        yield Failed(task_id, name, given.get("reply_to"), member, given.get("ignore_result"))


def _callbacks(message: TaskMessage) -> list[Shape]:
    callbacks: list[Shape] = _meaningful(listed(message.embed.get("callbacks")), "callback", message.id)
    if len(callbacks) <= 1:
        return callbacks
    groups = [sig for sig in callbacks if kind(sig) == "group"]
    others = [sig for sig in callbacks if kind(sig) != "group"]
    return [*groups, group_shape(others)] if others else groups


def _errbacks(
    errbacks: list[Shape], task_id: str, context: PlanContext, in_process: Callable[[Shape], bool]
) -> tuple[list[Errback], list[Plan]]:
    """Those to call, and the one group of those to send, with the id of the failed task in front."""
    here = [in_process(errback) for errback in errbacks]
    calls = [Errback(errback, task_id) for errback, direct in zip(errbacks, here, strict=True) if direct]
    sent = [errback for errback, direct in zip(errbacks, here, strict=True) if not direct]
    sent = _meaningful(sent, "errback", task_id)
    if not sent:
        return calls, []
    return calls, [plan(group_shape(sent), (task_id,), context=changed(context, parent_id=task_id))]


def _meaningful(linked: list[Shape], what: str, task_id: str) -> list[Shape]:
    """Those that can be planned: one that can't (a chord without a body, of whoever wrote it) holds up nothing else."""
    found = []
    for sig in linked:
        try:
            normal(sig)
        except Exception as error:  # it may be anything, from a message
            logger.error(  # noqa: TRY400 -- the traceback would be of our code
                "The %s %s of task %s can't be sent: %s", what, sig.get("task"), task_id, error
            )
        else:
            found.append(sig)
    return found


def body_errbacks(sig: Shape) -> Iterator[tuple[str, list[Shape]]]:
    """The errbacks of a body that can never run, by the ids they are called with: of what would have run first.

    Those of a chord are with its body; with its header, if that was a group before something followed it.

    Args:
        sig: frozen.
    """
    which = kind(sig)
    own = listed(options(sig).get("link_error"))
    if which == "task":
        yield str(options(sig).get("task_id")), own
        return
    then = body(sig) if which == "chord" else None
    first = members(sig)[:1] if which == "chain" else [*members(sig), *([] if then is None else [then])]
    for inner in first:
        theirs = own if then is None or inner is then else []
        for task_id, errbacks in body_errbacks(inner):
            yield task_id, extended(errbacks, theirs)
