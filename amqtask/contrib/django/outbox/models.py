"""The table of the outbox as Django's model. Owns the columns, which are those of :mod:`amqtask.outbox.table`."""

from __future__ import annotations

from django.db import models


class Message(models.Model):  # type: ignore[misc]
    """A message that is committed, and not sent yet."""

    app = models.CharField(max_length=255)
    exchange = models.CharField(max_length=255)
    routing_key = models.CharField(max_length=255)
    properties = models.TextField()
    body = models.BinaryField()
    due = models.BigIntegerField(default=0)
    attempts = models.IntegerField(default=0)
    error = models.TextField(null=True)  # noqa: DJ001 -- as the table of SQLAlchemy has it

    class Meta:
        """Its table, whoever has made it."""

        db_table = "amqtask_outbox"
        indexes = [models.Index(fields=["app", "due", "id"], name="amqtask_outbox_due")]  # noqa: RUF012 -- Django's

    def __str__(self) -> str:
        return f"row {self.pk} of the outbox"
