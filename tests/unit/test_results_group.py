"""Groups of results: one watch for all, in the order of the group or of the ends."""

from __future__ import annotations

import asyncio
import json
import pickle

import pytest
from calls import calls_of
from memory_backend import Store, in_thread
from waiting import wait_for

from amqtask.errors import DecodeError, ResultGone, ResultTimeout, SerializationError
from amqtask.results.eager import EagerResult
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult, ResultSet, result_from_tuple
from amqtask.wire.ids import new_id


@pytest.fixture
def store() -> Store:
    return Store()


def group_of(store: Store, count: int, **options) -> GroupResult:
    return GroupResult(new_id(), [store.handle() for _ in range(count)], access=store.results, **options)


def put_all(store: Store, group: GroupResult, order: list[int] | None = None) -> None:
    for number in order if order is not None else range(len(group)):
        store.put(group[number].id, number)


def test_get_returns_the_results_in_the_order_of_the_group(store):
    group = group_of(store, 3)
    put_all(store, group, [2, 0, 1])
    assert group.get(timeout=60) == group.join() == group.join_native() == [0, 1, 2]


def test_a_thousand_members_need_one_watch_and_no_fetch(store):
    group = group_of(store, 1000)
    end = in_thread(lambda: group.get(timeout=30))
    wait_for(lambda: store.backend.waiting == 1)
    put_all(store, group)
    assert end() == list(range(1000))
    assert (store.backend.watches, store.backend.fetches, store.backend.open_watches) == (1, 0, 0)


def test_an_empty_group_asks_nobody():
    group: GroupResult = GroupResult("g", [])
    assert (group.get(), group.ready(), group.successful(), group.failed(), len(group)) == ([], True, True, False, 0)
    assert list(group.iterate()) == []
    assert asyncio.run(group.aget()) == []
    told = []
    group.then(told.append)
    assert told == [group]


def test_the_first_failure_is_raised_at_once(store):
    group = group_of(store, 3)
    store.put(group[1].id, ValueError("boom"), "FAILURE")
    with pytest.raises(ValueError, match="boom"):
        group.get(timeout=60)
    assert store.backend.open_watches == 0
    put_all(store, group, [0, 2])
    first, second, third = group.get(timeout=60, propagate=False)
    assert (first, str(second), third) == (0, "boom", 2)


def test_the_time_is_for_all_members_together(store):
    group = group_of(store, 3)
    put_all(store, group, [0, 1])
    with pytest.raises(ResultTimeout, match=group[2].id):
        group.get(timeout=0.05)
    with pytest.raises(ResultTimeout, match="2 tasks, such as"):
        GroupResult("g", [store.handle(), store.handle()], access=store.results).get(timeout=0)


def test_results_are_iterated_in_the_order_of_the_ends(store):
    group = group_of(store, 4)
    end = in_thread(lambda: list(group.iterate(timeout=60)))
    for number in (3, 0, 2, 1):
        wait_for(lambda: store.backend.waiting == 1)
        store.put(group[number].id, number)
    assert end() == [3, 0, 2, 1]


def test_iteration_by_handle_and_by_document_raises_nothing(store):
    group = group_of(store, 2)
    store.put(group[0].id, ValueError("boom"), "FAILURE")
    store.put(group[1].id, 5)
    assert {task_id: meta["status"] for task_id, meta in group.iter_native()} == {
        group[0].id: "FAILURE", group[1].id: "SUCCESS",
    }  # fmt: skip
    assert {leaf.id for leaf in group.as_completed()} == {group[0].id, group[1].id}
    assert sorted(map(str, group.iterate(propagate=False))) == ["5", "boom"]
    with pytest.raises(ValueError, match="boom"):
        list(group.iterate())


def test_leaving_an_iteration_leaves_nothing_open(store):
    group = group_of(store, 3)
    put_all(store, group, [0])
    for _ in group.iterate():
        break
    assert store.backend.open_watches == 0


def test_nested_groups_are_waited_for_together_and_give_nested_lists(store):
    inner = group_of(store, 2)
    outer = GroupResult("outer", [store.handle(), inner], access=store.results)
    store.put(outer[0].id, "first")
    put_all(store, inner)
    assert outer.get(timeout=60) == ["first", [0, 1]]
    assert store.backend.watches == 1
    assert [leaf.id for leaf in outer.leaves()] == [outer[0].id, inner[0].id, inner[1].id]


def test_a_member_may_be_there_twice(store):
    member = store.handle()
    again = store.handle(member.id)
    store.put(member.id, 5)
    assert GroupResult("g", [member, again, member], access=store.results).get(timeout=60) == [5, 5, 5]


def test_eager_results_may_be_members(store):
    member = store.handle()
    store.put(member.id, 5)
    group = GroupResult("g", [EagerResult("e", "t", "SUCCESS", 3), member], access=store.results)
    assert group.get(timeout=60) == [3, 5]
    assert group.completed_count() == 2


def test_callback_and_messages(store):
    group, told, seen = group_of(store, 2), [], []
    put_all(store, group, [1, 0])
    assert group.get(timeout=60, callback=lambda *args: told.append(args), on_message=seen.append) == []
    assert sorted(told) == sorted((member.id, number) for number, member in enumerate(group))
    assert len(seen) == 2


def test_what_is_known_of_all_is_asked_in_one_fetch(store):
    group = group_of(store, 300)
    put_all(store, group, list(range(299)))
    store.put(group[299].id, ValueError(), "FAILURE")
    store.backend.fetches = 0
    assert (group.completed_count(), store.backend.fetches) == (299, 1)
    assert (group.ready(), group.waiting(), group.successful(), group.failed()) == (True, False, False, True)
    with pytest.raises(ValueError):
        group.maybe_throw()
    assert store.backend.fetches == 1


def test_what_is_known_of_a_group_that_runs_is_asked_in_one_fetch_too(store):
    group = group_of(store, 300)
    put_all(store, group, list(range(100)))
    store.put(group[100].id, {"done": 1}, "PROGRESS")
    questions = [
        (group.completed_count, 100), (group.successful, False), (group.failed, False), (group.ready, False),
        (group.waiting, True), (group.maybe_throw, None),
    ]  # fmt: skip
    for question, answer in questions:
        store.backend.fetches = 0
        assert (question(), store.backend.fetches) == (answer, 1)
    told = {}
    group.maybe_throw(callback=told.__setitem__)
    assert [told[member.id] for member in group[98:102]] == [98, 99, {"done": 1}, None]


def test_a_member_whose_result_has_expired_counts_as_ended_and_is_not_taken_for_good(store):
    group = GroupResult("g", [store.handle("01000000-0000-7000-8000-000000000000")], access=store.results)
    assert (group.ready(), group.successful(), group.failed()) == (True, False, False)
    with pytest.raises(ResultGone):
        group.maybe_throw()
    store.put(group[0].id, 5)
    assert group.completed_count() == 1


def test_a_group_that_has_not_ended(store):
    group = group_of(store, 2)
    put_all(store, group, [0])
    assert (group.ready(), group.waiting(), group.successful(), group.failed()) == (False, True, False, False)
    assert group.completed_count() == 1


def test_then_waits_for_every_member(store):
    group, told = group_of(store, 2), []
    group.then(told.append)
    put_all(store, group, [0])
    assert not group.ready()
    assert told == []
    put_all(store, group, [1])
    assert group.get(timeout=60) == [0, 1]
    assert told == [group]


def test_then_is_called_once_for_a_member_that_is_there_twice_and_at_once_without_members(store):
    member, told = store.handle("m"), []
    group = GroupResult("g", [member, store.handle(), member], access=store.results)
    group.then(told.append)
    store.put("m", 0)
    assert not group.ready()
    assert told == []
    store.put(group[1].id, 1)
    assert group.get(timeout=60) == [0, 1, 0]
    assert told == [group]
    outer = GroupResult("outer", [GroupResult("inner", [])], access=store.results)
    outer.then(told.append)
    assert told == [group, outer]


def test_then_takes_a_member_as_long_however_many_there_are(store):
    calls = []
    for members in (50, 400):
        group, told = group_of(store, members), []
        group.then(told.append)
        put_all(store, group)
        calls.append(calls_of(group.ready))
        assert told == [group]
    assert calls[1] < 10 * calls[0], "of eight times the members"


def test_a_set_can_be_changed(store):
    first, second, third = store.handle(), store.handle(), store.handle()
    results = ResultSet([first])
    results.add(second)
    results.add(second)
    results.update([first, third])
    assert results.as_list() == [first.id, second.id, third.id]
    results.remove(second.id)
    results.discard(second)
    results.discard(third)
    with pytest.raises(KeyError):
        results.remove(second)
    assert list(results) == [first]
    store.put(first.id, 1)
    assert results.get(timeout=60) == [1]
    results.clear()
    assert len(results) == 0


def test_forget_removes_all_results(store):
    group = group_of(store, 2)
    put_all(store, group)
    assert group.get(timeout=60) == [0, 1]
    group.forget()
    assert store.backend.documents == {}
    assert group.waiting()
    eager = GroupResult("e", [EagerResult("e", "t", "SUCCESS", 3)])
    eager.forget()
    assert eager.get() == [3]


# ---- saved groups and tuples


def test_a_saved_group_is_restored_by_its_id(store):
    inner = group_of(store, 1)
    group = GroupResult("g", [store.handle(), inner], access=store.results, parent=store.handle())
    assert group.save() is group
    again = GroupResult.restore("g", access=store.results)
    assert again == group
    assert again.parent == group.parent
    store.put(again[0].id, 1)
    put_all(store, inner)
    assert again.get(timeout=60) == [1, [0]]
    again.delete()
    assert GroupResult.restore("g", access=store.results) is None


def test_celery_and_amqtask_restore_each_others_groups(store):
    from celery import Celery
    from celery.result import GroupResult as CeleryGroup
    from celery.result import result_from_tuple as celery_from_tuple

    app = Celery("x", set_as_current=False, backend="cache+memory://")
    group = GroupResult("g", [store.handle("a"), store.handle("b")], access=store.results)
    group.save()
    theirs = celery_from_tuple(json.loads(store.backend.groups["g"])["result"], app)
    assert isinstance(theirs, CeleryGroup)
    assert (theirs.id, [member.id for member in theirs]) == ("g", ["a", "b"])
    app.backend.save_group("g", theirs)
    stored = app.backend.encode({"result": theirs.as_tuple()})
    assert store.results.load_group(stored.encode()) == group


@pytest.mark.parametrize(
    "value",
    [5, [], [[]], [["a", None]], [[5, None], None], [["a", None], 5], [["a", 5], None], [["g", None], [5]], "ab"],
)
def test_what_is_no_result_tuple_is_an_error(value):
    with pytest.raises(DecodeError):
        result_from_tuple(value)


def test_a_stored_group_that_is_none_is_an_error(store):
    for document in (b"{}", b'{"result": [["a", null], null]}', b"junk"):
        store.backend.groups["g"] = document
        with pytest.raises(SerializationError, match=r"group|written"):
            GroupResult.restore("g", access=store.results)


def test_a_chain_of_ten_thousand_becomes_a_tuple_and_a_result_again():
    result: AsyncResult = AsyncResult("0")
    for number in range(1, 10_000):
        result = AsyncResult(str(number), parent=result)
    assert len(result.as_list()) == 10_000
    again = result_from_tuple(result.as_tuple())
    assert isinstance(again, AsyncResult)
    assert again.as_list() == result.as_list()


def test_groups_are_equal_by_id_members_and_parent():
    group = GroupResult("g", [AsyncResult("a")])
    assert group == GroupResult("g", [AsyncResult("a")]) == "g"
    assert group != GroupResult("g", [AsyncResult("b")])
    assert group != GroupResult("g", [AsyncResult("a")], parent=AsyncResult("p"))
    assert pickle.loads(pickle.dumps(group)) == group
    assert repr(group) == "<GroupResult: g [a]>"
    assert bool(group)
    assert not GroupResult("", [])
    assert ResultSet([AsyncResult("a")]) == ResultSet([AsyncResult("a")])


# ---- coroutines


def test_await_gives_all_results(store):
    async def run() -> list:
        group = group_of(store, 100)
        waiting = asyncio.ensure_future(group.aget(timeout=60))
        await store.backend.waited_on()
        put_all(store, group)
        assert await waiting == await group
        return await waiting

    assert asyncio.run(run()) == list(range(100))
    assert (store.backend.watches, store.backend.open_watches) == (1, 0)


def test_async_for_gives_handles_in_the_order_of_the_ends(store):
    async def run() -> list:
        group, found = group_of(store, 3), []
        for number in (2, 0):
            store.put(group[number].id, number)
        async for result in group:
            found.append(result.get())
            if len(found) == 2:
                store.put(group[1].id, 1)
        return found

    assert asyncio.run(run())[-1] == 1


def test_an_awaited_failure_leaves_nothing_open(store):
    async def run() -> None:
        group = group_of(store, 2)
        store.put(group[0].id, ValueError("boom"), "FAILURE")
        with pytest.raises(ValueError, match="boom"):
            await group
        assert store.backend.open_watches == 0

    asyncio.run(run())
