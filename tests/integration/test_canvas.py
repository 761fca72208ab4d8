"""Work that is composed, from the client through a real worker and back, on every way that results come and chords are
counted: by message, in files (RabbitMQ counts), in Redis (Redis counts).
"""

from __future__ import annotations

import asyncio

import canvas_app
import pytest
from canvas_app import add, app, fail, identity, mul, note, note_error, note_exception, one_more, second_time, xsum
from stores import redis_server
from waiting import wait_for

from amqtask import ChordError, Queue, chain, chord, group
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

PATIENCE = 60.0
"""Seconds on a machine that is busy with other things."""


@pytest.fixture(scope="module", params=["rpc", "file", "redis"])
def place(request, broker_node, tmp_path_factory):
    """URL of a result backend."""
    if request.param == "rpc":
        yield "rpc://"
    elif request.param == "file":
        yield f"file://{tmp_path_factory.mktemp('results')}"
    else:
        with redis_server() as server:
            yield server.url


@pytest.fixture(scope="module", autouse=True)
def worker(place, broker_node):
    """The app on this backend, in a vhost of its own, and a worker for it."""
    vhost = f"canvas-{abs(hash(place)) % 10**8}"
    url = broker_node.add_vhost(vhost)
    settings = {"broker_url": url, "result_backend": place, "task_queues": [Queue("canvas", type="classic")]}
    with app.rebound(**settings):
        options = resolve(Requested(pool="threads", concurrency=4, queues=["canvas"]), app.topology, app.settings)
        with EmbeddedWorker(app, options) as running:
            yield running
    broker_node.delete_vhost(vhost)


def get(result, timeout=PATIENCE):
    return result.get(timeout=timeout)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_a_chain_passes_each_result_on_and_every_step_can_be_asked_for_its_own():
    result = chain(add.s(2, 2), add.s(4), add.s(8))()
    assert get(result) == 16
    assert get(result.parent) == 8
    assert get(result.parent.parent) == 4


def test_immutable_steps_ignore_what_came_before():
    result = (add.si(2, 2) | add.si(4, 4) | add.si(8, 8))()
    assert [get(result), get(result.parent), get(result.parent.parent)] == [16, 8, 4]


def test_partial_arguments_go_last():
    assert get(add.s("b").delay("a")) == "ab"
    assert get(canvas_app.note.s("x").apply_async(("/dev/null",))) == ["x"]


def test_a_group_has_its_results_in_order():
    result = group(add.s(i, i) for i in range(20))()
    assert get(result) == [2 * i for i in range(20)]
    assert result.successful()
    assert result.completed_count() == 20


def test_the_members_of_a_group_come_as_they_end():
    result = group(add.s(i, i) for i in range(10))()
    assert sorted(result.iterate(timeout=PATIENCE)) == [2 * i for i in range(10)]


def test_a_chord_calls_its_body_once_with_all_results():
    assert get(chord((add.s(i, i) for i in range(10)), xsum.s())()) == 90
    assert get((group(add.s(1, 1), add.s(2, 2)) | xsum.s() | add.s(10))()) == 16


def test_a_chord_of_one_and_a_chord_without_members():
    assert get(chord([add.s(1, 1)], xsum.s())()) == 2
    assert get(chord([], identity.si("nothing"))()) == "nothing"


def test_members_that_are_tried_again_count_once():
    assert get(chord([second_time.s(i) for i in range(5)], xsum.s())()) == 10


def test_the_body_fails_when_a_member_does_and_its_errback_is_told(tmp_path):
    told = tmp_path / "told"
    result = chord([add.s(1, 1), fail.s()], xsum.s().on_error(note_error.s(str(told))))()
    with pytest.raises((ChordError, ValueError), match=r"no luck"):
        get(result)
    wait_for(lambda: lines(told) == [result.id])
    with pytest.raises(ChordError, match="Dependency .* raised ValueError"):
        result.get(timeout=PATIENCE, follow_parents=False)


def test_chords_in_chains_and_chains_in_chords():
    work = chain(add.s(1, 1), group(add.s(1), mul.s(10), add.s(2) | mul.s(2)), xsum.s(), add.s(1000))
    assert get(work()) == 1000 + 3 + 20 + 8


def test_a_chord_of_chords():
    inner = [chord([add.s(i, j) for j in range(3)], xsum.s()) for i in range(3)]
    assert get(chord(inner, xsum.s())()) == sum(i + j for i in range(3) for j in range(3))


def test_the_failure_of_a_step_is_that_of_all_later_ones():
    result = chain(add.s(1, 1), fail.s(), add.s(1), add.s(2))()
    with pytest.raises(ValueError, match="no luck"):
        get(result)
    assert get(result.parent.parent.parent) == 2
    with pytest.raises(ValueError, match="no luck"):
        get(result.parent)


def test_callbacks_get_the_result_and_errbacks_the_id_or_the_exception(tmp_path):
    good, bad, error = (tmp_path / name for name in ("good", "bad", "error"))
    get(add.apply_async((1, 2), link=note.s(str(good)).set(immutable=True)))
    wait_for(lambda: lines(good) == ["()"])
    result = fail.apply_async(link_error=[note_error.s(str(bad)), note_exception.s(str(error))])
    with pytest.raises(ValueError, match="no luck"):
        get(result)
    wait_for(lambda: lines(bad) == [result.id])
    wait_for(lambda: lines(error) == [f"{result.id} ValueError('no luck', 3) True"])


def test_errbacks_that_take_the_exception_are_called_for_the_body_of_a_chord_too(tmp_path):
    told = tmp_path / "told"
    result = chord([fail.s()], xsum.s().on_error(note_exception.s(str(told))))()
    wait_for(lambda: lines(told))
    (line,) = lines(told)
    assert line.startswith(f"{result.id} ChordError(")


def test_map_starmap_and_chunks():
    assert get(xsum.map([[1, 2], [3]]).delay()) == [3, 3]
    assert get(add.starmap([(1, 2), (3, 4)]).delay()) == [3, 7]
    assert get(add.chunks(zip(range(10), range(10), strict=True), 4)()) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]


def test_a_task_may_let_other_work_take_its_place():
    assert get(canvas_app.replaced.delay(5)) == 105
    assert get(chain(canvas_app.replaced.s(5), add.s(1))()) == 106
    assert get(canvas_app.replaced_by_group.delay([1, 2, 3])) == [2, 3, 4]
    assert get(canvas_app.replaced_by_group.delay([1])) == [2]


def test_a_member_may_add_another_one_to_its_chord():
    assert get(chord([one_more.s(1), add.s(1, 1)], xsum.s())()) == 1 + 2 + 1001


def test_what_each_attempt_of_a_member_adds_counts_for_itself():
    assert get(chord([canvas_app.adds_twice.s(10), add.s(1, 1)], xsum.s())()) == 10 + 2 + 10 + 11


def test_signatures_survive_json():
    import json

    from amqtask import Signature

    work = json.loads(json.dumps(chain(add.s(1, 2), group(add.s(1), add.s(2)), xsum.s())))
    assert get(Signature.from_dict(work, app=app)()) == 9


def test_coroutines_wait_without_blocking():
    async def main():
        result = await add.adelay(1, 2)
        members = await group(add.s(i, i) for i in range(5)).aapply_async()
        return await result, await members.aget(timeout=PATIENCE), await (await canvas_app.aadd.adelay(1, 1))

    assert asyncio.run(main()) == (3, [0, 2, 4, 6, 8], 2)


def test_a_chain_of_a_hundred_steps():
    assert get(chain(add.s(0, 1), *(add.s(1) for _ in range(99)))()) == 100
