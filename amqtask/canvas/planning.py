"""From a signature to what is to be sent. Owns that one step, which reaches nothing outside of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.emit import Emitter
from amqtask.canvas.freeze import Freezer
from amqtask.canvas.normal import add_errors, add_links, followed, normal, options_of
from amqtask.canvas.plan import Plan, PlanContext
from amqtask.canvas.shapes import Shape, ends_in_group, options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def plan(
    sig: Shape,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    *,
    context: PlanContext,
) -> Plan:
    """Plan a piece of work: any signature, also one that was frozen elsewhere and came in a message.

    Args:
        sig: a signature or the dict of one; not changed.
        args: of this call: go before the signature's own unless it is immutable; to the first step of a chain, to every
            member of a group or header.
        kwargs: go beside its own.
        given: options of this call, over those of the signature. Callbacks (``link``) are for the end of the work,
            errbacks (``link_error``) for every task that may end it, ``task_id`` is the id of its result, ``chain``
            what follows it, the next step last; everything else is for what is sent first.
        context: who makes the plan.

    Raises:
        ConfigError: a chord without a body, or ``link`` for a group.
    """
    given = {name: value for name, value in (given or {}).items() if value is not None}
    work = normal(sig)
    rest = given.pop("chain", None) or options(work).get("chain")
    if rest and ends_in_group(work):  # only Celery sends such a thing
        work = followed({**work, "options": {k: v for k, v in options(work).items() if k != "chain"}}, rest[::-1])
        rest = None
    add_links(work, given.pop("link", None))
    add_errors(work, given.pop("link_error", None))
    if rest:
        options_of(work)["chain"] = list(rest)
    task_id = given.pop("task_id", None)
    frozen, tree = Freezer(context.new_id, context.reply_to).freeze(work, task_id)
    new = Plan(tree, results=context.results)
    if tree is not None:
        Emitter(context, new).emit(frozen, tuple(args), dict(kwargs or {}), given)
    return new
