"""What Celery has and amqtask has not: it says so when it is used. Owns that error and its wording."""

from __future__ import annotations

from typing import Any, NoReturn

from amqtask.errors import AmqtaskError


class Unavailable(AmqtaskError, NotImplementedError):
    """A part of Celery that amqtask does not have; says what to do instead, if anything can be done."""


class Absent:
    """Stands in the place of such a part: it can be passed around, but not used.

    Args:
        name: as users write it, for example ``app.amqp``.
        text: what is missing, and what to do.
    """

    def __init__(self, name: str, text: str) -> None:
        self.__dict__.update(_name=name, _text=text)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise Unavailable(f"{self._name}.{name}: {self._text}")

    def __call__(self, *_args: Any, **_options: Any) -> NoReturn:
        """Says what is missing."""
        raise Unavailable(f"{self._name}(): {self._text}")

    def __repr__(self) -> str:
        return f"<{self._name}: unavailable>"


SCHEDULER = "start the scheduler by the command line: amqtask beat -A PROJECT, or amqtask worker -B"
MESSAGES = "send tasks by app.send_task(...), and see to queues by: amqtask queue"
COMMAND_LINE = "start workers by the command line: amqtask worker -A PROJECT"
RESULTS = "results are asked for by AsyncResult(id); where they are kept is the setting result_backend"
LOGGING = "loggers are Python's: amqtask.contrib.celery.log.get_task_logger(name)"
LOADING = "settings come by app.conf, tasks by app.conf.include or app.autodiscover_tasks()"
