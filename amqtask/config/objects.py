"""Settings out of modules, classes, objects and mappings: which of their names are settings, and where each is given.

Owns that choice, and what is said of names that look like settings and are none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from amqtask.config.celery_names import hint, looks_like_one, name_of_today
from amqtask.config.places import assigned, calling
from amqtask.config.sources import Source
from amqtask.errors import ConfigError
from amqtask.symbols import import_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amqtask.config.places import Place
    from amqtask.config.sources import Configuration

_log = logging.getLogger(__name__)


def load_object(configuration: Configuration, source: object, namespace: str | None = None) -> None:
    """Take the settings out of an object; what is no setting is left alone.

    Args:
        configuration: is changed.
        source: a module, class, object or mapping, or the name of one: ``"proj.config"``, ``"proj:Config"``.
        namespace: what the names start with, ``CELERY`` in Django's settings.

    Raises:
        ConfigError: it can't be imported, has a wrong value, or (unless ``unknown_settings`` is ``warn``) a name that
            looks like a setting's and is none.
    """
    thing = find_object(source) if isinstance(source, str) else source
    values: dict[str, Any] = {}
    unknown: list[str] = []
    written: dict[str, str] = {}
    for name, value in _items(thing, f"{namespace.upper()}_" if namespace else ""):
        today = name_of_today(name, namespace)
        if today is None:
            unknown += [name] if _is_meant(name, value, namespace, thing) else []
            continue
        # with a namespace, names in capitals are the way to write them
        known = today if namespace else name
        if known in values and values[known] != value:
            raise ConfigError(f"setting {known} is given twice, as {written[known]} and as {name}")
        values[known], written[known] = value, name
    _refuse(unknown, namespace, values.get("unknown_settings", configuration.settings.unknown_settings))
    configuration.update(values, Source.OBJECT, _places(thing, written))


def _places(thing: Any, written: Mapping[str, str]) -> Callable[[str], Place | None]:
    if isinstance(thing, Mapping):
        here = calling()
        return lambda _name: here
    find = partial(assigned, thing)
    return lambda name: find(written.get(name, name))


def _is_meant(name: str, value: Any, namespace: str | None, thing: Any) -> bool:
    """Whether somebody must have thought that this is a setting."""
    if looks_like_one(name, namespace):
        return True
    if namespace or not name.islower():
        return False
    # a module holds functions, modules and variables of its own beside settings; a mapping of settings does not
    return isinstance(thing, Mapping) or (
        bool(hint(name)) and isinstance(value, str | int | float | list | tuple | dict | set | None)
    )


def _refuse(unknown: list[str], namespace: str | None, policy: str) -> None:
    if not unknown:
        return
    texts = [f"unknown setting {name!r}{hint(name, namespace)}" for name in unknown]
    if policy == "error":
        raise ConfigError("; ".join(texts) + " (unknown_settings = 'warn' lets such names pass)")
    for text in texts:
        _log.warning("%s", text)


def find_object(path: str) -> Any:
    """The thing of this name: a module, or what is in it after a colon or the last dot.

    Raises:
        ConfigError: it can't be imported, or is not there.
    """
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
        owner = import_module(parent)
        if not hasattr(owner, last):
            raise
        return getattr(owner, last)


def _items(thing: Any, start: str) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Mapping):
        yield from thing.items()
        return
    if hasattr(thing, "items") and not isinstance(thing, ModuleType | type):
        yield from thing.items()
        return
    for name in dir(thing):
        # not the others: reading some of Django's settings warns
        if name.startswith(start) and not name.startswith("_") and (name.isupper() or name.islower()):
            yield name, getattr(thing, name)
