"""The results of an app: its backend, opened when first needed, and how its documents are read. Owns both."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from amqtask.errors import ConfigError, DecodeError, NoResultBackend
from amqtask.results.group import result_from_tuple
from amqtask.results.meta import Meta, load, load_value
from amqtask.wire.accept import checked_results
from amqtask.wire.serializers.json import SERIALIZER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Backend
    from amqtask.results.node import ResultBase


class Revoking(Protocol):
    """What is asked of remote control."""

    def revoke(self, task_id: Sequence[str], **options: Any) -> object: ...  # noqa: D102


class ResultAccess:
    """What handles need of an app, see :class:`amqtask.results.source.Results`. Thread-safe.

    Args:
        settings: of the app.
        open_backend: makes the backend; called once, when it is first asked for.
        control: remote control of workers; None: there is none.
    """

    def __init__(
        self,
        settings: Settings,
        open_backend: Callable[[str, Settings], Backend],
        control: Callable[[], Revoking] | None = None,
    ) -> None:
        self._settings, self._open, self._control = settings, open_backend, control
        self._backend: Backend | None = None
        self._lock = threading.Lock()
        self.expires = settings.result_expires
        self.tracks_sent = settings.result_track_sent

    @property
    def backend(self) -> Backend:
        """Where results are.

        Raises:
            NoResultBackend: the app has none.
            ConfigError: its URL can't be used.
        """
        if self._backend is None:
            with self._lock:
                if self._backend is None:
                    self._backend = self._opened()
        return self._backend

    @property
    def opened(self) -> Backend | None:
        """The backend if anything has asked for it."""
        return self._backend

    @cached_property
    def _accept(self) -> tuple[str, ...]:
        return checked_results(self._settings)

    def loads(self, document: bytes) -> Meta:
        """Read a task's document. Raises DecodeError, ContentRefused; ConfigError for pickle without consent."""
        return load(document, self._accept)

    def revoke(self, ids: Sequence[str], **options: Any) -> None:
        """Have tasks not run; see :meth:`amqtask.control.client.Control.revoke`."""
        if self._control is None:
            raise ConfigError("this app has no remote control: nothing can be revoked")
        self._control().revoke(ids, **options)

    def dump_group(self, group: ResultBase) -> bytes:
        """Write what a group consists of, as Celery does."""
        return SERIALIZER.dumps({"result": group.as_tuple()})

    def load_group(self, document: bytes) -> ResultBase:
        """Read what :meth:`dump_group`, or Celery, has written. Raises DecodeError, ContentRefused."""
        value = load_value(document, self._accept)
        if not isinstance(value, dict) or "result" not in value:
            raise DecodeError("what is stored is not a group")
        return self.from_tuple(value["result"])

    def from_tuple(self, value: Any) -> ResultBase:
        """The handle that a result tuple describes. Raises DecodeError."""
        return result_from_tuple(value, results=self)

    def close(self) -> None:
        """Close the backend's connections, if it was opened."""
        if self._backend is not None:
            self._backend.close()

    def _opened(self) -> Backend:
        url = self._settings.result_backend
        if not url:
            raise NoResultBackend(
                "this app keeps no results: give it a result backend, for example "
                'Amqtask(..., backend="rpc://") or the setting result_backend'
            )
        return self._open(url, self._settings)
