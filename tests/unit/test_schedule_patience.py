"""Changes of a table of periodic tasks: how long they wait for a database that does not answer."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from amqtask import Amqtask, BackendError
from amqtask.app import schedules


def test_no_call_waits_longer_than_half_a_minute_whatever_the_driver_does(tmp_path, monkeypatch):
    monkeypatch.setattr(schedules, "_PATIENCE", 0.2)
    file = tmp_path / "schedules.sqlite"
    app = Amqtask("shop", broker="amqp://localhost/", beat_schedule_store=f"db+sqlite:///{file}")
    with pytest.MonkeyPatch.context() as patient:
        patient.setattr(schedules, "_PATIENCE", 30)
        app.schedules.add("one", "tick", "@daily")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")  # the driver waits a minute for it
        for call in (lambda: app.schedules.add("two", "tick", "@daily"), lambda: app.schedules.pause("one")):
            with pytest.raises(BackendError, match=r"no answer, and it may still be done later \(0.2 s\)"):
                call()
        other.execute("ROLLBACK")
