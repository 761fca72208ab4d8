"""Limits that a task declares: how often it starts, how many of it run at once. Owns both values and their notation.

How they are kept is the worker's business (:mod:`amqtask.worker.limits`). A limit per key needs one thing of the
sender: the key, which it writes into a header, so that no worker has to read a body to know it.
"""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Scope = Literal["worker", "global"]
SCOPES: Final = ("worker", "global")

LIMIT_KEY: Final = "x-amqtask-limit-key"
"""Header with the key under which a task counts for its ``max_concurrency``."""

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*([smh]))?\s*")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_KEY_LENGTH = 80
_RATE_MAX = 1e9
"""More cannot be counted, and no worker starts that many."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` starts within any ``period`` seconds; a count of 0 is no limit, and false."""

    count: int
    period: float = 1.0

    @property
    def per_second(self) -> float:
        """Starts per second."""
        return self.count / self.period

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        unit = next((unit for unit, seconds in _UNITS.items() if seconds == self.period), f"{self.period:g}s")
        return f"{self.count}/{unit}" if self.count else "0"


UNLIMITED: Final = Rate(0)


def parse_rate(value: object) -> Rate:
    """Read a rate as Celery writes it: ``"100/m"``, ``"10/s"``, ``"5/h"``, or a number per second; 0 is no limit.

    Raises:
        ConfigError: anything else.
    """
    found = _RATE.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if isinstance(value, float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        found = _RATE.fullmatch(f"{value:.9f}")
    if found is None or isinstance(value, bool):
        raise ConfigError(f"{value!r} is not a rate; write for example 100/m, 10/s, 5/h, or a number per second")
    if not found[1].strip("0."):
        return UNLIMITED
    from fractions import Fraction  # noqa: PLC0415 -- brings the decimals along, and few tasks have a rate

    times, unit = Fraction(found[1]), _UNITS[found[2] or "s"]
    if not 1 / _RATE_MAX <= times <= _RATE_MAX:
        raise ConfigError(
            f"{value!r:.40} is not a rate that can be kept; it must be {1 / _RATE_MAX:g} to {_RATE_MAX:g} per second"
        )
    if times < 1:
        return Rate(1, float(unit / times))
    times = times.limit_denominator(1000)
    return Rate(times.numerator, float(unit * times.denominator))


@dataclass(frozen=True, slots=True)
class Limit:
    """How many of a task may run at once, over all workers together.

    Args:
        value: how many, 1 or more.
        key: name of an argument of the task, or a function of its arguments: as many for each value of that. None: as
            many of the task as a whole.
    """

    value: int
    key: str | Callable[..., object] | None = None
    _find: Callable[[Sequence[Any], Mapping[str, Any]], object] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise TypeError(f"a limit is a whole number, not {self.value!r}")
        if self.value < 1:
            raise ConfigError(f"Limit({self.value}): it must be 1 or more")
        if not (self.key is None or isinstance(self.key, str) or callable(self.key)):
            raise TypeError(f"the key of a limit is the name of an argument or a function, not {self.key!r}")

    def bound_to(self, function: Callable[..., Any], name: str) -> Limit:
        """The same limit, able to find its key in the arguments of this function.

        Raises:
            ConfigError: the task ``name`` has no such argument; names the nearest.
        """
        if not isinstance(self.key, str):
            return self
        parameters = inspect.signature(function).parameters
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        known = [each for each, parameter in parameters.items() if parameter.kind not in several]
        if self.key not in known:
            raise ConfigError(f"task {name} has no argument {self.key!r} to limit it by{did_you_mean(self.key, known)}")
        parameter = parameters[self.key]
        only_by_name = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        position = math.inf if only_by_name else known.index(self.key)
        default = None if parameter.default is inspect.Parameter.empty else parameter.default
        argument = self.key

        def find(args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
            return args[int(position)] if position < len(args) else kwargs.get(argument, default)

        return replace(self, _find=find)

    def key_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """The key of one call as a text that fits a header and the name of a queue; None where there is none.

        Raises:
            ConfigError: the function that makes it has failed.
        """
        if self.key is None:
            return None
        try:
            if self._find is not None:
                text = str(self._find(args, kwargs))
            else:
                text = str(self.key(*args, **kwargs)) if callable(self.key) else ""
        except Exception as error:
            raise ConfigError(f"the key of max_concurrency can't be made: {type(error).__name__}: {error}") from error
        return text if len(text.encode("utf-8", "replace")) <= _KEY_LENGTH else short_digest(text)


def short_digest(text: str) -> str:
    """A text of any length as 32 characters."""
    import hashlib  # noqa: PLC0415 -- seldom needed

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
