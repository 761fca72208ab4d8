"""The shapes of signatures: plain dicts, exactly as Celery writes them into messages.

Owns reading and making them. A :class:`~amqtask.canvas.signature.Signature` is such a dict, and so is what a worker
reads from a message: all that plans and composes works on both alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Shape = dict[str, Any]
"""``task``, ``args``, ``kwargs``, ``options``, ``subtask_type``, ``immutable``."""

Kind = Literal["task", "chain", "group", "chord"]

ACCUMULATE: Final = "celery.accumulate"
"""Built-in task that returns its arguments, or with ``index`` one of them."""
CHUNKS: Final = "celery.chunks"
ERRBACK: Final = "amqtask.errback"
"""Built-in task that calls an errback, where the task has failed without a process that could."""
MAPS: Final = frozenset({"celery.map", "celery.starmap", CHUNKS})

_KINDS: Final = frozenset({"chain", "group", "chord"})
_IMMUTABLE_OPTIONS: Final = frozenset({"group_id", "stamped_headers"})
"""Whoever waits for a task counts on these: giving others later changes nothing."""
CELERYS_OWN: Final = ("add_to_parent", "route_name", "use_link")
"""Arguments of Celery's methods that get into its signatures, and mean nothing outside of its process."""
LIST_OPTIONS: Final = ("link", "link_error")
DESTINATION: Final = ("queue", "exchange", "routing_key")
"""Options that say where a task goes."""


def shape(
    task: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    subtask_type: str | None = None,
    immutable: bool = False,
) -> Shape:
    """A new shape; its parts are copies, one level deep."""
    return {
        "task": task,
        "args": tuple(args),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": subtask_type,
        "immutable": immutable,
    }


def is_shape(value: object) -> TypeGuard[Shape]:
    """Whether a value is a signature, or the dict of one."""
    return isinstance(value, dict) and "task" in value and "options" in value


def kind(sig: Shape) -> Kind:
    """What a signature is: a task that is sent, or what it is composed of."""
    name = sig.get("subtask_type")
    return cast("Kind", name) if name in _KINDS else "task"


def options(sig: Shape) -> dict[str, Any]:
    """The options of a signature, to be read."""
    return sig.get("options") or {}


def members(sig: Shape) -> list[Shape]:
    """The steps of a chain, the members of a group or of a chord's header; to be read."""
    if kind(sig) != "chord":
        return list(sig["kwargs"].get("tasks") or ())
    header = sig["kwargs"].get("header") or ()
    return members(header) if is_shape(header) else list(header)


def body(sig: Shape) -> Shape | None:
    """The body of a chord."""
    return cast("Shape | None", sig["kwargs"].get("body"))


def chain_shape(steps: Iterable[Shape], given: Mapping[str, Any] | None = None) -> Shape:
    """A chain of these steps, as they are."""
    return shape("celery.chain", (), {"tasks": list(steps)}, given, subtask_type="chain")


def group_shape(tasks: Iterable[Shape], given: Mapping[str, Any] | None = None) -> Shape:
    """A group of these members, as they are."""
    return shape("celery.group", (), {"tasks": list(tasks)}, given, subtask_type="group")


def chord_shape(
    header: Shape | list[Shape], then: Shape | None, given: Mapping[str, Any] | None = None, args: Sequence[Any] = ()
) -> Shape:
    """A chord of this header (a group, or its members) and body, as they are."""
    kwargs = {"kwargs": {}, "header": header, "body": then}
    return shape("celery.chord", args, kwargs, given, subtask_type="chord")


def copied(sig: Shape) -> Shape:
    """A copy that shares no option, member or body with the original, but its arguments."""
    new: Shape = {**sig, "kwargs": dict(sig.get("kwargs") or {}), "options": copied_options(options(sig))}
    inner = new["kwargs"]
    which = kind(sig)
    if which == "chord":
        header = inner.get("header") or []
        inner["header"] = copied(header) if is_shape(header) else [copied(task) for task in header]
        inner["body"] = None if inner.get("body") is None else copied(inner["body"])
    elif which != "task":
        inner["tasks"] = [copied(task) for task in inner.get("tasks") or ()]
    return new


def copied_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of options whose lists of callbacks and of stamps are its own."""
    new = dict(given)
    for name, value in new.items():
        if isinstance(value, list | tuple):
            new[name] = [copied(item) if is_shape(item) else item for item in value]
        elif name in LIST_OPTIONS and is_shape(value):
            new[name] = [copied(value)]
    return new


def listed(value: Any) -> list[Any]:
    """One callback or several, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def extended(first: Any, more: Any) -> list[Any]:
    """Callbacks of two origins, each once."""
    result = listed(first)
    result += [item for item in listed(more) if item not in result]
    return result


def add_to_list(sig: Shape, name: str, more: Any) -> None:
    """Add callbacks (or errbacks) to a signature, each once."""
    if listed(more):
        sig["options"] = {**options(sig), name: extended(options(sig).get(name), more)}


def stamp_names(given: Mapping[str, Any]) -> list[str]:
    """Which options are stamps; what can be no name of one, in a message from elsewhere, is none."""
    return [name for name in listed(given.get("stamped_headers")) if isinstance(name, str)]


def merged_options(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a signature and those of a call: the call's win, callbacks add up, stamps and group stay."""
    kept = _IMMUTABLE_OPTIONS.union(stamp_names(own)) if own else frozenset[str]()
    new = dict(own)
    for name, value in given.items():
        if value is None or (name in kept and own.get(name) is not None):
            continue
        new[name] = extended(own.get(name), value) if name in LIST_OPTIONS else value
    return new


def merged_call(sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a signature and those of a call: the call's go first, unless the signature is immutable."""
    own = tuple(sig.get("args") or ())
    if sig.get("immutable"):
        return own, dict(sig.get("kwargs") or {})
    return (*args, *own), {**(sig.get("kwargs") or {}), **kwargs}


def first_task(sig: Shape) -> Shape:
    """The task that a signature begins with, or one of them; the signature itself when it has none."""
    while (which := kind(sig)) != "task":
        inner = members(sig)
        if not inner:
            return body(sig) or sig if which == "chord" else sig
        sig = inner[0]
    return sig


def ends_in_group(sig: Shape) -> bool:
    """Whether the result of a signature is that of a group, so that no single task ends it."""
    which = kind(sig)
    if which == "chain":
        steps = members(sig)
        return bool(steps) and ends_in_group(steps[-1])
    if which == "chord":
        then = body(sig)
        return then is not None and ends_in_group(then)
    return which == "group" or sig.get("task") == CHUNKS


def accumulate() -> Shape:
    """The signature that makes one result, a list, of a group's."""
    return shape(ACCUMULATE, (), {"index": 0})
