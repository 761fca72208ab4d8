"""Signals of an app: what is told to those who have connected. Owns the few that can be had: of the app itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Signal:
    """A list of receivers. Who connects after it was sent is told at once. Not thread-safe; meant for start-up.

    Args:
        name: for people.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._receivers: list[Callable[..., Any]] = []
        self._sent: tuple[Any, dict[str, Any]] | None = None

    def connect(self, receiver: Callable[..., Any] | None = None, **_options: Any) -> Any:
        """Add a receiver, which is called with ``sender`` and keyword arguments; also a decorator.

        Args:
            receiver: held strongly.
            _options: Celery's ``weak``, ``sender`` and ``dispatch_uid``, which make no difference here.
        """
        if receiver is None:
            return self.connect
        self._receivers.append(receiver)
        if self._sent is not None:
            sender, more = self._sent
            receiver(sender=sender, **more)
        return receiver

    def send_once(self, sender: Any, **more: Any) -> None:
        """Tell everybody, unless that has been done."""
        if self._sent is None:
            self._sent = sender, more
            for receiver in self._receivers:
                receiver(sender=sender, **more)
