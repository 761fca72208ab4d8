"""Finding objects by name: ``proj.tasks:app`` to the thing itself, with errors that say what went wrong.

Owns the notation of ``-A/--app`` and the import of user modules. Knows no class of amqtask: callers pass
theirs.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from typing import TYPE_CHECKING, TypeVar

from amqtask.errors import AmqtaskError, ConfigError

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T")

_USUAL_NAMES = ("app", "celery")
_PACKAGE = os.path.join(os.path.dirname(__file__), "")  # noqa: PTH118, PTH120 -- as frames have it
_USUAL_MODULES = ("app", "celery", "tasks")


def import_module(name: str) -> ModuleType:
    """Import a module, the current folder included in the search as ``python -m`` does.

    Raises:
        ConfigError: it doesn't exist, or its import failed; says where and why.
    """
    here = os.getcwd()  # noqa: PTH109 -- sys.path holds texts
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"there is no module {name!r}{_hint(name)}") from error
        raise ConfigError(_failed(name, error)) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(_failed(name, error)) from error


def find_app(path: str, kind: type[T]) -> T:
    """The app that ``-A`` names.

    ``proj`` and ``proj.worker`` search a module: its ``app``, then ``celery``, then the only instance in it,
    then its submodules ``app``, ``celery`` and ``tasks``. ``proj:app`` names the attribute (dots allowed),
    ``proj:make()`` calls it; ``proj.app`` works for an attribute too.

    Args:
        path: as above.
        kind: the class of apps.

    Raises:
        ConfigError: nothing suitable was found, or several; says what to write instead.
    """
    if "/" in path or path.endswith(".py"):
        raise ConfigError(f"{path!r} is a file{_hint(path)}")
    name, colon, attribute = path.partition(":")
    if not name or name.startswith(".") or (colon and not attribute):
        raise ConfigError(f"{path!r} names no app; write module or module:attribute")
    if colon:
        return _attribute(import_module(name), attribute, kind)
    try:
        module = import_module(name)
    except ConfigError as error:
        parent, dot, last = name.rpartition(".")
        if not dot or not isinstance(error.__cause__, ModuleNotFoundError) or error.__cause__.name != name:
            raise
        module = import_module(parent)
        if isinstance(found := getattr(module, last, None), kind):
            return found
        raise
    return _search(module, kind)


def _attribute(module: ModuleType, attribute: str, kind: type[T]) -> T:
    where = f"{module.__name__}:{attribute}"
    path, call = attribute.removesuffix("()"), attribute.endswith("()")
    found: object = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{where}: {_title(found)} has no attribute {part!r}")
        found = getattr(found, part)
    if call:
        if not callable(found):
            raise ConfigError(f"{where}: {path} can't be called; leave out the ()")
        try:
            found = found()
        except Exception as error:
            raise ConfigError(_failed(where, error)) from error
    elif callable(found) and not isinstance(found, kind):
        raise ConfigError(f"{where} is a function; write {where}() if it makes the app")
    if not isinstance(found, kind):
        raise ConfigError(f"{where} is not of type {kind.__name__}: it is {type(found).__name__}")
    return found


def _title(value: object) -> str:
    name = getattr(value, "__name__", type(value).__name__)
    return f"module {name}" if type(value).__name__ == "module" else name


def _search(module: ModuleType, kind: type[T]) -> T:
    found = _instance(module, kind)
    if found is None and hasattr(module, "__path__"):
        for name in _USUAL_MODULES:
            whole = f"{module.__name__}.{name}"
            if importlib.util.find_spec(whole) is not None:
                found = _instance(import_module(whole), kind)
            if found is not None:
                break
    if found is None:
        raise ConfigError(f"no {kind.__name__} in {module.__name__!r}: write module:attribute, or call it app in there")
    return found


def _instance(module: ModuleType, kind: type[T]) -> T | None:
    for name in _USUAL_NAMES:
        if isinstance(found := getattr(module, name, None), kind):
            return found
    named = {name: value for name, value in vars(module).items() if isinstance(value, kind)}
    if len({id(value) for value in named.values()}) > 1:
        choices = " or ".join(f"{module.__name__}:{name}" for name in named)
        raise ConfigError(f"several {kind.__name__} in {module.__name__!r}: write -A {choices}")
    return next(iter(named.values()), None)


def _failed(what: str, error: BaseException) -> str:
    """One line: what was loaded, the error, and the last place outside of the import machinery.

    Of an error that amqtask raises, the last place outside of amqtask: there stands what is wrong.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_import(frame.filename)]
    if isinstance(error, AmqtaskError):
        frames = [frame for frame in frames if not frame.filename.startswith(_PACKAGE)] or frames
    if isinstance(error, SyntaxError):
        place = f" ({error.filename}:{error.lineno})"
    else:
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    said = traceback.format_exception_only(error)[-1].strip()
    return f"loading {what!r} failed: {said}{place}"


def _is_import(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename in (__file__, importlib.__file__)


def _hint(name: str) -> str:
    if "/" in name or name.endswith(".py"):
        module = name.removesuffix(".py").lstrip("./").replace("/", ".")
        return f"; write {module!r}, seen from the folder it is imported from"
    return f" (searched {os.getcwd()} and the Python path)"  # noqa: PTH109 -- printed as it is
