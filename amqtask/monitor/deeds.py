"""What the forms of the pages do: which action, on what, and what is asked before.

Owns this table. Nothing here knows of HTTP.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.monitor.actions import Actions

SELECTED, ALL = "selected", "all"
NONE_CHOSEN = "Nothing was selected, so nothing was done. Tick the messages first."


class FormError(AmqtaskError):
    """A field is missing, or says what it can't."""


class Fields:
    """What a form said.

    Args:
        given: name of a field -> its values.
    """

    def __init__(self, given: Mapping[str, Sequence[str]]) -> None:
        self.given = given

    def text(self, name: str) -> str:
        """The value of a field, which must be there.

        Raises:
            FormError: it is missing or empty.
        """
        value = self.maybe(name)
        if not value:
            raise FormError(f"The field {name} is empty.")
        return value

    def maybe(self, name: str) -> str:
        """The value of a field; empty when it is missing."""
        values = self.given.get(name) or [""]
        return values[0].strip()

    def ids(self) -> list[str]:
        """The ticked messages; none: all of them are meant, and that was said.

        Raises:
            FormError: nothing is ticked, and all was not said.
        """
        if self.maybe("scope") == ALL:
            return []
        chosen = [value for value in self.given.get("id", ()) if value]
        if not chosen:
            raise FormError(NONE_CHOSEN)
        return chosen

    def count(self, name: str) -> int:
        """A whole number from 1.

        Raises:
            FormError: it is none.
        """
        value = self.text(name)
        if not value.isdecimal() or int(value) == 0:
            raise FormError(f"Write a whole number from 1 instead of {value[:40]!r}.")
        return int(value)

    def seconds(self, name: str) -> float | None:
        """A number above 0, None when the field is empty.

        Raises:
            FormError: it is none.
        """
        value = self.maybe(name)
        try:
            number = float(value) if value else None
        except ValueError:
            number = -1.0
        if number is not None and not 0 < number < float("inf"):
            raise FormError(f"{name.capitalize()} limit: write seconds, more than 0, instead of {value[:40]!r}.")
        return number


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something that can't be undone.

    Attributes:
        title: the question.
        text: what follows from a yes.
        button: that says yes.
        command: words of the command that does the same, without ``-A``.
    """

    title: str
    text: str
    button: str
    command: tuple[str, ...]

    def line(self, target: str) -> str:
        """The command as it is typed; ``target`` is what ``-A`` says."""
        return shlex.join(["amqtask", *self.command, *(["-A", target] if target else [])])


def _no_question(_: Fields) -> Question | None:
    return None


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that a form does.

    Attributes:
        run: does it for somebody; returns what was done.
        back: path of the page that is shown afterwards, without prefix.
        question: asked before; None: not.
    """

    run: Callable[[Actions, str, Fields], str]
    back: Callable[[Fields], str]
    question: Callable[[Fields], Question | None] = _no_question


# -- where they lead back to -------------------------------------------------------------------------------------------


def _path(page: str, name: str) -> Callable[[Fields], str]:
    def back(fields: Fields) -> str:
        value = fields.maybe(name)
        return f"/{page}/{quote(value, safe='@')}" if value and fields.maybe("from") != "list" else f"/{page}s"

    return back


def _dead(fields: Fields) -> str:
    return f"/dead/{quote(fields.maybe('queue'), safe='')}"


def _schedules(_: Fields) -> str:
    return "/schedules"


# -- what is asked before ----------------------------------------------------------------------------------------------


def _ask_revoke(fields: Fields) -> Question | None:
    if not (signal := fields.maybe("signal")):
        return None
    task = fields.text("id")
    return Question(
        f"Revoke task {task} and end it with {signal}?",
        "If it runs, its process is ended at once, wherever it is; what it has done so far stays done.",
        "Revoke and end it",
        ("control", "revoke", task, "terminate=true", f"signal={signal}"),
    )


def _ask_retry(fields: Fields) -> Question | None:
    if fields.ids():
        return None
    return Question(
        f"Retry {_letters(fields)} of {fields.text('queue')}?",
        f"{_seen(fields)}Each goes back into the queue as if it had never been tried; what is not mended fails again.",
        "Retry all",
        ("dead", "retry", fields.text("queue")),
    )


def _ask_drop(fields: Fields) -> Question:
    return Question(
        f"Delete {_letters(fields)} of {fields.text('queue')}?",
        f"{_seen(fields)}The messages are gone for good, with their arguments and errors.",
        "Delete",
        ("dead", "drop", fields.text("queue"), *fields.ids()),
    )


def _letters(fields: Fields) -> str:
    ids = fields.ids()
    return f"{len(ids)} selected dead letter{'s' * (len(ids) != 1)}" if ids else "all dead letters"


def _seen(fields: Fields) -> str:
    """How many all are, as the page has shown."""
    seen = fields.maybe("seen")
    if fields.maybe("scope") == SELECTED or not seen.isdecimal():
        return ""
    return f"{int(seen[:9]):,} {'was' if seen == '1' else 'were'} there a moment ago. "


def _ask_purge(fields: Fields) -> Question:
    queue = fields.text("queue")
    return Question(
        f"Purge {queue}?",
        f"{_seen(fields)}Every message that waits in it is thrown away for good; tasks that run go on.",
        "Purge",
        ("purge", queue),
    )


def _ask_shutdown(fields: Fields) -> Question:
    worker = fields.text("worker")
    return Question(
        f"Shut down {worker}?",
        "It ends what it runs, puts back what it only holds, and exits. Nothing here starts it again.",
        "Shut down",
        ("control", "shutdown", "-d", worker),
    )


# -- what they do ------------------------------------------------------------------------------------------------------


def _revoke(actions: Actions, who: str, fields: Fields) -> str:
    signal = fields.maybe("signal")
    if not signal:
        return actions.revoke(who, fields.text("id"))
    return actions.revoke(who, fields.text("id"), terminate=True, signal=signal)


_WORKER, _QUEUE = _path("worker", "worker"), _path("queue", "queue")

DEEDS: Mapping[str, Deed] = {
    "revoke": Deed(_revoke, _path("task", "id"), _ask_revoke),
    "dead-retry": Deed(
        lambda actions, who, said: actions.dead_retry(who, said.text("queue"), said.ids()), _dead, _ask_retry
    ),
    "dead-drop": Deed(
        lambda actions, who, said: actions.dead_drop(who, said.text("queue"), said.ids()), _dead, _ask_drop
    ),
    "queue-pause": Deed(lambda actions, who, said: actions.queue_pause(who, said.text("queue")), _QUEUE),
    "queue-resume": Deed(lambda actions, who, said: actions.queue_resume(who, said.text("queue")), _QUEUE),
    "queue-purge": Deed(lambda actions, who, said: actions.queue_purge(who, said.text("queue")), _QUEUE, _ask_purge),
    "worker-shutdown": Deed(
        lambda actions, who, said: actions.worker_shutdown(who, said.text("worker")), _WORKER, _ask_shutdown
    ),
    "pool-grow": Deed(lambda actions, who, said: actions.pool_grow(who, said.text("worker"), said.count("n")), _WORKER),
    "pool-shrink": Deed(
        lambda actions, who, said: actions.pool_shrink(who, said.text("worker"), said.count("n")), _WORKER
    ),
    "add-consumer": Deed(
        lambda actions, who, said: actions.add_consumer(who, said.text("worker"), said.text("queue")), _WORKER
    ),
    "cancel-consumer": Deed(
        lambda actions, who, said: actions.cancel_consumer(who, said.text("worker"), said.text("queue")), _WORKER
    ),
    "rate-limit": Deed(
        lambda actions, who, said: actions.rate_limit(who, said.text("task"), said.text("rate"), said.text("worker")),
        _WORKER,
    ),
    "time-limit": Deed(
        lambda actions, who, said: actions.time_limit(
            who, said.text("task"), said.seconds("soft"), said.seconds("hard"), said.text("worker")
        ),
        _WORKER,
    ),
    "schedule-run": Deed(lambda actions, who, said: actions.schedule_run(who, said.text("name")), _schedules),
    "schedule-pause": Deed(lambda actions, who, said: actions.schedule_pause(who, said.text("name")), _schedules),
    "schedule-resume": Deed(lambda actions, who, said: actions.schedule_resume(who, said.text("name")), _schedules),
}
"""Name in the path of a form -> what it does."""
