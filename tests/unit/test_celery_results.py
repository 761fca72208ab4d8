"""Celery's ways to come by the handle of a result: with ``app=``, from what was saved, from a tuple."""

from __future__ import annotations

import json

import pytest
from memory_backend import Store

from amqtask import Amqtask
from amqtask.contrib.celery.result import AsyncResult, GroupResult, ResultSet, result_from_tuple
from amqtask.errors import DecodeError


class App:
    """As far as handles know one; there is no other."""

    def __init__(self) -> None:
        self.store = Store()
        self.results = self.store.results


@pytest.fixture
def app():
    return App()


def test_handles_are_of_the_app_they_are_made_with(app):
    app.store.put("one", 1)
    found = AsyncResult("one", app=app)
    assert (found.get(timeout=0), found.id) == (1, "one")
    unasked = AsyncResult("one")
    assert ResultSet([unasked], app=app).successful()
    assert GroupResult("group", [AsyncResult("one")], app=app).completed_count() == 1


def test_members_can_be_given_under_celerys_name(app):
    for number, name in enumerate(("one", "two")):
        app.store.put(name, number)
    members = [AsyncResult("one", app=app), AsyncResult("two", app=app)]
    assert GroupResult("group", results=members).get(timeout=0) == [0, 1]
    assert ResultSet(results=members).get(timeout=0) == [0, 1]
    assert GroupResult("group", members, members[0]).parent is members[0]


def test_apps_make_handles_with_celerys_arguments():
    app = Amqtask("calc")
    one = app.AsyncResult(id="one", parent=app.AsyncResult("before"))
    group = app.GroupResult("group", results=[one], parent=one)
    assert (one.id, one.parent, group.results, group.parent) == ("one", "before", [one], one)
    assert not app.GroupResult()


def test_a_saved_group_is_restored_with_its_app(app):
    app.store.put("one", 1)
    GroupResult("saved", [AsyncResult("one", app=app)], app=app).save()
    restored = GroupResult.restore("saved", app=app)
    assert restored.get(timeout=0) == [1]
    assert GroupResult.restore("another", app=app) is None


def test_a_handle_comes_back_from_its_tuple(app):
    app.store.put("one", 1)
    parent = AsyncResult("before", app=app)
    group = GroupResult("group", [AsyncResult("one", app=app)], app=app, parent=parent)
    found = result_from_tuple(json.loads(json.dumps(group.as_tuple())), app)
    assert (found.id, found.parent) == ("group", parent)
    assert found.get(timeout=0) == [1]
    assert result_from_tuple(group, app) is group
    for wrong in ("x", [["", None], None], 1):
        with pytest.raises(DecodeError):
            result_from_tuple(wrong, app)
