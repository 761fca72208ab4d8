"""What the scheduler's protocol asks of the process that it runs in. Owns that contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from amqtask.schedules.entry import Entry
    from amqtask.wire.message import Outgoing


class NotYet(Exception):
    """An occurrence can't be sent now; :meth:`~amqtask.beat.leader.Leader.rewind` follows when it can."""


class BeatEffects(Protocol):
    """What the leader has done for it."""

    def publish(self, message: Outgoing) -> None:
        """Publish on the channel that consumes the log; its fate need not be told."""

    def acknowledge(self, tag: int) -> None:
        """Acknowledge every delivery up to this tag."""

    def send(self, entry: Entry, due: datetime, *, report: bool, asked: str | None) -> str:
        """Publish an occurrence with a copy for the log; returns its task id.

        Raises:
            NotYet: its queue is being declared.
            AmqtaskError, TypeError: it can't be sent, now or ever.
        """

    def cancel(self, task_id: str) -> None:
        """Revoke a run that has not ended."""

    def answer(self, reply_to: str, data: Mapping[str, object]) -> None:
        """Answer a question about the schedule."""

    def leading(self) -> None:
        """This process leads from now on."""

    def written(self, data: Mapping[str, object]) -> None:
        """This snapshot was written."""
