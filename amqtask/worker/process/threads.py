"""What the worker asks of a thread of its own, and of what makes one. Owns both contracts.

``threading.Thread`` does, unless gevent has made greenlets of threads: see ``new_thread`` of
:class:`amqtask.worker.pools.base.Pool`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnThread(Protocol):
    """A real thread."""

    def start(self) -> None:
        """Start it."""

    def join(self, timeout: float = ...) -> None:
        """Wait for its end, at most this many seconds."""


class NewThread(Protocol):
    """Makes one; called as ``threading.Thread`` is."""

    def __call__(  # noqa: D102 -- as the class says
        self, *, target: Callable[..., None], args: tuple[Any, ...] = (), name: str = "", daemon: bool = True
    ) -> OwnThread: ...
