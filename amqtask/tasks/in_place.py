"""What a running task may do about its own result: report progress, let other work take its place. Owns these words.

They hold for the task that runs here and now, and mean nothing outside of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from amqtask.canvas.after import context_of
from amqtask.canvas.replacing import addition, replacement
from amqtask.errors import Replaced

if TYPE_CHECKING:
    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.shapes import Shape
    from amqtask.results.node import ResultBase
    from amqtask.tasks.context import Context


def update_state(context: Context, state: str, meta: Any) -> None:
    """Store a state of the running task; see :meth:`amqtask.tasks.task.Task.update_state`."""
    if context.called_directly or context.id is None:
        raise RuntimeError(f"{context.task} runs as a plain function: only a task that was sent has a state")
    if not state or not state.isprintable():  # no store would take it, however often it is tried
        raise ValueError(f"the state of a task is a word that can be printed, not {state!r}")
    if context.report is not None:
        context.report(state, meta)


def replace(context: Context, sig: Shape, app: CanvasApp) -> NoReturn:
    """Send something to take the running task's place, then end it; see :meth:`amqtask.tasks.task.Task.replace`."""
    message = context.message
    if message is None:
        raise RuntimeError(f"{context.task} runs as a plain function: only a task that was sent can be replaced")
    if not context.is_eager:
        planning = context_of(message, app.plan_context(), context.reply_to, purpose="replace")
        app.send(replacement(message, sig, planning))
    raise Replaced(sig)


def add_to_chord(context: Context, sig: Shape, app: CanvasApp) -> ResultBase:
    """Add a member to the running task's chord; see :meth:`amqtask.tasks.task.Task.add_to_chord`."""
    message = context.message
    if message is None:
        raise RuntimeError(f"{context.task} runs as a plain function: it is a member of no chord")
    if context.is_eager:
        raise RuntimeError(f"{context.task} runs in eager mode, where a chord's header is run as it is")
    context.additions += 1
    purpose = f"add/{message.retries}/{context.additions}"  # another attempt may add other work
    plan = addition(message, sig, context_of(message, app.plan_context(), context.reply_to, purpose=purpose))
    app.send(plan)
    result: ResultBase = plan.result
    return result
