"""From exceptions to exit codes and messages: the one place where the command line ends in an error.

Owns the codes (sysexits.h) and the wording around messages. An error is a line or two on stderr, never a
traceback unless ``AMQTASK_DEBUG=1``, and never shows a password.

    0    done                       70   internal error (a bug)
    1    result: the task failed    73   a file can't be made, or another process has it
    64   wrong usage                75   temporary: try again later
    65   wrong data                 77   the broker refuses access
    69   broker not available       78   configuration or topology is wrong
    130  interrupted                141  the reader of the output has gone
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

import click

from amqtask import errors

if TYPE_CHECKING:
    from collections.abc import Callable

OK, TASK_FAILED, USAGE, DATA, UNAVAILABLE, INTERNAL, TEMPORARY, REFUSED, CONFIG = 0, 1, 64, 65, 69, 70, 75, 77, 78
CANNOT_CREATE, INTERRUPTED, BROKEN_PIPE = 73, 130, 141

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (click.ClickException, USAGE),
    (errors.UnknownEntry, USAGE),
    (errors.ConfigError, CONFIG),
    (errors.AccessRefused, REFUSED),
    (errors.BrokerUnavailable, UNAVAILABLE),
    (errors.Unroutable, DATA),
    (errors.MessageTooLarge, DATA),
    (errors.BrokerError, TEMPORARY),
    (errors.SerializationError, DATA),
    (errors.NoResultBackend, CONFIG),
    (errors.BackendError, TEMPORARY),
    (errors.ResultTimeout, TEMPORARY),
    (errors.ResultGone, DATA),
    (errors.UnknownTask, DATA),
)
"""First match wins."""


class DataError(click.ClickException):
    """What the user named, or piped in, is not there or can't be read (exit 65)."""


class CannotCreate(click.ClickException):
    """A file can't be made, or another process has it (exit 73)."""


class Unhealthy(click.ClickException):
    """A worker is not all right, or does not answer (exit 69)."""


class ReaderGone(Exception):
    """A BrokenPipeError that click does not see: it would end the program with 1."""


class Declined(click.ClickException):
    """The user said no."""


def exit_code(error: BaseException) -> int:
    """The exit code that stands for an exception."""
    if isinstance(error, DataError):
        return DATA
    if isinstance(error, CannotCreate):
        return CANNOT_CREATE
    if isinstance(error, Unhealthy):
        return UNAVAILABLE
    return next((code for kind, code in _CODES if isinstance(error, kind)), INTERNAL)


def guarded(program: Callable[[], object]) -> int:
    """Run a program and tell its errors.

    Args:
        program: returns its exit code, or anything else for 0.
    """
    try:
        code = program()
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGone):
        # what Python still holds for a reader that has gone must not be written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        print(file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _told(error)
    return code if isinstance(code, int) else OK


def _told(error: Exception) -> int:
    if os.environ.get("AMQTASK_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    for line in describe(error):
        print(line, file=sys.stderr)
    return exit_code(error)


def describe(error: Exception) -> list[str]:
    """The lines to print for an error, passwords masked."""
    from amqtask.config.showing import mask  # noqa: PLC0415 -- only errors need it

    return [mask(line) for line in _lines(error)]


def _lines(error: Exception) -> list[str]:
    if isinstance(error, errors.DocumentError):
        count = len(error.problems)
        return [*map(str, error.problems), f"Error: {count} problem{'s' if count > 1 else ''}"]
    if isinstance(error, Declined):
        return [error.message]
    if isinstance(error, click.UsageError):
        hint = f"Try '{error.ctx.command_path} --help'." if error.ctx is not None else "Try 'amqtask --help'."
        return [f"Error: {error.format_message()}", hint]
    if isinstance(error, click.ClickException):
        return [f"Error: {error.format_message()}"]
    if isinstance(error, errors.AmqtaskError):
        first, *rest = (str(error) or type(error).__name__).splitlines()
        return [f"Error: {first}", *(f"  {line}" for line in rest)]
    said = " ".join(str(error).split())
    return [
        f"Error: unexpected {type(error).__name__}{f': {said}' if said else ''}",
        "This is a bug in amqtask, or in the app; AMQTASK_DEBUG=1 shows the traceback.",
    ]
