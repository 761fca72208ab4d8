"""AsyncResult: waiting, asking, and what becomes of both when things go wrong."""

from __future__ import annotations

import asyncio
import copy
import pickle
import tracemalloc
import uuid

import pytest
from memory_backend import Store, in_thread
from waiting import wait_for

from amqtask.errors import (
    ChordError,
    RemoteError,
    ResultTimeout,
    TaskRevoked,
)
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult
from amqtask.results.joining import allow_join_result, denied_join_result
from amqtask.wire.ids import new_id


@pytest.fixture
def store() -> Store:
    return Store()


def later(*_args):
    raise AssertionError("nothing must be asked")


# ---- get


def test_get_returns_what_is_stored_already(store):
    result = store.handle()
    store.put(result.id, {"sum": 5})
    assert result.get(timeout=60) == {"sum": 5}


def test_get_waits_for_the_end_and_leaves_nothing_open(store):
    result = store.handle()
    end = in_thread(lambda: result.get(timeout=60))
    wait_for(lambda: store.backend.waiting == 1)
    store.put(result.id, None, "STARTED")
    store.put(result.id, 5)
    assert end() == 5
    assert store.backend.open_watches == 0


def test_what_has_ended_is_asked_for_once(store):
    result = store.handle()
    store.put(result.id, 5)
    assert result.get() == 5
    store.backend.forget([result.id])
    asked = (store.backend.fetches, store.backend.watches)
    assert (result.get(), result.state, result.ready(), result.result) == (5, "SUCCESS", True, 5)
    assert (store.backend.fetches, store.backend.watches) == asked


def test_get_gives_up_in_time_and_can_be_called_again(store):
    result = store.handle()
    with pytest.raises(ResultTimeout, match=rf"no result of task {result.id} within 0.05 s"):
        result.get(timeout=0.05)
    with pytest.raises(TimeoutError):
        result.get(timeout=0)
    assert store.backend.open_watches == 0
    store.put(result.id, 5)
    assert result.get(timeout=0) == 5


def test_get_raises_what_the_task_raised_with_its_traceback(store):
    result = store.handle()
    store.put(result.id, ValueError("boom", 3), "FAILURE", traceback="File shop.py")
    with pytest.raises(ValueError, match="boom") as caught:
        result.get(timeout=60)
    assert caught.value.args == ("boom", 3)
    assert "File shop.py" in caught.value.__notes__[0]
    assert isinstance(result.get(propagate=False), ValueError)
    assert isinstance(result.result, ValueError)
    assert (result.state, result.failed(), result.successful(), result.ready()) == ("FAILURE", True, False, True)
    assert result.traceback == "File shop.py"


@pytest.mark.parametrize(
    ("state", "stored", "kind"),
    [
        ("REVOKED", TaskRevoked("expired"), TaskRevoked),
        ("REVOKED", None, TaskRevoked),
        ("FAILURE", ChordError("no"), ChordError),
        ("FAILURE", "boom", RemoteError),
        ("DEAD", {"exc_type": "Odd", "exc_message": [], "exc_module": "elsewhere"}, RemoteError),
    ],
)
def test_every_bad_end_is_raised(store, state, stored, kind):
    result = store.handle()
    store.put(result.id, stored, state)
    with pytest.raises(kind):
        result.get(timeout=60)
    assert result.ready()


def test_a_retry_does_not_end_the_wait(store):
    result = store.handle()
    store.put(result.id, OSError("again"), "RETRY")
    with pytest.raises(ResultTimeout):
        result.get(timeout=0)
    assert isinstance(result.info, OSError)
    assert not result.ready()


def test_progress_is_told_to_who_listens(store):
    result, told = store.handle(), []
    end = in_thread(lambda: result.get(timeout=60, on_message=told.append))
    for done in range(3):
        store.put(result.id, {"done": done}, "PROGRESS")
        wait_for(lambda done=done: len(told) == done + 1)
    assert (result.state, result.info) == ("PROGRESS", {"done": 2})
    store.put(result.id, "end")
    assert end() == "end"
    assert [item["status"] for item in told] == ["PROGRESS", "PROGRESS", "PROGRESS", "SUCCESS"]


def test_celerys_arguments_are_taken(store):
    result, told = store.handle(), []
    store.put(result.id, 5)
    assert result.get(1, True, 0.1, callback=lambda *args: told.append(args), no_ack=False, on_interval=later) == 5
    assert told == [(result.id, 5)]
    assert result.wait(timeout=1) == 5


def test_several_threads_may_wait_for_one_task(store):
    result = store.handle()
    ends = [in_thread(lambda: AsyncResult(result.id, results=store.results).get(timeout=60)) for _ in range(5)]
    ends += [in_thread(lambda: result.get(timeout=60)) for _ in range(5)]
    wait_for(lambda: store.backend.waiting == 10)
    store.put(result.id, 5)
    assert [end() for end in ends] == [5] * 10


# ---- inside a task


def test_waiting_inside_a_task_is_refused_unless_it_is_allowed(store):
    result = store.handle()
    group = GroupResult("g", [result], access=store.results)
    store.put(result.id, 5)
    with denied_join_result():
        for wait in (result.get, group.get, lambda: list(group.iterate()), lambda: asyncio.run(result.aget())):
            with pytest.raises(RuntimeError, match="never wait for a result inside a task"):
                wait()
        assert result.get(disable_sync_subtasks=False) == 5
        assert result.get() == 5  # known: there is nothing to wait for
        with allow_join_result():
            assert store.handle(result.id).get() == 5
        with pytest.raises(RuntimeError):
            store.handle(result.id).get()


# ---- facts


def test_what_is_stored_can_be_read_fact_by_fact(store):
    result = AsyncResult(new_id(), results=store.results)
    store.put(
        result.id, 5, name="shop.add", worker="w1@host", queue="q", retries=2, runtime=0.5, args=[1], kwargs={"a": 1},
        date_done="2026-11-21T10:00:00+00:00", children=[[["a", None], None], [["g", None], [[["b", None], None]]]],
    )  # fmt: skip
    assert (result.name, result.worker, result.queue, result.retries) == ("shop.add", "w1@host", "q", 2)
    assert (result.runtime, result.args, result.kwargs) == (0.5, [1], {"a": 1})
    assert result.date_done is not None
    assert result.date_done.isoformat() == "2026-11-21T10:00:00+00:00"
    assert result.children == [AsyncResult("a"), GroupResult("g", [AsyncResult("b")])]
    assert (result.status, result.task_id, result.exists()) == ("SUCCESS", result.id, True)


def test_forget_removes_the_result_and_those_before_it(store):
    first = store.handle()
    result = store.handle(parent=first)
    store.put(first.id, 1)
    store.put(result.id, 2)
    assert result.get() == 2
    result.forget()
    assert store.backend.documents == {}
    assert result.state == "PENDING"


@pytest.mark.parametrize("wrong", [None, "", 17, uuid.UUID(int=1)])
def test_an_id_that_is_none_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match="the id of a task is a text"):
        AsyncResult(wrong)


def test_equal_by_id_small_and_picklable(store):
    result = store.handle("a", parent=store.handle("p"))
    again = pickle.loads(pickle.dumps(result))
    assert (again, again.name, again.parent) == (result, "shop.add", AsyncResult("p"))
    assert copy.copy(result) == result == "a"
    assert len({result, AsyncResult("a"), AsyncResult("b")}) == 2
    assert (str(result), repr(AsyncResult("a"))) == ("a", "<AsyncResult: a>")
    assert not hasattr(result, "__dict__")


def test_a_handle_costs_little():
    ids = [str(number) for number in range(10_000)]
    tracemalloc.start()
    kept = [AsyncResult(task_id, "t") for task_id in ids]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(kept) < 160


# ---- callbacks


def test_then_is_called_once_when_the_end_becomes_known(store):
    result, told = store.handle(), []
    assert result.then(lambda ended: told.append(ended.get())) is result
    store.put(result.id, 5)
    assert told == []
    assert result.ready()
    assert (result.get(), told) == (5, [5])
    result.then(told.append)
    assert told == [5, result]


def test_what_a_callback_raises_goes_to_on_error_or_to_who_asks(store):
    result, told = store.handle(), []
    store.put(result.id, 5)
    result.then(lambda _: 1 / 0, told.append)
    result.get()
    assert isinstance(told[0], ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        result.then(lambda _: 1 / 0)


# ---- coroutines


def test_await_gives_the_result_without_blocking_the_loop(store):
    async def run() -> int:
        result = store.handle()
        waiting = asyncio.ensure_future(result.aget(timeout=60))
        await store.backend.waited_on()  # runs on the same loop
        store.put(result.id, 5)
        return await waiting

    assert asyncio.run(run()) == 5
    assert store.backend.open_watches == 0


def test_await_raises_and_gives_up_like_get(store):
    async def run() -> None:
        failed, pending = store.handle(), store.handle()
        store.put(failed.id, ValueError("boom"), "FAILURE")
        with pytest.raises(ValueError, match="boom"):
            await failed
        with pytest.raises(ResultTimeout):
            await pending.aget(timeout=0.01)
        assert isinstance(await failed.aget(propagate=False), ValueError)

    asyncio.run(run())
    assert store.backend.open_watches == 0


def test_a_cancelled_wait_leaves_nothing_open(store):
    async def run() -> None:
        waiting = asyncio.ensure_future(store.handle().aget())
        await store.backend.waited_on()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())
    assert store.backend.open_watches == 0
