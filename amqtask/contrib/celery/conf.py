"""``app.conf`` as Celery's programs use it: old names and new ones, by attribute and by key.

Owns what becomes of each setting: amqtask's own are set, checked at once; of those that only Celery has the value is
kept and can be read. Those of the scheduler are kept for it; of the others a warning says that they change nothing.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import TYPE_CHECKING, Any

from amqtask.app.conf import Conf
from amqtask.config.settings import NAMES
from amqtask.config.sources import Source
from amqtask.contrib.celery.names import CELERY_NAMES, hint, name_of_today
from amqtask.contrib.celery.values import RENAMED, translated
from amqtask.errors import ConfigError
from amqtask.symbols import import_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from amqtask.config.sources import Configuration

logger = logging.getLogger(__name__)

_SILENT = frozenset(
    {
        "broker_channel_error_retry",
        "broker_connection_max_retries",
        "broker_connection_retry",
        "enable_utc",
        "task_create_missing_queues",
        "task_protocol",
        "task_publish_retry",
        "task_remote_tracebacks",
    }
)
"""amqtask always does what these ask for in most programs."""

_INSTEAD = frozenset({"broker_host", "broker_port", "broker_user", "broker_password", "broker_vhost"})


class CeleryConf(Conf):
    """Reads and sets settings. Not thread-safe to change; changes are refused after the app's first use.

    Args:
        configuration: of the app.
        on_read: called before a setting of the scheduler is read.
    """

    __slots__ = ("_kept", "_made", "_on_read")
    _kept: dict[str, Any]
    _made: set[str]
    _on_read: Callable[[], None]

    def __init__(self, configuration: Callable[[], Configuration], on_read: Callable[[], None]) -> None:
        super().__init__(configuration)
        object.__setattr__(self, "_kept", {})
        object.__setattr__(self, "_made", set())
        object.__setattr__(self, "_on_read", on_read)

    # ---- setting

    def given(self, values: Mapping[str, Any]) -> None:
        """What the app was made with: no configuration object changes it."""
        self._made.update(self._set(values))

    def update(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set several settings, under old names or new ones.

        Raises:
            ConfigError: an unknown name, a wrong value, or the app is in use already.
        """
        self._set({**(values or {}), **more})

    def load(self, source: object, namespace: str | None = None) -> None:
        """Take the settings out of a module, an object or a mapping; what is no setting is left alone.

        Args:
            source: or the name of it: ``"proj.config"``, ``"proj:Config"``.
            namespace: what the names start with, ``CELERY`` in Django's settings.

        Raises:
            ConfigError: it can't be imported, or has a wrong value.
        """
        found = {}
        for name, value in _items(_object(source) if isinstance(source, str) else source):
            known = name_of_today(name, namespace)
            if known is not None and RENAMED.get(known, known) not in self._made:
                found[known] = value
            elif known is None and (meant := hint(name, namespace)):
                logger.warning("%s is no setting%s", name, meant)
        self._set(found)

    def __setattr__(self, name: str, value: Any) -> None:
        self._set({name: value})

    def __setitem__(self, name: str, value: Any) -> None:
        self._set({name: value})

    def _set(self, values: Mapping[str, Any]) -> set[str]:
        """Returns the names of today, of amqtask's settings."""
        ours, theirs = {}, {}
        for name, value in values.items():
            known = _known(name)
            if known in _INSTEAD and value is not None:
                raise ConfigError(f"setting {name}: write broker_url instead: amqp://user:password@host:5672/vhost")
            own = RENAMED.get(known, known)
            if own in NAMES:
                ours[own] = translated(own, value)
            else:
                theirs[known] = value
        if "include" in ours:
            ours["include"] = tuple(dict.fromkeys((*self._configuration().settings.include, *ours["include"])))
        if ours:
            self._configuration().update(ours, Source.CODE)
        self._kept.update(theirs)
        idle = [name for name in theirs if not name.startswith("beat_") and name not in _SILENT and theirs[name]]
        if idle:
            logger.warning("kept, but without effect in amqtask: %s", ", ".join(idle))
        return {*ours, *theirs}

    # ---- reading

    def __getattr__(self, name: str) -> Any:
        known = name_of_today(name)
        if known is None:
            raise AttributeError(f"there is no setting {name!r}{hint(name)}")
        own = RENAMED.get(known, known)
        if own in NAMES:
            return getattr(self._configuration().settings, own)
        if known == "beat_schedule":
            self._on_read()
            return self._kept.setdefault(known, {})
        return self._kept.get(known)

    def kept(self, name: str) -> Any:
        """The value of a setting that only Celery has; None when nobody set it."""
        return self._kept.get(name)

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as error:
            raise KeyError(str(error)) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name_of_today(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """A setting; ``default`` where it is unknown, or None."""
        if name not in self:
            return default
        found = self[name]
        return default if found is None else found

    def __dir__(self) -> list[str]:
        return [*sorted({*NAMES, *CELERY_NAMES}), "get", "update"]


def _known(name: str) -> str:
    known = name_of_today(name)
    if known is None:
        raise ConfigError(f"unknown setting {name!r}{hint(name)}")
    return known


def _object(path: str) -> Any:
    module, colon, rest = path.partition(":")
    if colon:
        found: Any = import_module(module)
        for part in rest.split("."):
            if not hasattr(found, part):
                raise ConfigError(f"{path!r}: {part!r} is not there")
            found = getattr(found, part)
        return found
    try:
        return import_module(path)
    except ConfigError as error:
        parent, dot, last = path.rpartition(".")
        if not dot or not isinstance(error.__cause__, ModuleNotFoundError) or error.__cause__.name != path:
            raise
        module_of = import_module(parent)
        if not hasattr(module_of, last):
            raise
        return getattr(module_of, last)


def _items(source: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(source, "items") and not isinstance(source, ModuleType):
        yield from source.items()
        return
    for name in dir(source):
        if not name.startswith("_") and (name.isupper() or name.islower()):
            yield name, getattr(source, name)
