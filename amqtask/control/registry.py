"""Commands of remote control: the decorators that declare them, and the list of all. Owns their names and descriptions.

amqtask's own are functions in :mod:`amqtask.worker.control.commands`; a program adds its own in any module that its
workers import::

    @inspect_command(signature="")
    def free_space(panel):
        return {"bytes": shutil.disk_usage("/").free}

A command runs on the worker's I/O thread, so it must be quick and must not block. What it returns is the reply, plain
values; what it raises is reported as ``{"error": ...}``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from amqtask.wire.lamport import LamportClock

F = TypeVar("F", bound=Callable[..., Any])

Kind = Literal["inspect", "control"]


class Panel(Protocol):
    """What a command gets as its first argument.

    Attributes:
        app: the application.
        hostname: name of this worker.
        clock: its logical clock.
        worker: its engine, whose parts may change from version to version.
    """

    app: Any
    hostname: str
    clock: LamportClock
    worker: Any


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        name: as it is asked for.
        kind: whether it only looks, or changes something.
        function: called with a :class:`Panel` and the arguments of the request by name.
        args: (name, type) of the arguments that stand on a command line, in order; the type reads a word.
        variadic: name of the argument that takes all further words as a list.
        signature: how these look in a list of commands.
        help: one line.
    """

    name: str
    kind: Kind
    function: Callable[..., Any]
    args: tuple[tuple[str, Callable[[str], Any]], ...] = ()
    variadic: str | None = None
    signature: str = ""
    help: str = ""


commands: dict[str, Command] = {}
"""Every command that is declared, by name; a later one takes the place of an earlier."""


def inspect_command(
    *,
    name: str | None = None,
    args: Sequence[tuple[str, Callable[[str], Any]]] = (),
    variadic: str | None = None,
    signature: str = "",
) -> Callable[[F], F]:
    """Declare a command that only looks.

    Args:
        name: instead of the function's.
        args: see :class:`Command`, as the others.
        variadic: see there.
        signature: see there.
    """
    return _declare("inspect", name, args, variadic, signature)


def control_command(
    *,
    name: str | None = None,
    args: Sequence[tuple[str, Callable[[str], Any]]] = (),
    variadic: str | None = None,
    signature: str = "",
) -> Callable[[F], F]:
    """Declare a command that changes something; see :func:`inspect_command`."""
    return _declare("control", name, args, variadic, signature)


def _declare(
    kind: Kind,
    name: str | None,
    args: Sequence[tuple[str, Callable[[str], Any]]],
    variadic: str | None,
    signature: str,
) -> Callable[[F], F]:
    def declare(function: F) -> F:
        known = name or function.__name__
        text = " ".join((function.__doc__ or "").strip().partition("\n\n")[0].split())
        commands[known] = Command(known, kind, function, tuple(args), variadic, signature, text)
        return function

    return declare
