"""``app.conf``: settings by attribute, as Celery users write them. Owns that notation only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.config.settings import NAMES
from amqtask.config.sources import Source
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amqtask.config.sources import Configuration


class Conf:
    """Reads and sets an app's settings: ``app.conf.task_serializer = "json"``, ``app.conf.update(...)``.

    Setting is checked at once, and refused after the app's first use.
    """

    __slots__ = ("_configuration",)
    _configuration: Callable[[], Configuration]

    def __init__(self, configuration: Callable[[], Configuration]) -> None:
        object.__setattr__(self, "_configuration", configuration)

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES:
            raise AttributeError(f"there is no setting {name!r}{did_you_mean(name, NAMES)}")
        return getattr(self._configuration().settings, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._configuration().update({name: value})

    def update(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set several settings, or none of them.

        Raises:
            ConfigError: an unknown name, a wrong value, or the app is in use already.
        """
        self._configuration().update({**(values or {}), **more}, Source.CODE)

    def __dir__(self) -> list[str]:
        return [*NAMES, "update"]
