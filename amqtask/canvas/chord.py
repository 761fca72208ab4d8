"""chord: tasks side by side, and one that gets all their results. Owns its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.shapes import is_shape, kind, listed, members
from amqtask.canvas.signature import Signature, maybe_signature, shapes_of, types
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.handles import Handle


class chord(Signature):  # noqa: N801 -- Celery's name
    """A header, whose tasks run side by side, and a body that runs once with the list of their results.

    Args:
        header: signatures (any iterable), or a group.
        body: a signature; may be given when it is called: ``chord(header)(body)``.
        app: that sends it.
        on_error: an errback, or a list of them: as :meth:`link_error`.
        **options: for the body and for every member; ``countdown`` and ``eta`` for the members.

    Raises:
        TypeError: ``on_error`` is no signature: a chord whose member fails can do nothing but fail.
    """

    def __init__(
        self,
        header: Any,
        body: Any = None,
        args: Sequence[Any] = (),
        app: CanvasApp | None = None,
        *,
        on_error: Any = None,
        **options: Any,
    ) -> None:
        if is_shape(header):
            tasks = shapes_of([members(header)]) if kind(header) in ("group", "chain") else shapes_of([[header]])
        else:
            tasks = shapes_of([header])
        kwargs = {"kwargs": {}, "header": tasks, "body": maybe_signature(body)}
        super().__init__("celery.chord", args, kwargs, options, subtask_type="chord", app=app)
        for errback in listed(on_error):
            if not is_shape(errback):
                raise TypeError(f"on_error of a chord is an errback, such as task.s(), not {errback!r:.100}")
            self.link_error(errback)

    @property
    def tasks(self) -> Any:
        """The header: a list of signatures, or a group."""
        return self["kwargs"]["header"]

    @tasks.setter
    def tasks(self, value: Any) -> None:
        self["kwargs"]["header"] = value

    @property
    def body(self) -> Any:
        """The body."""
        return self["kwargs"]["body"]

    @body.setter
    def body(self, value: Any) -> None:
        self["kwargs"]["body"] = value

    def __call__(self, body: Any = None, **options: Any) -> Handle:
        """Send it, with this body if given."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    def apply_async(self, args: Any = (), kwargs: Any = None, **options: Any) -> Handle:
        """Send it; ``args`` are for every member of the header, and so are ``kwargs`` but for ``body``."""
        given = dict(kwargs or {})
        body = given.pop("body", None)
        if body is None:
            return super().apply_async(args, given, **options)
        new = self.clone()
        new.body = maybe_signature(body, clone=True)
        return Signature.apply_async(new, args, given, **options)

    def link(self, callback: Any) -> Any:
        """Link a callback to the body, also to one that is given later."""
        return super().link(callback) if self.body is None else self.body.link(callback)

    def link_error(self, errback: Any) -> Any:
        """Link an errback to the body, also to one that is given later: it is called, once, whichever member fails.

        With ``task_allow_error_cb_on_chord_header`` to each member too: it is called for each of them that fails.
        """
        if self._links_to_members():
            for task in members(self):
                maybe_signature(task).link_error(maybe_signature(errback, clone=True))
        if self.body is None:
            super().link_error(errback)
        else:
            self.body.link_error(errback)
        return errback

    def _links_to_members(self) -> bool:
        try:
            return self.app.errbacks_on_headers
        except ConfigError:  # it belongs to no app yet
            return False

    def set_immutable(self, immutable: bool) -> None:
        """For every member of the header; not for the body."""
        for task in members(self):
            maybe_signature(task).set_immutable(immutable)

    def __len__(self) -> int:
        return len(members(self)) if "kwargs" in self else dict.__len__(self)

    def __bool__(self) -> bool:
        return True


types["chord"] = chord
