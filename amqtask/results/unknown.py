"""Exceptions that can't be made again: a subclass of RemoteError for each name. Owns these classes.

Where the real class is here but does not take its own arguments, the subclass is one of that class too, so that both
``except RemoteError`` and ``except TheClass`` work; its constructor is not called, and what that sets is missing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from amqtask.errors import RemoteError


class _Unknown(RemoteError):
    """What the classes have in common.

    Attributes:
        text: what ``str()`` of the real one said; None when that is not known.
    """

    text: str | None = None

    def __str__(self) -> str:
        return self.text if self.text is not None else BaseException.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return unknown, (self.type_path, self.args, self.text)


class _Bare(_Unknown):
    """One whose real class is here.

    Attributes:
        real: that class.
    """

    real: type[Exception]

    def __reduce__(self) -> tuple[Any, ...]:
        return bare, (self.real, self.args, self.text)


def unknown(path: str, args: tuple[Any, ...], text: str | None) -> RemoteError:
    """An exception that stands for one of a class that is not here.

    Args:
        path: ``module.Name`` of the class, or what another client has written for it.
        args: of the exception.
        text: what its ``str()`` said, or None.
    """
    error = _class(path[:512])(*args)
    error.text = text
    return error


def bare(kind: type[Exception], args: tuple[Any, ...], text: str | None) -> RemoteError:
    """An exception of a class that is here, made without its constructor.

    Args:
        kind: the class.
        args: of the exception.
        text: what its ``str()`` said, or None.

    Raises:
        Exception: anything; some classes can't be inherited from, or can't be made like this.
    """
    made = _bare_class(kind)  # type: ignore[arg-type] # mypy mistakes the class for an instance
    error = made.__new__(made, *args)
    error.args, error.text = args, text
    return error


@lru_cache(maxsize=256)
def _class(path: str) -> type[_Unknown]:
    name = path.rpartition(".")[2]
    return type(
        name if name.isidentifier() else "RemoteError", (_Unknown,), {"type_path": path, "__module__": __name__}
    )


@lru_cache(maxsize=256)
def _bare_class(kind: type[Exception]) -> type[_Bare]:
    module, name = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
    path = name if module == "builtins" else f"{module}.{name}"
    body = {"type_path": path, "real": kind, "__module__": __name__, "__repr__": BaseException.__repr__}
    return type(name.rpartition(".")[2], (_Bare, kind), body)
