"""Tasks as parts of a canvas: signatures of a task. Owns these words only; composing is :mod:`amqtask.canvas`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.maps import chunks, xmap, xstarmap
    from amqtask.canvas.signature import Signature


class Composable:
    """What a task offers to those who compose work of it. The arguments are checked when the task runs.

    Attributes:
        name: of the task.
        app: it belongs to.
    """

    name: str
    app: CanvasApp | None

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """The call of this task as a value; arguments given later go before these."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Like :meth:`s`; arguments given later are ignored."""
        return self.signature(args, kwargs, immutable=True)

    def signature(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **options: Any,
    ) -> Signature:
        """Like :meth:`s`, with options.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            immutable: arguments given later are ignored.
            options: as of ``apply_async``, and ``link``, ``link_error``.
        """
        from amqtask.canvas.signature import Signature  # noqa: PLC0415 -- for those who compose work

        return Signature(self.name, tuple(args), kwargs, options, immutable=immutable, app=self.app)

    subtask = signature

    def map(self, it: Iterable[Any]) -> xmap:
        """One message that calls this task for each item; the result is the list of theirs."""
        from amqtask.canvas.maps import xmap  # noqa: PLC0415 -- as above

        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Sequence[Any]]) -> xstarmap:
        """Like :meth:`map`, with each item as all positional arguments."""
        from amqtask.canvas.maps import xstarmap  # noqa: PLC0415 -- as above

        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Sequence[Any]], n: int) -> chunks:
        """Items in parts of ``n``; each part is one message, see :class:`amqtask.canvas.maps.chunks`."""
        from amqtask.canvas.maps import chunks  # noqa: PLC0415 -- as above

        return chunks(self.s(), it, n, app=self.app)
