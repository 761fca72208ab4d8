"""Exceptions as texts: where the interpreter itself knows less than usual, and where a text can't be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from amqtask.results import trimming

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_LINES = bytes([0xF8 | 7])
"""An entry of ``co_linetable`` for eight code units that belong to no line (CPython, Objects/locations.md)."""


def _fails() -> NoReturn:
    raise ValueError("in the middle")


def raised(function: Callable[[], NoReturn]) -> ValueError:
    with pytest.raises(ValueError) as caught:
        function()
    return caught.value


def test_exception_raised_between_two_lines_keeps_its_type_and_its_frames() -> None:
    lines = _NO_LINES * len(_fails.__code__.co_code)
    _fails_nowhere = type(_fails)(_fails.__code__.replace(co_linetable=lines), {})
    error = raised(_fails_nowhere)
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_next is not None
    assert error.__traceback__.tb_next.tb_lineno is None
    kind, text, trace = trimming.describe(error)
    assert (kind, text) == ("ValueError", "in the middle")
    assert f"line {_fails.__code__.co_firstlineno}, in _fails" in trace


def test_type_and_message_are_told_where_the_traceback_can_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(trimming, "traceback", out_of_memory)
    assert trimming.describe(raised(_fails)) == ("ValueError", "in the middle", "")
