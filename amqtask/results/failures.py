"""Exceptions across processes: to a document of plain values and back. Owns the document.

It is Celery's ``{"exc_type", "exc_message", "exc_module"}``, with what Celery leaves out under keys of its own:

``x-text``       what ``str()`` of the exception said
``x-cause``      the exceptions that led to it, the nearest first
``x-members``    of an exception group
``x-notes``      what ``add_note()`` has added

Nothing is pickled. Writing takes any exception, however hostile. Reading takes any document, imports nothing and calls
nothing but classes of exceptions that this process has loaded already.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from amqtask.errors import Reject, RemoteError
from amqtask.results import celery_names
from amqtask.results.plain import plain_values, rich_value
from amqtask.results.trimming import MESSAGE_LIMIT, causes, clip, message, type_path
from amqtask.results.unknown import bare, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_LIMIT = 256
_MEMBERS = 20
_NOTES = 10
_DEPTH = 3
"""Groups inside of groups."""

Document = dict[str, Any]


def to_document(error: BaseException, *, celery: bool = False) -> Document:
    """Write an exception as plain values, at most some ten thousand bytes of them.

    Args:
        error: whatever user code has raised. This never raises.
        celery: use the names that Celery has for amqtask's own exceptions.
    """
    try:
        return _written(error, celery)
    except BaseException:  # out of memory or stack, or an attribute that can't be read
        return named(_path(error), message(error), celery=celery)


def named(path: str, *args: Any, text: str | None = None, celery: bool = False) -> Document:
    """The document of an exception that was never raised here, such as what is known of a lost worker.

    Args:
        path: ``module.Name`` of its type; without a module a builtin one.
        args: of the exception.
        text: what its ``str()`` would be; the arguments say it when None.
        celery: as in :func:`to_document`.
    """
    module, _, name = path.rpartition(".")
    document = _typed(module or "builtins", name, celery)
    document["exc_message"] = plain_values(args)
    if text is not None:
        document["x-text"] = clip(text, MESSAGE_LIMIT)
    return document


def to_exception(document: Any, traceback: str | None = None) -> Exception:
    """The exception that a document describes: a new one at every call.

    Args:
        document: as stored by whomever. This never raises.
        traceback: where it was raised, as text; becomes a note of the exception.

    Returns:
        An instance of its class, if that is loaded here, is an ``Exception`` and takes its arguments; else a
        :class:`~amqtask.errors.RemoteError` of a subclass with its name, which is one of its class too if that is here.
    """
    try:
        error = _read(document, 0)
    except Exception:
        error = unknown("Exception", ("the failure can't be read",), None)
    if traceback and isinstance(traceback, str):
        _note(error, f"Raised by the task:\n{traceback}")
    return error


# ---- writing


def _written(error: BaseException, celery: bool, depth: int = 0) -> Document:
    document = _single(error, celery)
    if led := [_single(cause, celery) for cause in causes(error)]:
        document["x-cause"] = led
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH:
        document["x-members"] = [_written(inner, celery, depth + 1) for inner in error.exceptions[:_MEMBERS]]
    return document


def _single(error: BaseException, celery: bool) -> Document:
    if isinstance(error, RemoteError) and error.type_path:  # passed on: it keeps its own name
        module, _, name = error.type_path.rpartition(".")
    else:
        kind = type(error)
        module, name = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
    document = _typed(str(module), str(name), celery)
    document["exc_message"] = plain_values(_arguments(error))
    if (text := message(error)) and document["exc_message"] != [text]:
        document["x-text"] = text
    if notes := _notes(error):
        document["x-notes"] = notes
    return document


def _typed(module: str, name: str, celery: bool) -> Document:
    if celery:
        module, name = celery_names.to_celery(module, name)
    return {
        "exc_type": clip(name, _NAME_LIMIT),
        "exc_message": [],
        "exc_module": clip(module or "builtins", _NAME_LIMIT),
    }


def _arguments(error: BaseException) -> tuple[Any, ...]:
    if type(error) is Reject:  # its first argument is a text made of the reason
        return (error.reason, error.requeue)
    if isinstance(error, BaseExceptionGroup):
        return (error.message,)
    args: tuple[Any, ...] = BaseException.__getattribute__(error, "args")
    return args


def _path(error: BaseException) -> str:
    try:
        return type_path(error)
    except BaseException:
        return "Exception"


def _notes(error: BaseException) -> list[str]:
    try:
        notes: list[Any] = error.__notes__
        return [clip(str.__str__(note), MESSAGE_LIMIT) for note in notes[:_NOTES]]
    except BaseException:
        return []


# ---- reading


def _read(document: Any, depth: int) -> Exception:
    if not isinstance(document, dict) or not isinstance(document.get("exc_type"), str):
        return unknown("Exception", (document,), None)
    error = _instance(document, depth)
    for note in _list(document.get("x-notes"))[:_NOTES]:
        _note(error, str(note))
    _chain(error, _list(document.get("x-cause")))
    return error


def _chain(error: BaseException, documents: list[Any]) -> None:
    seen = {id(error)}
    for document in documents[:_MEMBERS]:
        if not isinstance(document, dict) or not isinstance(document.get("exc_type"), str):
            return
        cause = _instance(document, _DEPTH)
        if id(cause) in seen:  # a class that hands out one instance
            return
        seen.add(id(cause))
        error.__cause__ = cause
        error = cause


def _instance(document: Mapping[str, Any], depth: int) -> Exception:
    module, name = document.get("exc_module"), document["exc_type"]
    if isinstance(module, str):
        module, name = celery_names.to_amqtask(module, name)
    args = tuple(_arguments_of(document.get("exc_message")))
    text = document["x-text"] if isinstance(document.get("x-text"), str) else None
    kind = _loaded(module, name)
    if kind is not None:
        if issubclass(kind, ExceptionGroup) and depth < _DEPTH:
            inner = [_read(member, depth + 1) for member in _list(document.get("x-members"))[:_MEMBERS]]
            args = (*args[:1], inner)
        error = _made(kind, args)
        if error is None:  # not "or": whether it is true is user code's
            error = _made_bare(kind, args, text)
        if error is not None:
            return error
    path = f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name
    return unknown(path, args, text)


def _loaded(module: Any, name: str) -> type[Exception] | None:
    """The class, found without running any code: no import, no ``__getattr__`` of a module or a metaclass."""
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    if not isinstance(found, ModuleType):
        return None
    for part in name.split("."):
        try:
            found = (
                ModuleType.__getattribute__(found, "__dict__").get(part)
                if isinstance(found, ModuleType)
                else (type.__getattribute__(found, "__dict__").get(part))
            )
        except (AttributeError, TypeError):
            return None
    return found if isinstance(found, type) and Exception in type.mro(found) else None


def _made(kind: type[Exception], args: tuple[Any, ...]) -> Exception | None:
    try:
        error: Any = kind(*args)
        if not isinstance(error, Exception):  # its __new__ makes something else
            return None
        if not isinstance(error, ExceptionGroup | OSError | Reject) and error.args != args:
            error.args = args  # its constructor has made a new text of the text
        str(error)
    except (Exception, SystemExit, GeneratorExit):  # Ctrl-C while reading is the reader's
        return None
    return error


def _made_bare(kind: type[Exception], args: tuple[Any, ...], text: str | None) -> Exception | None:
    if not issubclass(kind, BaseExceptionGroup):  # which is nothing without its members
        with suppress(Exception, SystemExit, GeneratorExit):
            error = bare(kind, args, text)
            str(error)
            return error
    return None


def _arguments_of(value: Any) -> list[Any]:
    return [rich_value(item) for item in value] if isinstance(value, list | tuple) else [rich_value(value)]


def _note(error: Exception, text: str) -> None:
    with suppress(Exception):  # a class may see to it that it takes none
        error.add_note(text)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
