"""EagerResult has all that AsyncResult has, and asks no backend."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from amqtask.errors import NoResultBackend, TaskRevoked
from amqtask.results import current
from amqtask.results.eager import EagerResult
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult
from amqtask.results.joining import denied_join_result


@pytest.fixture(autouse=True)
def no_app(monkeypatch):
    monkeypatch.setattr(current, "_find", lambda: None)


def public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def test_every_fact_can_be_asked_without_a_backend():
    result = EagerResult("e", "shop.add", "SUCCESS", 5, retries=2, runtime=0.5)
    facts = {name: getattr(result, name) for name in public(AsyncResult)}
    assert (facts["state"], facts["status"], facts["result"], facts["info"]) == ("SUCCESS", "SUCCESS", 5, 5)
    assert (facts["name"], facts["retries"], facts["runtime"], facts["children"]) == ("shop.add", 2, 0.5, [])
    assert facts["date_done"] is not None
    for name in ("ready", "successful", "exists"):
        assert facts[name]() is True
    assert facts["failed"]() is False
    assert facts["forget"]() is None
    assert list(result.collect()) == [(result, 5)]
    assert list(result.iterdeps()) == [(None, result)]
    with pytest.raises(NoResultBackend):
        AsyncResult("e").ready()


def test_get_takes_every_argument_of_the_others():
    told = []
    result = EagerResult("e", "t", "SUCCESS", 5)
    assert result.get(1, True, 0.5, callback=lambda *args: told.append(args), disable_sync_subtasks=True) == 5
    assert told == [("e", 5)]
    assert result.wait(timeout=1) == asyncio.run(result.aget(timeout=1, propagate=True)) == 5
    with denied_join_result():
        assert result.get() == 5


async def _awaited(result):
    return await result


def test_it_can_be_awaited():
    assert asyncio.run(_awaited(EagerResult("e", "t", "SUCCESS", 5))) == 5
    with pytest.raises(ValueError, match="boom"):
        asyncio.run(_awaited(EagerResult("e", "t", "FAILURE", error=ValueError("boom"))))


def test_then_is_called_at_once():
    told = []
    result = EagerResult("e", "t", "FAILURE", error=ValueError("boom"))
    result.then(told.append)
    assert told == [result]


def test_it_can_be_pickled():
    result = EagerResult("e", "t", "FAILURE", error=ValueError("boom"), traceback="trace", retries=1)
    again = pickle.loads(pickle.dumps(result))
    assert isinstance(again, EagerResult)
    assert (again.id, again.name, again.state, again.traceback, again.retries) == ("e", "t", "FAILURE", "trace", 1)
    assert str(again.result) == "boom"


def test_one_that_is_revoked_says_so_and_asks_nobody():
    results = [EagerResult("e", "t", "SUCCESS", 5), EagerResult("f", "t", "FAILURE", error=ValueError("boom"))]
    GroupResult("g", results).revoke(terminate=True)
    for result in results:
        assert (result.state, result.ready(), result.successful(), result.traceback) == ("REVOKED", True, False, None)
        assert isinstance(result.result, TaskRevoked)
        with pytest.raises(TaskRevoked):
            result.get()
        assert pickle.loads(pickle.dumps(result)).state == "REVOKED"
