"""Makes the table ``amqtask_outbox``."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]
    """The first one."""

    initial = True
    dependencies: ClassVar[list[Any]] = []
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("app", models.CharField(max_length=255)),
                ("exchange", models.CharField(max_length=255)),
                ("routing_key", models.CharField(max_length=255)),
                ("properties", models.TextField()),
                ("body", models.BinaryField()),
                ("due", models.BigIntegerField(default=0)),
                ("attempts", models.IntegerField(default=0)),
                ("error", models.TextField(null=True)),
            ],
            options={
                "db_table": "amqtask_outbox",
                "indexes": [models.Index(fields=["app", "due", "id"], name="amqtask_outbox_due")],
            },
        ),
    ]
