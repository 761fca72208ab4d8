"""``app.conf`` of Celery's programs: amqtask's, which tells that the app is configured once its schedule is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.app.conf import Conf
from amqtask.config.understood import own_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.config.sources import Configuration


class CeleryConf(Conf):
    """Reads and sets settings. Not thread-safe to change; changes are refused after the app's first use.

    Args:
        configuration: of the app.
        on_read: called before the schedule is read.
    """

    __slots__ = ("_on_read",)
    _on_read: Callable[[], None]

    def __init__(self, configuration: Callable[[], Configuration], on_read: Callable[[], None]) -> None:
        super().__init__(configuration)
        object.__setattr__(self, "_on_read", on_read)

    def __getattr__(self, name: str) -> Any:
        if own_name(name) == "beat_schedule":
            self._on_read()
        return super().__getattr__(name)
