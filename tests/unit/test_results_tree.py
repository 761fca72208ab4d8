"""Chains and what tasks have sent: parents, children, and the walks through them."""

from __future__ import annotations

import asyncio
import io

import pytest
from memory_backend import Store, in_thread
from waiting import wait_for

from amqtask.errors import ChordError, ResultTimeout, TaskRevoked
from amqtask.results.collect import IncompleteStream
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult


@pytest.fixture
def store() -> Store:
    return Store()


def test_every_step_of_a_chain_can_be_asked(store):
    first = store.handle("a")
    last = store.handle("c", parent=store.handle("b", parent=first))
    for number, name in enumerate("abc"):
        store.put(name, number)
    assert last.parent is not None
    assert last.parent.parent is first
    assert (last.get(timeout=60), last.parent.get(timeout=60), last.parent.parent.get(timeout=60)) == (2, 1, 0)
    assert last.as_list() == ["c", "b", "a"]
    assert last.as_tuple() == (("c", (("b", (("a", None), None)), None)), None)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_failure_of_an_earlier_step_ends_the_wait_for_a_later_one(store, asynchronous):
    last = store.handle("c", parent=store.handle("b", parent=store.handle("a")))
    end = in_thread((lambda: asyncio.run(last.aget(timeout=60))) if asynchronous else (lambda: last.get(timeout=60)))
    wait_for(lambda: store.backend.waiting == 1)
    store.put("b", 5)
    store.put("a", TaskRevoked("revoked"), "REVOKED")
    with pytest.raises(TaskRevoked):
        end()
    with pytest.raises(ResultTimeout):
        last.get(timeout=0, propagate=False)
    with pytest.raises(ResultTimeout):
        last.get(timeout=0, follow_parents=False)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failure_that_is_known_already_ends_the_wait_too_unless_the_later_step_has_ended(store, asynchronous):
    def get(last: AsyncResult) -> object:
        return asyncio.run(last.aget(timeout=60)) if asynchronous else last.get(timeout=60)

    first = store.handle("a")
    store.put("a", ValueError("boom"), "FAILURE")
    for _ in range(3):
        with pytest.raises(ValueError, match="boom"):
            get(store.handle("c", parent=store.handle("b", parent=first)))
    assert isinstance(first.get(propagate=False), ValueError)
    with pytest.raises(ResultTimeout):
        store.handle("b", parent=first).get(timeout=0.05, propagate=False)
    store.put("b", "run again")
    assert get(store.handle("b", parent=first)) == "run again"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_known_failure_ends_no_wait_once_its_task_was_run_again(store, asynchronous):
    first = store.handle("a")
    last = store.handle("c", parent=store.handle("b", parent=first))
    store.put("a", ValueError("boom"), "FAILURE")
    with pytest.raises(ValueError, match="boom"):
        last.get(timeout=60)
    assert first.known
    store.put("a", "replayed", "STARTED")
    end = in_thread((lambda: asyncio.run(last.aget(timeout=60))) if asynchronous else (lambda: last.get(timeout=60)))
    wait_for(lambda: store.backend.waiting == 1)
    store.put("c", "run")
    assert end() == "run"
    assert isinstance(first.result, ValueError)


def test_a_replay_that_fails_again_ends_the_wait(store):
    last = store.handle("b", parent=store.handle("a"))
    store.put("a", ValueError("boom"), "FAILURE")
    with pytest.raises(ValueError, match="boom"):
        last.get(timeout=60)
    store.put("a", None, "RETRY")
    end = in_thread(lambda: last.get(timeout=60))
    wait_for(lambda: store.backend.waiting == 1)
    store.put("a", ValueError("boom"), "FAILURE")
    with pytest.raises(ValueError, match="boom"):
        end()


def test_a_known_failure_before_a_known_success_ends_no_wait(store):
    first = store.handle("a")
    second = store.handle("b", parent=first)
    store.put_all([("a", ValueError("boom"), "FAILURE"), ("b", "replayed", "SUCCESS")])
    assert isinstance(first.get(propagate=False), ValueError)
    assert second.get(timeout=60) == "replayed"
    with pytest.raises(ResultTimeout):
        store.handle("c", parent=second).get(timeout=0)


def test_what_became_of_a_chords_body_is_told_not_the_error_of_a_member(store):
    header = GroupResult("g", [store.handle("m1"), store.handle("m2")], access=store.results)
    body = store.handle("body", parent=header)
    store.put_all([("m1", ValueError("member"), "FAILURE"), ("body", ChordError("Dependency m1 raised"), "FAILURE")])
    with pytest.raises(ChordError):
        body.get(timeout=60)


def test_a_group_after_a_failed_step_is_not_waited_for(store):
    group = GroupResult("g", [store.handle("m")], access=store.results, parent=store.handle("a"))
    store.put("a", ValueError("boom"), "FAILURE")
    with pytest.raises(ValueError, match="boom"):
        group.get(timeout=60)


def test_only_the_nearest_steps_of_a_long_chain_are_watched(store):
    result = None
    for number in range(10_000):
        result = store.handle(str(number), parent=result)
    store.put("9999", "end")
    assert result.get(timeout=60) == "end"


def tree(store: Store) -> AsyncResult:
    """a sent a group of b1 and b2; b1 sent c."""
    store.put("a", "A", children=[[["g", None], [[["b1", None], None], [["b2", None], None]]]])
    store.put("b1", "B1", children=[[["c", None], None]])
    store.put("b2", "B2")
    store.put("c", "C")
    return store.handle("a")


def test_collect_gives_every_result_with_its_value(store):
    found = [(node.id, value) for node, value in tree(store).collect(timeout=60)]
    assert found == [("a", "A"), ("g", ["B1", "B2"]), ("b1", "B1"), ("b2", "B2"), ("c", "C")]
    assert tree(store).get_leaf() == "C"


def test_collect_waits_for_what_has_not_ended(store):
    store.put("a", "A", children=[[["b", None], None]])
    end = in_thread(lambda: [value for _, value in store.handle("a").collect(timeout=60)])
    wait_for(lambda: store.backend.waiting == 1)
    store.put("b", "B")
    assert end() == ["A", "B"]
    store.backend.forget(["b"])
    with pytest.raises(ResultTimeout):
        list(store.handle("a").collect(timeout=0.05))


def test_walks_stop_where_nothing_is_known_unless_told_otherwise(store):
    store.put("a", "A", children=[[["b", None], None]])
    with pytest.raises(IncompleteStream, match="b"):
        list(store.handle("a").iterdeps())
    assert [node.id for _, node in store.handle("a").iterdeps(intermediate=True)] == ["a", "b"]


def test_the_graph_can_be_drawn(store):
    graph = tree(store).graph
    assert {node.id: [child.id for child in children] for node, children in graph.items()} == {
        "a": ["g"], "g": ["b1", "b2"], "b1": ["c"], "b2": [], "c": [],
    }  # fmt: skip
    stream = io.StringIO()
    graph.to_dot(stream)
    assert '"b1" -> "c";' in stream.getvalue()
    assert stream.getvalue().startswith("digraph results {\n")
    lines = store.handle("a").to_mermaid().splitlines()
    assert lines[0] == "flowchart LR"
    assert '    t0["AsyncResult: shop.add[a]"]' in lines
    assert len([line for line in lines if "-->" in line]) == len(list(graph.edges()))


def test_the_graph_of_what_runs_is_refused_unless_told_otherwise(store):
    store.put("a", "A", children=[[["b", None], None]])
    with pytest.raises(IncompleteStream):
        store.handle("a").build_graph()
    assert [node.id for node in store.handle("a").build_graph(intermediate=True)] == ["a", "b"]
