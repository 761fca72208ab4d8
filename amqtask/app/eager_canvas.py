"""Signatures of every kind run here, step by step, as ``apply()`` and ``task_always_eager`` want them. Owns the walk.

The tasks themselves run as eager calls do (:mod:`amqtask.app.eager`). A failure ends a chain, and a chord before its
body; errbacks get the id of the failed task or, if they take it, the exception itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.after import Errback, body_errbacks
from amqtask.canvas.emit import sending
from amqtask.canvas.normal import normal
from amqtask.canvas.plan import PlanContext
from amqtask.canvas.shapes import body, kind, listed, members, merged_call, merged_options
from amqtask.errors import ChordError
from amqtask.execution.errbacks import call, takes_exception
from amqtask.results.eager import EagerResult
from amqtask.results.group import GroupResult
from amqtask.tasks.context import current
from amqtask.tasks.options import SEND_OPTIONS
from amqtask.wire.ids import new_id
from amqtask.wire.message import TaskMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.app.eager import Eager
    from amqtask.canvas.plan import Sending
    from amqtask.canvas.shapes import Shape
    from amqtask.tasks.registry import TaskRegistry

_LATER = frozenset({"countdown", "eta"})
"""Nobody waits here."""


def walk(
    eager: Eager,
    tasks: TaskRegistry,
    sig: Shape,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Any:
    """Run a signature.

    Args:
        eager: runs single tasks.
        tasks: of the app.
        sig: any signature.
        args: go before its own.
        kwargs: go beside its own.
        options: over its own; ``throw`` raises what a task raises.

    Returns:
        An ``EagerResult``, or a ``GroupResult`` of such; its ``parent`` leads to what went before.
    """
    given = dict(options)
    throw = given.pop("throw", None)
    return _Walk(eager, tasks, throw).run(normal(sig), args, kwargs, given)


class _Walk:
    def __init__(self, eager: Eager, tasks: TaskRegistry, throw: bool | None) -> None:
        self._eager, self._tasks, self._throw = eager, tasks, throw
        self._before: Sending | None = None
        """The task that what runs now follows from; None at the beginning."""
        self._last: Sending | None = None

    def run(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        which = kind(sig)
        if which == "chain":
            return self._chain(sig, args, kwargs)
        if which == "group":
            return self._group(sig, args, kwargs)
        if which == "chord":
            return self._chord(sig, args, kwargs)
        return self._task(sig, args, kwargs, options)

    def _task(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        merged = merged_options(sig.get("options") or {}, options)
        callbacks, errbacks = listed(merged.get("link")), listed(merged.get("link_error"))
        step = _make_sending(sig, args, kwargs, merged, self._before)
        result = self._eager.run_sending(step, self._tasks.options_of(step.task), self._throw)
        if result.successful():
            for callback in callbacks:
                self._after(step, normal(callback), (result.result,))
        else:
            message = TaskMessage(step.task, result.id, args=tuple(step.args), kwargs=dict(step.kwargs))
            before, self._before = self._before, step
            self._failed(errbacks, message, result.result, result.traceback)
            self._before = before
        self._last = step
        return result

    def _after(self, before: Sending | None, sig: Shape, args: Sequence[Any]) -> Any:
        """Run what follows from a task."""
        outer, self._before = self._before, before or self._before
        result = self.run(sig, args, {}, {})
        self._before = outer
        return result

    def _failed(self, errbacks: Sequence[Shape], message: TaskMessage, error: Any, traceback: str | None) -> None:
        for errback in map(normal, errbacks):
            task = self._tasks.get(errback["task"])
            if task is not None and isinstance(error, BaseException) and takes_exception(task, errback):
                call(task, Errback(errback, message.id), message, error, traceback)
            else:
                self.run(errback, (message.id,), {}, {})

    def _chain(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        result: Any = None
        for place, step in enumerate(members(sig)):
            if place:
                following = self._after(self._last, step, (_value(result),))
                _first_step(following).parent = result
            else:
                following = self.run(step, args, kwargs, {})
            result = following
            if not _succeeded(result):
                break
        return result

    def _group(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        given, _ = merged_call(sig, args, {})
        results = [self.run(member, given, kwargs, {}) for member in members(sig)]
        return GroupResult(str(sig["options"].get("task_id") or new_id()), results)

    def _chord(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        header: Shape = sig["kwargs"]["header"]
        then = body(sig)
        assert then is not None
        given, _ = merged_call({**sig, "kwargs": {}}, args, {})
        group = self._group({**header, "args": ()}, given, kwargs)
        failed = next((one for one in group.results if not _succeeded(one)), None)
        if failed is None:
            result = self._after(self._last, then, (_value(group),))
            _first_step(result).parent = group
            return result
        error = ChordError(f"Dependency {failed.id} raised {failed.result!r}")
        if self._throw:
            raise error
        task_id = str(then["options"].get("task_id") or new_id())
        for _, errbacks in body_errbacks(then):
            self._failed(errbacks, TaskMessage(then["task"], task_id), error, None)
        return EagerResult(task_id, then["task"], "FAILURE", error=error)


def _make_sending(
    sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], merged: Mapping[str, Any], before: Sending | None
) -> Sending:
    """What would be sent, without what follows from it: the walk sees to that."""
    context, task = PlanContext(), current()
    if before is not None:
        context = context.within(before.options["task_id"], before.root_id)
    elif task is not None and task.id is not None:
        context = context.within(task.id, task.root_id)
    one = sending({**sig, "options": {"task_id": new_id(), **merged}}, args, kwargs, {}, context)
    known = {name: value for name, value in one.options.items() if name in SEND_OPTIONS and name not in _LATER}
    return one._replace(options=known, embed={})


def _succeeded(result: Any) -> bool:
    return bool(result.successful())


def _value(result: Any) -> Any:
    return [_value(one) for one in result.results] if isinstance(result, GroupResult) else result.result


def _first_step(result: Any) -> Any:
    """The handle of the first of the steps that a result stands for."""
    while result.parent is not None:
        result = result.parent
    return result
