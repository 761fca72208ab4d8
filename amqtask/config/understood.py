"""What somebody gives as settings, in amqtask's words: old names, Celery's names and Celery's values understood.

Owns that reading. Knows nothing of sources and checks no value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.config.celery_names import hint, name_of_today
from amqtask.config.celery_notes import REFUSED, note_of
from amqtask.config.celery_values import OTHERWISE, RENAMED, translated
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Understood(NamedTuple):
    """Settings by the names they have in amqtask.

    Attributes:
        ours: amqtask's settings.
        idle: Celery's that have no effect.
        old: old name -> name of today, of those that were given under an old one.
        given: name in ``ours`` or ``idle`` -> the name it was given under.
    """

    ours: dict[str, Any]
    idle: dict[str, Any]
    old: dict[str, str]
    given: dict[str, str]


def understood(values: Mapping[str, Any]) -> Understood:
    """Sort settings into those of amqtask and those without effect.

    Raises:
        ConfigError: a name that nobody knows, a part of an address, or two names of one setting with different values.
    """
    found = Understood({}, {}, {}, {})
    # what sets several comes first: who gives one of these too means that one
    for name, value in sorted(values.items(), key=lambda item: name_of_today(item[0]) not in OTHERWISE):
        today = name_of_today(name)
        if today is None:
            raise ConfigError(f"unknown setting {name!r}{hint(name)}")
        if today in REFUSED:
            if value is not None:
                raise ConfigError(f"setting {name}: write broker_url instead: amqp://user:password@host:5672/vhost")
            continue
        if name != today:
            found.old[name] = RENAMED.get(today, today)
        part = {today: value} if note_of(today) else translated(today, value)
        kept = found.idle if note_of(today) else found.ours
        for own, one in part.items():
            other = found.given.get(own)
            if other is not None and name_of_today(other) not in OTHERWISE and kept[own] != one:
                raise ConfigError(f"setting {own} is given twice, as {other} and as {name}, with different values")
        kept.update(part)
        found.given.update(dict.fromkeys(part, name))
    return found


def own_name(name: str) -> str | None:
    """The name in amqtask of a setting that can be read under this one; None when there is none."""
    today = name_of_today(name)
    return None if today is None else RENAMED.get(today, today)
