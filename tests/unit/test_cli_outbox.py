"""``amqtask outbox`` as a user types it: the table, what waits in it, and what can be done about that."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

import pytest

from amqtask.cli.main import main

PROGRAM = """
from amqtask import Amqtask

app = Amqtask("shop")


@app.task(name="small")
def small(text): ...
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    (tmp_path / "outbox_shop.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(*words, code=0):
        assert main(["outbox", *words, "-A", "outbox_shop"]) == code
        return capsys.readouterr()

    yield run
    sys.modules.pop("outbox_shop", None)


def test_rows_are_listed_tried_again_and_dropped(run, tmp_path, monkeypatch):
    assert "which database has the outbox?" in run("list", code=78).err
    monkeypatch.setenv("AMQTASK_OUTBOX_URL", f"db+sqlite:///{tmp_path}/shop.sqlite")
    sys.modules.pop("outbox_shop")
    assert "no such table: amqtask_outbox; 'amqtask outbox create' makes it" in run("list", code=75).err
    assert "Table amqtask_outbox is in db+sqlite:" in run("create").out
    assert run("list").out == "The outbox is empty\n"
    shop = sys.modules["outbox_shop"]
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database, database:
        first, second = (shop.app.outbox(database).delay(shop.small, text).id for text in "ab")
        database.execute(
            "update amqtask_outbox set error = 'QueueFull: no room', attempts = 7, due = 1e12 where id = 1"
        )
    rows = json.loads(run("list", "--json").out)
    assert [(row["row"], row["task"], row["id"], row["attempts"], row["error"]) for row in rows] == [
        (1, "small", first, 7, "QueueFull: no room"),
        (2, "small", second, 0, None),
    ]
    shown = run("list", "--limit", "1")
    assert "QueueFull: no room" in shown.out
    assert "1 of 2 shown" in shown.err
    assert run("retry").out == "1 row to be sent now\n"
    assert "not in the outbox: 7" in run("drop", "-f", "2", "7", code=65).err
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database:
        assert database.execute("select id, due from amqtask_outbox").fetchall() == [(1, 0)]


def test_a_url_that_will_not_do_is_told_at_once(run):
    assert "write db+ before" in run("relay", "--url", "postgresql://host/shop", code=78).err
