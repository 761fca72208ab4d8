"""From a frozen signature to the messages that start it. Owns what each of them carries.

Of a chain only the first step is sent, with the others in its ``chain``, the next one last. Of a group every member is
sent. Of a chord every member of the header is sent, with the body as its ``chord``; who counts the members sends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.normal import PLACE, options_of, passed_on, place
from amqtask.canvas.parking import cut
from amqtask.canvas.plan import CHORD_OPTION, CHORD_QUEUE_PREFIX, NAME_MAX, ChordStart, Plan, PlanContext, Sending
from amqtask.canvas.shapes import (
    CELERYS_OWN,
    Shape,
    body,
    first_task,
    kind,
    listed,
    members,
    merged_call,
    merged_options,
    stamp_names,
)
from amqtask.canvas.shapes import options as options_in
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EMBEDDED = (("callbacks", "link"), ("errbacks", "link_error"), ("chain", "chain"))
_HEADER_ONLY = ("countdown", "eta")
"""Options of a chord that delay its header; the body follows by itself."""
_BODY_KEEPS = frozenset({*_HEADER_ONLY, *PLACE, "chain", "task_id", "root_id", "parent_id"})


class Emitter:
    """Adds to a plan what starts frozen signatures in normal form.

    Args:
        context: of the plan.
        plan: added to.
    """

    def __init__(self, context: PlanContext, plan: Plan) -> None:
        self._context, self._plan = context, plan

    def emit(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Add the messages that start a signature.

        Args:
            sig: to start.
            args: go before its own.
            kwargs: go beside its own.
            given: options of this call.
        """
        which = kind(sig)
        if which == "chain":
            self._chain(sig, args, kwargs, given)
        elif which == "group":
            self._group(sig, args, kwargs, given)
        elif which == "chord":
            self._chord(sig, args, kwargs, given)
        else:
            self._plan.sendings.append(sending(sig, args, kwargs, given, self._context))

    def _chain(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        steps = members(sig)
        if not steps:
            return
        after = given.get("chain") or options_in(sig).get("chain") or []
        where = {name: given[name] for name in PLACE if given.get(name) is not None}
        if where:
            place(sig, where)
        first, *rest = steps
        rest = rest if after else self._cut(rest)
        options = {name: options_in(sig)[name] for name in ("root_id", "parent_id") if options_in(sig).get(name)}
        options.update((name, value) for name, value in given.items() if name not in PLACE)
        self.emit(first, args, kwargs, {**options, "chain": [*after, *reversed(rest)]})

    def _cut(self, rest: list[Shape]) -> list[Shape]:
        """What messages carry of all that follows a step; if that is too much, most of it is parked."""
        limit = self._context.park_after
        if limit is None or len(rest) <= limit:
            return rest
        rest, parked = cut(rest, self._context.new_id)
        self._plan.parked += [] if parked is None else [parked]
        return rest

    def _group(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        options = merged_options(options_in(sig), given)
        group_id = options.pop("task_id")
        shared = {
            name: value for name, value in options.items() if name not in ("group_id", "group_index", "link_error")
        }
        args, _ = merged_call(sig, args, {})
        for index, member in enumerate(members(sig)):
            if options.get("chord") is None and _counted(member) is None:
                place(member, {"group_id": group_id})
            self.emit(member, args, kwargs, {**shared, "group_id": group_id, "group_index": index})

    def _chord(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        options = merged_options(options_in(sig), given)
        header: Shape = sig["kwargs"]["header"]
        then, tasks = body(sig), members(header)
        assert then is not None
        group_id = options_in(header)["task_id"]
        then = self._shortened(then, options)
        self._prepare_body(then, options, group_id, tasks)
        args, _ = merged_call({**sig, "kwargs": {}}, args, {})
        if not tasks:
            root = {"root_id": options["root_id"]} if options.get("root_id") else {}
            self.emit(then, ([],), {}, root)
            return
        if not self._context.native_chords:
            options_of(then)[CHORD_OPTION] = {
                "queue": _chord_queue(group_id),
                "size": len(tasks),
                "deadline": self._context.deadline(),
            }
        self._plan.chords.append(ChordStart(group_id, len(tasks), then))
        shared = passed_on(options)
        shared.update({name: options[name] for name in ("root_id", "parent_id") if options.get(name) is not None})
        kwargs = {**sig["kwargs"].get("kwargs", {}), **kwargs}
        for index, member in enumerate(tasks):
            where = {"chord": then, "group_id": group_id, "group_index": index}
            place(member, where)
            self.emit(member, args, kwargs, {**shared, **({} if kind(member) == "chord" else where)})

    def _shortened(self, then: Shape, options: dict[str, Any]) -> Shape:
        """A body that is a long chain: its first step, with the others in ``options`` as what follows the chord."""
        limit = self._context.park_after
        if kind(then) != "chain" or limit is None or len(members(then)) <= limit + 1:
            return then
        if options.get("chain") or options_in(then).get("chain"):  # only Celery sends such a thing
            return then
        where = {name: options.pop(name) for name in PLACE if options.get(name) is not None}
        place(then, where)
        first, *rest = members(then)
        options["chain"] = self._cut(rest)[::-1]
        return first

    def _prepare_body(self, then: Shape, options: dict[str, Any], group_id: str, tasks: list[Shape]) -> None:
        """Put into the body what it will need when its time comes."""
        where = {name: options[name] for name in PLACE if options.get(name) is not None}
        after = options.get("chain")
        if where:
            place(then, where)
        own = options_of(then)
        for name, value in options.items():
            if name not in _BODY_KEEPS and value is not None:
                own.setdefault(name, value)
        if after:
            own["chain"] = list(after)
        if own.get("root_id") is None:
            # of a chord that nothing goes before: the root of its last member, which will be the parent of the body
            first = options_in(first_task(tasks[-1])).get("task_id") if tasks else None
            if root_id := options.get("root_id") or self._context.root_id or first:
                own["root_id"] = root_id
        last = members(then)[-1] if kind(then) == "chain" else then
        if kind(last) == "task":
            options_of(last).setdefault("group_id", group_id)  # as Celery has it; without an index, and without a chord


def _counted(sig: Shape) -> Any:
    """The chord that a frozen signature counts in already, as a Celery client may have written it."""
    which = kind(sig)
    if which == "chain":
        return _counted(members(sig)[-1]) if members(sig) else None
    if which == "chord":
        return _counted(body(sig) or {"options": {}})
    return options_in(sig).get("chord")


def sending(
    sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any], context: PlanContext
) -> Sending:
    """The message of a frozen signature that is a task; parameters as for :meth:`Emitter.emit`."""
    options = merged_options(options_in(sig), given)
    args, kwargs = merged_call(sig, args, kwargs)
    embed: dict[str, Any] = {}
    for name, option in _EMBEDDED:
        if found := listed(options.pop(option, None)):
            embed[name] = found
    if chord := options.pop("chord", None):
        embed["chord"] = chord
    for name in (CHORD_OPTION, *CELERYS_OWN):
        options.pop(name, None)
    names = stamp_names(options)
    options.pop("stamped_headers", None)
    stamps = {name: options.pop(name) for name in names if name in options}
    root_id = options.pop("root_id", None) or context.root_id or options["task_id"]
    parent_id = options.pop("parent_id", None) or context.parent_id
    return Sending(
        sig["task"],
        args,
        kwargs,
        options,
        embed,
        root_id,
        parent_id,
        options.pop("group_id", None),
        options.pop("group_index", None),
        stamps,
        options.pop("replaced_task_nesting", None) or 0,
    )


def _chord_queue(group_id: str) -> str:
    queue = CHORD_QUEUE_PREFIX + group_id
    if len(queue.encode()) > NAME_MAX:
        raise ConfigError(
            f"the group {group_id[:40]!r}... has an id of {len(group_id.encode())} bytes; where RabbitMQ counts for "
            f"its chord it may have {NAME_MAX - len(CHORD_QUEUE_PREFIX)}"
        )
    return queue
