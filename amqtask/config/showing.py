"""Settings as other people may see them: secrets hidden, one line each. Owns what counts as a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from amqtask.config.kinds import Secrets
from amqtask.config.settings import NAMES, kind_of
from amqtask.durations import format_duration

_PASSWORD = re.compile(r"(\w+://[^:@/]*):.*@")
_MASK = "********"
_HIDDEN = re.compile("password|passwd|secret|token|api_?key", re.IGNORECASE)
"""In keys of mappings."""
_SECRET = re.compile("password|secret|security_key|_url|options|settings|kwargs")
"""In names of Celery's settings: their values may hold secrets."""
_NEXT_URL = re.compile(r"([;,]\s*)(?=\w+://)")


def shown(name: str, value: Any) -> str:
    """The value of a setting as one line of text, right or wrong as it may be: secrets and passwords hidden."""
    return show(masked(name, value))


def _is_secret(name: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    return kind_of(name).secret if name in NAMES else bool(_SECRET.search(name))


def masked(name: str, value: Any) -> Any:
    """The value of a setting for other eyes: plain data, secrets and passwords in URLs hidden."""
    if isinstance(value, Secrets):
        return dict.fromkeys(value, _MASK)
    if _is_secret(name, value):
        return _MASK
    if isinstance(value, Mapping):
        return {str(key): _MASK if _HIDDEN.search(str(key)) else masked(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(name, item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return show(value)


def mask(url: str) -> str:
    """The text with the passwords of all URLs in it hidden."""
    return "".join(_PASSWORD.sub(r"\1:***@", part) for part in _NEXT_URL.split(url))


def show(value: Any) -> str:
    """A setting's value as one line of text, without passwords."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple | list):
        return ", ".join(show(item) for item in value) or "none"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return mask(str(value))
