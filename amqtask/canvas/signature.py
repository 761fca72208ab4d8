"""Signature: the call of a task as a value, to be composed, sent and stored. Owns what users do with one.

A signature is a dict of six keys, exactly Celery's, so that it travels as JSON as it is. The app it belongs to is an
attribute and never travels. Not thread-safe to change; sending one changes nothing of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self, cast

from amqtask.canvas import stamps
from amqtask.canvas.algebra import join
from amqtask.canvas.current import current_app
from amqtask.canvas.freeze import Freezer
from amqtask.canvas.graph import Graph, graph
from amqtask.canvas.handles import handle
from amqtask.canvas.normal import normal, place
from amqtask.canvas.option_names import check_names
from amqtask.canvas.parts import Parts
from amqtask.canvas.planning import plan
from amqtask.canvas.shapes import Shape, chain_shape, copied, is_shape, kind, listed, merged_call, merged_options, shape
from amqtask.canvas.words import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.handles import Handle
    from amqtask.canvas.plan import Plan

types: dict[str, type[Signature]] = {}
"""``subtask_type`` -> class; each kind of composition adds its own."""


class Signature(Parts):
    """The call of a task: its name, arguments and options.

    Args:
        task: a name, a task, or the dict of a signature.
        args, kwargs: of the call; those given later go before ``args`` and beside ``kwargs``.
        options: as of ``apply_async``, and ``link``, ``link_error``.
        immutable: arguments given later are ignored.
        app: that sends it; without one, the app that was made last.
        **more: further options.
    """

    _app: CanvasApp | None = None

    def __init__(
        self,
        task: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: CanvasApp | None = None,
        **more: Any,
    ) -> None:
        if isinstance(task, dict):
            super().__init__(copied(task))
        else:
            name = task if isinstance(task, str) else task.name
            given = {**(options or {}), **more}
            super().__init__(shape(name, args or (), kwargs, given, subtask_type=subtask_type, immutable=immutable))
        self._app = app

    @property
    def app(self) -> CanvasApp:
        """The app that sends it.

        Raises:
            ConfigError: it is bound to none, and none was made.
        """
        return bound_app(self) or current_app()

    @property
    def type(self) -> Callable[..., Any]:
        """The task itself, if it is known here; else KeyError."""
        return self.app.tasks[self.task]

    # ---- changed copies, and changes

    @classmethod
    def from_dict(cls, found: Shape, app: CanvasApp | None = None) -> Signature:
        """The signature, of the right class, of a dict as JSON may have brought it."""
        return restored(copied(found), app)

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """A copy, with arguments put in front, and options over its own."""
        new = copied(self)
        merged = merged_options(new["options"], options) if options else new["options"]
        first, more = merged_call(new, args or (), kwargs or {})
        return cast("Self", restored({**new, "args": first, "kwargs": more, "options": merged}, bound_app(self)))

    partial = clone

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """A copy with other arguments or options; None keeps them."""
        new = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                new[name] = value
        return new

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Set options here; returns the signature itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Ignore arguments given later, or not."""
        self.immutable = immutable

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Shape | None = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Handle:
        """Give it, and all its parts, their ids now; it changes into its normal form. Sent later, it has these ids.

        Args:
            _id: for the task that ends it, when it has none.
            group_id: the group that it is a member of.
            chord: the body that it counts for.
            root_id: first task of its tree.
            parent_id: the task that sends it.
            group_index: its place in the group.

        Returns:
            The handle of its result.
        """
        context_app = bound_app(self)
        context = self.app.plan_context()
        frozen, tree = Freezer(context.new_id, context.reply_to).freeze(normal(self), _id, counts=chord is not None)
        where = {"group_id": group_id, "chord": chord, "group_index": group_index}
        place(frozen, {name: value for name, value in where.items() if value is not None})
        more = {"root_id": root_id, "parent_id": parent_id}
        frozen["options"].update({name: value for name, value in more.items() if value is not None})
        if kind(self) == "chain" and kind(frozen) != "chain":
            frozen = chain_shape([frozen])
        self.clear()
        self.update(frozen)
        restored(self, context_app)
        return None if tree is None else handle(tree, context.results)

    def append_to_list_option(self, name: str, value: Any) -> Any:
        """Add a value to an option that is a list, unless it is there; returns the value."""
        found = self.options[name] = listed(self.options.get(name))
        if value not in found:
            found.append(value)
        return value

    def extend_list_option(self, name: str, values: Any) -> None:
        """Add values to an option that is a list."""
        self.options[name] = listed(self.options.get(name)) + listed(values)

    def link(self, callback: Any) -> Any:
        """Send a signature, with the result, when this has succeeded; returns the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call or send a signature when this has failed; returns the errback."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """Like :meth:`link_error`; returns the signature itself."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Signature]:
        """Itself, its callbacks, theirs, and so on."""
        found: list[Signature] = [self]
        for link in listed(self.options.get("link")):
            found += restored(link, self._app).flatten_links()
        return found

    def stamp(self, visitor: stamps.StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Self:
        """Put stamps on it, its parts, callbacks and errbacks; they travel in the header of every message.

        Args:
            visitor: says what stamps each part gets.
            append_stamps: a stamp that is there already becomes a list of both; else the new one stands.
            **headers: stamps for all.
        """
        self.update(restored(self, self._app))  # the visitor meets signatures, not dicts
        stamps.stamp(self, visitor, append_stamps, headers)
        return self

    # ---- running

    def delay(self, *args: Any, **kwargs: Any) -> Handle:
        """Send it, with these arguments in front of its own."""
        return self.apply_async(args, kwargs)

    async def adelay(self, *args: Any, **kwargs: Any) -> Handle:
        """Like :meth:`delay`, for coroutines."""
        return await self.aapply_async(args, kwargs)

    def apply_async(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Handle:
        """Send it.

        Args:
            args: go before its own arguments.
            kwargs: go beside its own.
            options: over its own.

        Returns:
            The handle of its result; its ``parent`` leads to what goes before. None of an empty chain.

        Raises:
            TypeError: an option of it, or of a part, that nobody knows. Inside of a task, where signatures may come
                from elsewhere, the log tells of it; with ``interop="celery"`` nobody does.
            ConfigError: it can't be sent like this; nothing was.
            EncodeError, PublishError, BackendError: as for ``Task.apply_async``.
        """
        app = self.app
        if app.always_eager:
            return app.apply(self, args or (), kwargs or {}, options)
        planned = self._plan(app, args, kwargs, options)
        app.send(planned)
        return planned.result

    async def aapply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Handle:
        """Like :meth:`apply_async`, for coroutines: never blocks the running loop."""
        app = self.app
        if app.always_eager:
            import asyncio  # noqa: PLC0415 -- whoever awaits this has loaded it

            return await asyncio.to_thread(app.apply, self, args or (), kwargs or {}, options)
        planned = self._plan(app, args, kwargs, options)
        await app.asend(planned)
        return planned.result

    def apply(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Handle:
        """Run it here and now, without a broker."""
        return self.app.apply(self, args or (), kwargs or {}, options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task here, as a function."""
        first, more = merged_call(self, args, kwargs)
        return self.type(*first, **more)

    def __invert__(self) -> Any:
        """Send it and wait for what it returns."""
        return self.apply_async().get()

    def _plan(
        self, app: CanvasApp, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> Plan:
        context = app.plan_context()
        if context.known is not None:
            check_names(self, options, context.known, lenient=context.parent_id is not None)
        return plan(self, args or (), kwargs, options, context=context)

    # ---- composing, and travelling

    def __or__(self, other: Any) -> Any:
        """What runs ``other`` with the result of this."""
        return restored(join(self, other), bound_app(self, other)) if is_shape(other) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    def __json__(self) -> dict[str, Any]:
        """As a dict; for serializers that ask."""
        return dict(self)

    def __reduce__(self) -> Any:
        return signature, (dict(self),)

    def __copy__(self) -> Self:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self)] = new = self.clone()
        return new

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call in Python's words, with these arguments in front."""
        return in_words({**self, "args": (*args, *self.args), "kwargs": {**self.kwargs, **kwargs}})

    def __repr__(self) -> str:
        return in_words(self)

    def graph(self) -> Graph:
        """What waits for what, to be drawn: ``sig.graph().to_mermaid()``, ``.to_dot()``."""
        return graph(self)

    def to_mermaid(self) -> str:
        """A picture of it, in Mermaid's words."""
        return graph(self).to_mermaid()

    def to_json(self) -> str:
        """As JSON text; :meth:`from_dict` of what it holds is this signature again."""
        return json.dumps(self)


def signature(task: Any, *args: Any, app: CanvasApp | None = None, **options: Any) -> Signature:
    """A new signature.

    Args:
        task: a signature or the dict of one, which is copied; or a task or its name.
        args: of :class:`Signature`: arguments, keyword arguments, options.
        app: that sends it.
        options: keyword arguments of :class:`Signature`, and further options.
    """
    if isinstance(task, dict):
        return restored(copied(task), app or bound_app(task))
    return Signature(task, *args, app=app, **options)


def maybe_signature(found: Any, app: CanvasApp | None = None, clone: bool = False) -> Any:
    """The signature that a dict is; anything else, and None, as it is."""
    if isinstance(found, Signature):
        found = found.clone() if clone else found
        if app is not None:
            found._app = app  # noqa: SLF001 -- the same module
        return found
    return restored(copied(found), app) if is_shape(found) else found


def restored(found: Shape, app: CanvasApp | None = None) -> Signature:
    """A dict and all signatures inside of it as objects of their classes; signatures stay the objects that they are."""
    if isinstance(found, Signature):
        new = found
    else:
        cls = types.get(kind(found), Signature)
        new = cls.__new__(cls)
        dict.update(new, found)
    new._app = app or new._app  # noqa: SLF001 -- the same module
    inner = new["kwargs"]
    which = kind(new)
    if which == "chord":
        header = inner.get("header") or []
        inner["header"] = restored(header, app) if is_shape(header) else [restored(task, app) for task in header]
        inner["body"] = None if inner.get("body") is None else restored(inner["body"], app)
    elif which != "task":
        inner["tasks"] = [restored(task, app) for task in inner.get("tasks") or ()]
    for name in ("link", "link_error"):
        if new["options"].get(name):
            new["options"][name] = [restored(s, app) if is_shape(s) else s for s in listed(new["options"][name])]
    return new


def shapes_of(tasks: Iterable[Any]) -> list[Any]:
    """What a composition is given, as signatures: one by one, or as one iterable of them."""
    given = list(tasks)
    if len(given) == 1 and not is_shape(given[0]):
        given = list(given[0])
    for item in given:
        if not is_shape(item):
            raise TypeError(f"a signature is required, such as task.s(...), got {item!r:.100}")
    return [maybe_signature(item) for item in given]


def bound_app(*sigs: Any) -> CanvasApp | None:
    """The app that some signatures are bound to, or parts of them: a composition has often none of its own."""
    return next((app for sig in sigs for app in _apps_of(sig) if app is not None), None)


def _apps_of(sig: Any) -> Iterator[CanvasApp | None]:
    if not isinstance(sig, Signature):
        return
    yield sig._app  # noqa: SLF001 -- the same module
    for name in ("tasks", "header", "body") if kind(sig) != "task" else ():
        part = sig["kwargs"].get(name)
        for inner in [part] if is_shape(part) else part or ():
            yield from _apps_of(inner)
