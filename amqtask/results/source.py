"""What handles need of an app: where documents are and how they are read. Owns the protocol.

The app's side of it is :class:`amqtask.results.access.ResultAccess`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.results.base import Backend
    from amqtask.results.meta import Meta
    from amqtask.results.node import ResultBase


class Results(Protocol):
    """The results of an app. Thread-safe."""

    @property
    def backend(self) -> Backend:
        """Where results are; opened when first asked for. Raises NoResultBackend when there is none."""

    @property
    def expires(self) -> float:
        """``result_expires``: seconds; 0: for ever."""

    @property
    def tracks_sent(self) -> bool:
        """``result_track_sent``."""

    def loads(self, document: bytes) -> Meta:
        """Read a document. Raises DecodeError, ContentRefused."""

    def load_group(self, document: bytes) -> ResultBase:
        """Read what :meth:`dump_group` has written. Raises DecodeError, ContentRefused."""

    def dump_group(self, group: ResultBase) -> bytes:
        """Write what a group consists of."""

    def revoke(self, ids: Sequence[str], **options: Any) -> None:
        """Have tasks not run; options as of :meth:`amqtask.control.client.Control.revoke`."""

    def from_tuple(self, value: Any) -> ResultBase:
        """The handle that a result tuple describes."""


class ResultsOwner(Protocol):
    """An app, as far as handles know it."""

    @property
    def results(self) -> Results:
        """Its results."""


def revoke(
    results: Results, ids: Sequence[str], terminate: bool, signal: str | None, wait: bool, timeout: float | None
) -> None:
    """Have tasks not run; what ``revoke()`` of the handles does."""
    named = {} if signal is None else {"signal": signal}
    results.revoke(ids, terminate=terminate, reply=wait, timeout=timeout, **named)
