"""``amqtask broker do``: from words to a command of the dev broker, and its answer to the terminal.

Owns the notation of arguments. The commands are the methods of the control client; nothing is listed here.
"""

from __future__ import annotations

import inspect
import re
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

import click

from amqtask.cli.exits import DataError
from amqtask.cli.output import first_line, print_json, print_table
from amqtask.errors import BrokerUnavailable
from amqtask.plugins import did_you_mean
from amqtask.testing.devbroker.commands import CommandError
from amqtask.testing.devbroker.control import ControlClient
from amqtask.testing.devbroker.facade import Facade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from amqtask.cli.setup import Setup

_MARKUP = re.compile(r"(?::\w+:)?`+([^`]*)`+")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Request(NamedTuple):
    """A command and its arguments, checked."""

    name: str
    arguments: dict[str, Any]


def commands() -> dict[str, Callable[..., Any]]:
    """Every command of a dev broker, by name."""
    return {name: method for name, method in vars(Facade).items() if not name.startswith("_")}


def read_request(name: str, words: Sequence[str]) -> Request:
    """What was asked for.

    Args:
        name: of the command; ``-`` may stand for ``_``.
        words: its arguments, in order or as ``name=value``.

    Raises:
        click.UsageError: no such command, or the arguments don't fit.
    """
    name = name.replace("-", "_")
    known = commands()
    if name not in known:
        raise click.UsageError(f"the dev broker has no command {name!r}{did_you_mean(name, known)}")
    hints = get_type_hints(known[name])
    parameters = list(inspect.signature(known[name]).parameters.values())[1:]
    given: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in {parameter.name for parameter in parameters}:
            left = [parameter.name for parameter in parameters if parameter.name not in given]
            if not left:
                raise click.UsageError(f"{usage(name)}: {word!r} is one argument too many")
            key, value = left[0], word
        given[key] = _value(name, key, value, hints[key])
    missing = [one.name for one in parameters if one.default is one.empty and one.name not in given]
    if missing == ["vhost"]:
        given["vhost"] = "/"
    elif missing:
        raise click.UsageError(f"{usage(name)}: {missing[0]} is missing")
    return Request(name, given)


def usage(name: str) -> str:
    """``delay_confirms SECONDS [VHOST]``."""
    parameters = list(inspect.signature(commands()[name]).parameters.values())[1:]
    needed = [one.default is one.empty and one.name != "vhost" for one in parameters]
    names = [one.name.upper() for one in parameters]
    words = [word if need else f"[{word}]" for word, need in zip(names, needed, strict=True)]
    return " ".join([name, *words])


def ask(path: Path, request: Request) -> Any:
    """Have it done by the broker with this control socket.

    Raises:
        BrokerUnavailable: nobody answers there.
        DataError: the broker refuses it.
    """
    try:
        return getattr(ControlClient(path), request.name)(**request.arguments)
    except CommandError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise BrokerUnavailable(f"no dev broker answers at {path}: {error.strerror or error}") from None


def show(setup: Setup, answer: Any, *, as_json: bool) -> None:
    """Print an answer; nothing for those that say nothing."""
    if as_json:
        print_json(_printable(answer))
    elif isinstance(answer, list) and answer and isinstance(answer[0], dict):
        print_table(setup, list(answer[0]), [[first_line(str(cell)) for cell in row.values()] for row in answer])
    elif isinstance(answer, dict):
        print_table(setup, list(answer), [list(answer.values())])
    elif isinstance(answer, list):
        for item in answer:
            print(item)
    elif answer is not None:
        print(answer)


def list_commands(setup: Setup, *, as_json: bool) -> None:
    """Print what a dev broker can be asked."""
    rows = [
        (usage(name), _MARKUP.sub(r"\1", (method.__doc__ or "").splitlines()[0])) for name, method in commands().items()
    ]
    if as_json:
        print_json(dict(rows))
    else:
        print_table(setup, ("command", "what it does"), rows)


def _value(name: str, key: str, text: str, kind: Any) -> Any:
    kinds = [one for one in get_args(kind) or (kind,) if one is not NoneType]
    try:
        return _WORDS[text.lower()] if kinds[0] is bool else kinds[0](text)
    except (KeyError, ValueError):
        raise click.UsageError(f"{usage(name)}: {key} can't be {text!r}") from None


def _printable(answer: Any) -> Any:
    """Bodies of messages as text; what is no UTF-8 is escaped."""
    if isinstance(answer, bytes):
        return answer.decode(errors="backslashreplace")
    if isinstance(answer, dict):
        return {key: _printable(value) for key, value in answer.items()}
    return [_printable(item) for item in answer] if isinstance(answer, list) else answer
