"""Kinds of setting values: how each is checked when it comes from code, and read when it comes as text.

Owns the checks and their wording; knows no setting by name. Every check raises Unfit saying what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.durations import parse_duration
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from datetime import timedelta

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_ABSENT = ("", "none", "null")


class Unfit(ValueError):
    """The value is not of the kind; the text says what is required."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    Attributes:
        name: as shown in the reference, unit included.
        check: value given in code -> value kept; raises Unfit.
        parse: text of an environment variable or option -> value for ``check``; raises Unfit.
        secret: values are shown in no message.
    """

    name: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any] = str
    secret: bool = False


def optional(kind: Kind) -> Kind:
    """The same kind, or None."""
    return Kind(
        f"{kind.name}, or none",
        lambda value: None if value is None else kind.check(value),
        lambda text: None if text.strip().lower() in _ABSENT else kind.parse(text),
        kind.secret,
    )


def integer(minimum: int = 0, maximum: int | None = None, unit: str = "") -> Kind:
    """A whole number within bounds, both included."""
    bounds = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unfit(f"a whole number is required, got {type(value).__name__}")
        if value < minimum or (maximum is not None and value > maximum):
            raise Unfit(f"it must be {bounds}")
        return value

    return Kind(f"whole number{f' of {unit}' if unit else ''}", check, _whole)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Unfit("a whole number is required") from None


def choice(*values: str) -> Kind:
    """One of a few words."""
    words = ", ".join(values)

    def check(value: Any) -> str:
        if value not in values:
            raise Unfit(f"it must be one of {words}")
        return str(value)

    return Kind(f"one of {words}", check)


def _check_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        found = "an empty text" if value == "" else type(value).__name__
        raise Unfit(f"text is required, got {found}")
    return value


def _check_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"true or false is required, got {type(value).__name__}")
    return value


def _parse_flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise Unfit("true or false is required")
    return word in _TRUE


def _check_seconds(value: Any) -> float:
    return _duration(value).total_seconds()


def _duration(value: Any) -> timedelta:
    try:
        return parse_duration(value)
    except ConfigError as error:
        raise Unfit(str(error)) from None


def _check_texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple | set | frozenset) or not all(
        isinstance(item, str) and item for item in value
    ):
        raise Unfit("a list of texts is required")
    return tuple(value)


def _check_durations(value: Any) -> tuple[timedelta, ...]:
    if not isinstance(value, list | tuple):
        raise Unfit("a list of durations is required, for example ['5s', '1m']")
    return tuple(_duration(item) for item in value)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _check_positive(value: Any) -> float:
    checked = _check_seconds(value)
    if checked <= 0:
        raise Unfit("it must be more than 0")
    return checked


def _seconds_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def table(*keys: str) -> Kind:
    """A mapping with these keys only."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Unfit(f"a mapping is required, got {type(value).__name__}")
        if unknown := [str(key) for key in value if key not in keys]:
            raise Unfit(f"unknown {', '.join(unknown)}; there are {', '.join(keys)}")
        return dict(value)

    return Kind(f"mapping of {', '.join(keys)}", check, _pairs)


def _pairs(text: str) -> dict[str, Any]:
    """``ca_certs=/etc/ca.pem,verify=false``."""
    found: dict[str, Any] = {}
    for part in _split(text):
        key, equals, value = part.partition("=")
        if not equals:
            raise Unfit("write key=value,key=value")
        found[key] = _parse_flag(value) if value.lower() in _TRUE[1:] + _FALSE[1:] else value
    return found


class Secrets(dict[str, str]):
    """Names and secrets; its repr has only the names."""

    def __repr__(self) -> str:
        return ", ".join(f"{name}=********" for name in self)


def _check_secrets(value: Any) -> Secrets:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise Unfit("a mapping of texts to texts is required")
    return Secrets(value)


def _parse_secrets(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _split(text)]
    if not all(equals for _, equals, _ in pairs):
        raise Unfit("write name=secret,name=secret")
    return {name: secret for name, _, secret in pairs}


_MEMORY = re.compile(r"(\d+)\s*(k|m|g)?(i?b)?", re.IGNORECASE)
_KIBIBYTES = {"k": 1, "m": 1024, "g": 1024 * 1024}


def _check_memory(value: Any) -> int:
    """KiB: a number as it is (Celery's unit), a text with a unit."""
    if isinstance(value, str) and (found := _MEMORY.fullmatch(value.strip())):
        value = int(found[1]) * _KIBIBYTES[(found[2] or "k").lower()]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Unfit("KiB as a number, or a text such as 512MiB, is required")
    return value


def _check_mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise Unfit(f"a mapping is required, got {type(value).__name__}")
    return value


def _check_any(value: Any) -> Any:
    return value


def _not_text(_text: str) -> Any:
    raise Unfit("it can only be set in code")


text = Kind("text", _check_text)
flag = Kind("true or false", _check_flag, _parse_flag)
positive_seconds = Kind("seconds above 0, or a duration such as 5s", _check_positive, _seconds_text)
seconds = Kind("seconds, or a duration such as 5s", _check_seconds, _seconds_text)
texts = Kind("list of texts", _check_texts, _split)
urls = Kind("URL, or list of URLs", _check_texts, lambda value: (value,))
durations = Kind("list of durations", _check_durations, _split)
memory = Kind("KiB, or a size such as 512MiB", _check_memory)
secrets = Kind("mapping of names to secrets", _check_secrets, _parse_secrets, secret=True)
mapping = Kind("mapping", _check_mapping, _not_text)
anything = Kind("see text", _check_any, _not_text)
