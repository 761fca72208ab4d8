"""What an app offers to those who send as part of a database transaction: the outbox. Owns these names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.app.composing import ComposesWork
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from amqtask.app.outbox import Outbox
    from amqtask.outbox.store import Store


class Transactional(ComposesWork):
    """``app.outbox`` and ``app.outbox_store``."""

    def outbox(self, connection: object) -> Outbox:
        """Send by the transaction of a database connection: ``app.outbox(session).delay(task, ...)``.

        Args:
            connection: a ``Session``, ``Connection`` or ``scoped_session`` of SQLAlchemy, one of its asynchronous ones,
                or a ``sqlite3.Connection``. Used as it is; nothing is committed.

        Raises:
            TypeError: it is something else.
        """
        from amqtask.app.outbox import Outbox  # noqa: PLC0415 -- for those who use it
        from amqtask.outbox.writers import writer_for  # noqa: PLC0415 -- as above

        return Outbox(self, writer_for(connection))

    def outbox_store(self) -> Store:
        """The table that the setting ``outbox_url`` names, for the relay and for those who look after it; to be closed.

        Raises:
            ConfigError: there is no such setting, or it can't be used.
        """
        url = self.settings.outbox_url
        if url is None:
            raise ConfigError("which database has the outbox? Set outbox_url (--url), for example db+postgresql://...")
        from amqtask.outbox.table import SqlStore  # noqa: PLC0415 -- loads SQLAlchemy

        return SqlStore(url, self.main)
