"""One field of a cron line: Celery's and cron's notations, read into the numbers they stand for. Owns the notation.

``*``, ``*/15``, ``8-18``, ``mon-fri``, ``22-2`` (over the end), ``2-30/2``, ``1,15``, numbers, lists of them; days
of the month also ``L`` (the last) and ``LW`` (the last working day), days of the week also ``fri#2`` (the second) and
``friL`` (the last).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean

Cronspec = int | str | Iterable[int] | Iterable[str]
"""What a field may be given as."""

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_TERM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")
_NTH = re.compile(r"(?P<day>\w+?)(?:#(?P<nth>[1-5])|(?P<last>[lL]))")


@dataclass(frozen=True)
class Field:
    """One of the fields of a line.

    Attributes:
        name: as people call it.
        least, most: bounds of its numbers.
        names: words for them, from ``least`` on.
    """

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def read(self, given: Cronspec) -> tuple[frozenset[int], frozenset[str]]:
        """The numbers it stands for, and what is no number, in cron's words.

        Raises:
            ConfigError: it can't be read; says where and what there is instead.
        """
        numbers: set[int] = set()
        words: set[str] = set()
        for term in self._terms(given):
            if word := self._word(term):
                words.add(word)
            else:
                numbers.update(self._range(term))
        if not numbers and not words:
            raise ConfigError(f"{self.name}: it is empty, so that it would never be due")
        return frozenset(numbers), frozenset(words)

    def _terms(self, given: Cronspec) -> list[str]:
        if isinstance(given, bool):
            raise ConfigError(f"{self.name}: {given!r} is neither a number nor a text")
        if isinstance(given, int):
            return [str(given)]
        if isinstance(given, str):
            return [term.strip() for term in given.split(",")]
        if isinstance(given, Iterable):
            return [term for item in given for term in self._terms(item)]
        raise ConfigError(f"{self.name}: {given!r} is neither a number, nor a text, nor a list of them")

    def _word(self, term: str) -> str | None:
        if self is DAY_OF_MONTH and term.upper() in ("L", "LW"):
            return term.upper()
        found = _NTH.fullmatch(term) if self is DAY_OF_WEEK else None
        if found is None or (found["nth"] is None and not _known(found["day"], self.names)):
            return None
        day = self._number(found["day"])
        return f"{day}#{found['nth']}" if found["nth"] else f"{day}L"

    def _range(self, term: str) -> Iterable[int]:
        found = _TERM.fullmatch(term)
        if found is None:
            raise ConfigError(f"{self.name}: {term!r} is none of 5, 1-5, */5, 1-9/2" + self._example())
        step = int(found["step"] or 1)
        if step < 1:
            raise ConfigError(f"{self.name}: {term!r}: a step must be 1 or more")
        whole = range(self.least, self.most + 1)
        if found["first"] == "*":
            if found["last"]:
                raise ConfigError(f"{self.name}: {term!r} is not a range")
            return whole[::step]
        first = self._number(found["first"])
        if not found["last"]:
            return range(first, self.most + 1, step) if found["step"] else (first,)
        last = self._number(found["last"])
        if last < first:  # over the end: 22-2, fri-mon
            return [*range(first, self.most + 1), *range(self.least, last + 1)][::step]
        return range(first, last + 1, step)

    def _number(self, text: str) -> int:
        if text.isdecimal():
            number = int(text)
            if self is DAY_OF_WEEK and number == 7:  # noqa: PLR2004 -- Sunday, as cron has it too
                return 0
        else:
            place = _place(text, self.names)
            if place is None:
                raise ConfigError(f"{self.name}: {text!r} is not a number{did_you_mean(text.lower(), self.names)}")
            number = place + self.least
        if not self.least <= number <= self.most:
            raise ConfigError(f"{self.name}: {number} is not from {self.least} to {self.most}")
        return number

    def _example(self) -> str:
        return f" or {self.names[1][:3]}-{self.names[4][:3]}" if self.names else ""


def _place(text: str, names: tuple[str, ...]) -> int | None:
    """Celery takes any word that begins like the name: mon, Monday."""
    short = text[:3].lower()
    if len(short) < 3:  # noqa: PLR2004 -- as short as names get
        return None
    return next((at for at, name in enumerate(names) if name[:3] == short and name.startswith(text.lower())), None)


def _known(text: str, names: tuple[str, ...]) -> bool:
    return text.isdecimal() or _place(text, names) is not None


SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_MONTH = Field("day_of_month", 1, 31)
MONTH = Field("month_of_year", 1, 12, _MONTHS)
DAY_OF_WEEK = Field("day_of_week", 0, 6, _DAYS)


def written(field: Field, numbers: frozenset[int], words: frozenset[str]) -> str:
    """The field as cron writes it: ``*``, or the list."""
    if len(numbers) == field.most - field.least + 1:
        return "*"
    return ",".join([*map(str, sorted(numbers)), *sorted(words)])
