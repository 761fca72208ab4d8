"""What an app offers to those who watch its workers: connections and events. Owns these names, which are Celery's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.app.core import AppCore

if TYPE_CHECKING:
    from amqtask.broker.driven import DrivenConnection
    from amqtask.events.access import Events


class Watchable(AppCore):
    """``app.connection`` and ``app.events``."""

    def connection(self) -> DrivenConnection:
        """A connection of one's own, for receivers of events; a context manager, connected when it is needed.

        amqtask itself never uses it: tasks are sent on connections that it keeps.
        """
        from amqtask.broker.driven import DrivenConnection  # noqa: PLC0415 -- loads pika

        return DrivenConnection(self.broker_urls, self.connection_options, self.settings.broker_failover_strategy)

    connection_for_read = connection_for_write = connection

    @property
    def events(self) -> Events:
        """Receivers of events, and the state of a cluster as they tell it."""
        from amqtask.events.access import Events  # noqa: PLC0415 -- for monitors

        return Events(lambda: self.settings, self.connection)
