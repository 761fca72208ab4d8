"""An exception as hooks and signals are told of it, under Celery's names. Owns that value."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType


class ExceptionInfo(NamedTuple):
    """What is told of an exception, beside itself; ``str()`` is its traceback."""

    type: type[BaseException]
    exception: BaseException
    tb: TracebackType | None

    @property
    def traceback(self) -> str:
        """As Python prints it."""
        return "".join(traceback.format_exception(self.type, self.exception, self.tb))

    @property
    def exc_info(self) -> tuple[Any, BaseException, TracebackType | None]:
        """As ``sys.exc_info()`` gives it."""
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback
