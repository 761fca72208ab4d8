"""The normal form of a piece of work: what is left to plan once its nesting means nothing any more.

Owns the form. In it

- a chain has two steps or more, none of them a chain; only its last step may be a group, since a group that something
  follows is the header of a chord, and a chord whose body ends in a group has what follows in its body;
- a group, or the header of a chord, has no group among its members, and no empty chain;
- callbacks, errbacks and options of chains and of chords are where they act: with the task that they concern.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from amqtask.canvas.shapes import (
    CHUNKS,
    Shape,
    accumulate,
    add_to_list,
    body,
    chain_shape,
    chord_shape,
    copied,
    ends_in_group,
    group_shape,
    is_shape,
    kind,
    members,
    merged_call,
    merged_options,
    options,
    shape,
)
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PLACE = ("chord", "group_id", "group_index")
"""Options that say what a task counts in: they belong to the task that ends a piece of work."""
_OWN = frozenset({*PLACE, "task_id", "root_id", "parent_id", "link", "link_error", "chain", "stamped_headers"})
"""Options that are never passed on to the parts."""


def normal(sig: Shape) -> Shape:
    """The normal form of a signature; a copy.

    Raises:
        ConfigError: a chord without a body.
    """
    which = kind(sig)
    if which == "chain":
        return _chain(sig)
    if which == "group":
        return _group(sig)
    if which == "chord":
        return _chord(sig)
    return normal(chunk_group(sig)) if sig["task"] == CHUNKS else copied(sig)


def single(sig: Shape) -> Shape:
    """The same work, ended by a single task: a group's results are collected into a list by one more task."""
    if not ends_in_group(sig):
        return sig
    steps = members(sig) if kind(sig) == "chain" else [sig]
    if kind(steps[-1]) == "group":  # a chord, also of a group with one member, which is else as good as that member
        steps = [*steps[:-1], chord_shape(steps[-1], accumulate())]
        return normal(chain_shape(steps)) if len(steps) > 1 else normal(steps[0])
    return normal(chain_shape([sig, accumulate()]))


def followed(sig: Shape, rest: Sequence[Shape]) -> Shape:
    """The work, and then those steps, in the order they are run."""
    return normal(chain_shape([sig, *rest]))


def place(sig: Shape, where: Mapping[str, Any]) -> None:
    """Say what a piece of work counts in: changes the task that ends it.

    Args:
        sig: in normal form.
        where: the options of :data:`PLACE`, those that are to change.
    """
    which = kind(sig)
    then = body(sig) if which == "chord" else None
    if which == "chain":
        place(members(sig)[-1], where)
    elif then is not None:
        place(then, where)
    elif which == "task":
        options_of(sig).update(where)


def options_of(sig: Shape) -> dict[str, Any]:
    """The options of a signature, to be changed."""
    given: dict[str, Any] = sig.setdefault("options", {})
    return given


def add_links(sig: Shape, links: Any) -> None:
    """Callbacks for the end of a piece of work; of a group, as Celery has it, for its first member, immutable."""
    if not links:
        return
    which = kind(sig)
    then = body(sig) if which == "chord" else None
    if which == "task":
        add_to_list(sig, "link", links)
    elif then is not None:
        add_links(then, links)
    elif inner := members(sig):
        if which == "group":
            links = [{**copied(link), "immutable": True} for link in (links if isinstance(links, list) else [links])]
        add_links(inner[-1 if which == "chain" else 0], links)


def add_errors(sig: Shape, errors: Any) -> None:
    """Errbacks for a piece of work: for each task that may end it; of a chord, for its body."""
    if not errors:
        return
    which = kind(sig)
    then = body(sig) if which == "chord" else None
    if which in ("task", "chain"):
        add_to_list(sig, "link_error", errors)
    if which in ("chain", "group"):
        for inner in members(sig):
            add_errors(inner, errors)
    elif then is not None:
        add_errors(then, errors)


def nest(sig: Shape, depth: int) -> None:
    """Say of every task in a piece of work that it is part of a replacement, and how many deep."""
    then = body(sig) if kind(sig) == "chord" else None
    if kind(sig) == "task":
        options_of(sig)["replaced_task_nesting"] = depth
        return
    for inner in members(sig):
        nest(inner, depth)
    if then is not None:
        nest(then, depth)


def chunk_group(sig: Shape) -> Shape:
    """The group of ``celery.starmap`` that ``celery.chunks`` stands for."""
    given = sig["kwargs"]
    task, items, size = given["task"], list(given["it"]), int(given["n"])
    if size < 1:
        raise ConfigError(f"chunks of {size} items: the size must be 1 or more")
    parts = (items[start : start + size] for start in range(0, len(items), size))
    maps = [shape("celery.starmap", (), {"task": copied(task), "it": part}, immutable=True) for part in parts]
    return group_shape(maps, {name: value for name, value in options(sig).items() if name != "link"})


def passed_on(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a composition that its parts take over."""
    return {name: value for name, value in given.items() if name not in _OWN}


def _with_call(sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Shape:
    """The signature with arguments put in front."""
    if not args and not kwargs:
        return sig
    if kind(sig) == "task":
        args, kwargs = merged_call(sig, args, kwargs or {})
        return {**sig, "args": args, "kwargs": kwargs}
    return sig if sig.get("immutable") else {**sig, "args": (*args, *(sig.get("args") or ()))}


def _group(sig: Shape) -> Shape:
    new: Shape = {**sig, "kwargs": dict(sig["kwargs"]), "options": dict(options(sig))}
    new["kwargs"]["tasks"] = list(_flat(members(sig)))
    add_errors(new, new["options"].pop("link_error", None))
    return new


def _flat(tasks: Sequence[Shape]) -> Iterator[Shape]:
    """Members of a group in the order of writing, those of inner groups in their place."""
    for task in tasks:
        inner = normal(task)
        which = kind(inner)
        if which == "group":
            yield from members_with_options(inner)
        elif which != "chain" or members(inner):
            yield inner


def members_with_options(group: Shape) -> Iterator[Shape]:
    """The members of a group with its arguments in front of theirs, and its options over theirs."""
    given = passed_on(options(group))
    for member in members(group):
        placed = _with_call(member, group.get("args") or ())
        yield {**placed, "options": merged_options(options(placed), given)} if given else placed


def upgraded(group: Shape, then: Shape) -> Shape:
    """The chord of a group and what follows it."""
    header: Any = list(members_with_options(group))
    frozen: dict[str, Any] = {
        name: options(group)[name] for name in ("task_id", "root_id", "parent_id") if name in options(group)
    }
    return chord_shape(group_shape(header, frozen) if frozen else header, then)


def _chord(sig: Shape) -> Shape:
    then, header = body(sig), sig["kwargs"].get("header")
    if then is None:
        raise ConfigError("a chord needs a body: chord(header, body), or chord(header)(body)")
    given = dict(options(sig))
    own = options(header) if is_shape(header) else {}
    flat = group_shape(_flat(members(sig)), {k: v for k, v in own.items() if k != "chord"})
    add_errors(flat, flat["options"].pop("link_error", None))
    new = chord_shape(flat, normal(then), given, sig.get("args") or ())
    new["kwargs"]["kwargs"] = dict(sig["kwargs"].get("kwargs") or {})
    new["immutable"] = bool(sig.get("immutable"))
    add_links(new, given.pop("link", None))
    add_errors(new, given.pop("link_error", None))
    where = {name: given.pop(name) for name in PLACE if name in given}
    place(new, {name: value for name, value in where.items() if value is not None})
    new["options"] = given
    return new


def _chain(sig: Shape) -> Shape:
    given = options(sig)
    steps = list(_joined(list(_steps(members(sig)))))
    if not steps:
        return {**copied(sig), "kwargs": {"tasks": []}}
    if not sig.get("immutable"):
        steps[0] = _with_call(steps[0], sig.get("args") or ())
    first = passed_on(given)
    if first:
        steps[0] = {**steps[0], "options": merged_options(options(steps[0]), first)}
    new = steps[0] if len(steps) == 1 else chain_shape(steps)
    add_links(new, given.get("link"))
    add_errors(new, given.get("link_error"))
    place(new, {name: given[name] for name in PLACE if given.get(name) is not None})
    for name in ("root_id", "parent_id", "chain"):
        if given.get(name) is not None:
            options_of(new).setdefault(name, given[name])
    if given.get("task_id") is not None:
        _name(new, given["task_id"])
    return new


def _name(sig: Shape, task_id: str) -> None:
    """Give the task that ends a piece of work its id, when it has none."""
    which = kind(sig)
    then = body(sig) if which == "chord" else None
    if which == "chain":
        _name(members(sig)[-1], task_id)
    elif then is not None:
        _name(then, task_id)
    else:
        options_of(sig).setdefault("task_id", task_id)


def _steps(tasks: Sequence[Shape]) -> Iterator[Shape]:
    """Steps of a chain, those of inner chains in their place; empty groups only when there is nothing else."""
    empty, any_step = None, False
    for task in tasks:
        for step in _split(normal(task)):
            if kind(step) == "group" and not members(step):
                empty = step
                continue
            any_step = True
            yield step
    if empty is not None and not any_step:
        yield empty


def _split(step: Shape) -> Iterator[Shape]:
    """A step as the steps that it consists of."""
    which = kind(step)
    if which == "chain":
        yield from members(step)
    elif which == "group" and len(members(step)) == 1:
        yield from _split(next(members_with_options(step)))
    elif which == "chord" and kind(body(step) or {}) == "chain":
        # The rest of the body follows the chord: every member of its header carries a copy of the body.
        first, *rest = members(body(step) or {})
        yield {**step, "kwargs": {**step["kwargs"], "body": first}}
        yield from rest
    else:
        yield step


def _joined(steps: list[Shape]) -> deque[Shape]:
    """The same steps, without a group before another step; from the last to the first."""
    done: deque[Shape] = deque()
    for step in reversed(steps):
        new = step
        if done and ends_in_group(step):
            if kind(step) == "group":
                new = _chord(upgraded(step, done.popleft()))
            else:
                then, following = body(step), done.popleft()
                assert then is not None
                # a body that is a group of one is a group all the same, which a step of a chain would not be
                more = _chord(upgraded(then, following)) if kind(then) == "group" else followed(then, [following])
                new = {**step, "kwargs": {**step["kwargs"], "body": more}}
        done.appendleft(new)
    return done
