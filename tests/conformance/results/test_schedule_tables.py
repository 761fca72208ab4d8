"""The table of periodic tasks on every database that results are tested with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from amqtask import BackendError
from amqtask.schedules.rows import row_of
from amqtask.schedules.table import ScheduleTable, _rows
from amqtask.sql import sa
from amqtask.wire.ids import new_id

pytestmark = pytest.mark.parametrize("place", ["mariadb", "postgresql", "sqlite"], indirect=True)

SPEC = {"task": "tick", "schedule": [{"every": 0.5}], "args": ["ü", None], "catchup": "all", "enabled": False}


@pytest.fixture
def app():
    return f"app-{new_id()}"


@pytest.fixture
def table(place, app):
    with closing(ScheduleTable(place.url, app)) as made:
        yield made


def test_rows_are_put_changed_read_and_deleted(table, place):
    table.put("one", row_of(SPEC))
    table.put("one", {**row_of(SPEC), "catchup": None})  # replaces what it does not say, too
    assert table.change("One", {"enabled": True}, insert=True)  # capitals make another name
    assert not table.change("none", {"enabled": True}, insert=False)
    rows = {name: {key: one for key, one in row.items() if one is not None} for name, row in table.read().items()}
    one = {"task": "tick", "schedule": "500ms", "args": '["\\u00fc", null]', "enabled": 0}
    assert rows == {"one": one, "One": {"enabled": 1}}
    with closing(ScheduleTable(place.url, "another")) as other:
        assert other.read() == {}
        assert not other.delete("one")
    assert table.delete("one")
    assert not table.delete("one")
    assert list(table.read()) == ["One"]


def test_a_table_of_an_older_version_lacks_only_its_columns(table, app):
    table.read()
    with table._engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE amqtask_schedules"))
        connection.execute(
            sa.text("CREATE TABLE amqtask_schedules (app VARCHAR(99), name VARCHAR(99), task TEXT, schedule TEXT)")
        )
    table.put("one", {"task": "tick", "schedule": "1h", "args": None})
    assert table.read() == {"one": {"task": "tick", "schedule": "1h"}}
    with pytest.raises(BackendError, match="overlap_timeout"):
        table.put("one", {"task": "tick", "overlap_timeout": "1h"})
    _rows.drop(table._engine)


def test_many_who_write_one_row_at_once_make_one_row(place, app, table):
    def write(number):
        with closing(ScheduleTable(place.url, app)) as mine:
            mine.change("one", {"args": f"[{number}]"}, insert=True)

    table.read()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    assert list(table.read()) == ["one"]


def test_what_somebody_has_written_is_read_as_it_is(table, app):
    table.put("one", {"task": "tick"})
    with table._engine.begin() as connection:
        connection.execute(sa.update(_rows).where(_rows.c.app == app).values(schedule="{", args="", options="[}"))
    assert [(row["schedule"], row["args"], row["options"]) for row in table.read().values()] == [("{", "", "[}")]


def test_a_table_that_is_not_there_or_can_not_be_reached_is_an_error(place, table):
    table.read()
    _rows.drop(table._engine)
    with pytest.raises(BackendError, match="can't read table amqtask_schedules"):
        table.read()
    with closing(ScheduleTable(place.url, "new")) as again:
        with pytest.raises(BackendError):
            again.read(make=False)
        assert again.read() == {}
    for url, why in place.wrong.items():
        with closing(ScheduleTable(url, "x")) as wrong, pytest.raises(BackendError, match=why) as told:
            wrong.read()
        assert "sesame" not in str(told.value)
