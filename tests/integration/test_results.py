"""Results of single tasks, from the client through a real worker and back."""

from __future__ import annotations

import canvas_app
import pytest
from canvas_app import add, app, fail, second_time
from stores import redis_server
from waiting import wait_for

from amqtask import EncodeError, Queue, ResultTimeout, ResultTooLarge, TaskRevoked, UnknownTask, chain, group
from amqtask.wire.ids import new_id
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

PATIENCE = 60.0
"""Seconds on a machine that is busy with other things."""


@pytest.fixture(scope="module", params=["rpc", "redis"])
def place(request, broker_node):
    if request.param == "rpc":
        yield "rpc://"
    else:
        with redis_server() as server:
            yield server.url


@pytest.fixture(scope="module", autouse=True)
def worker(place, broker_node):
    vhost = f"results-{abs(hash(place)) % 10**8}"
    url = broker_node.add_vhost(vhost)
    with app.rebound(
        broker_url=url,
        result_backend=place,
        task_queues=[Queue("canvas", type="classic")],
        task_track_started=True,
        result_max_size=100_000,
        unknown_task_policy="dead",
    ):
        options = resolve(Requested(pool="threads", concurrency=4, queues=["canvas"]), app.topology, app.settings)
        with EmbeddedWorker(app, options) as running:
            yield running
    broker_node.delete_vhost(vhost)


def test_a_result_tells_what_became_of_its_task():
    result = add.delay(2, 3)
    assert result.get(timeout=PATIENCE) == 5
    assert (result.state, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)
    assert (result.name, result.queue, result.retries, result.result) == ("canvas_app.add", "canvas", 0, 5)
    assert result.runtime is not None
    assert result.date_done is not None
    assert result.worker


def test_an_exception_comes_back_as_itself_with_the_traceback_of_the_worker():
    result = fail.delay()
    with pytest.raises(ValueError, match="no luck") as caught:
        result.get(timeout=PATIENCE)
    assert caught.value.args == ("no luck", 3)
    assert 'raise ValueError("no luck", 3)' in (result.traceback or "")
    assert result.failed()
    assert isinstance(result.get(propagate=False), ValueError)


def test_started_progress_and_retries_are_seen_on_the_way():
    seen = []
    result = canvas_app.progress.delay(3)
    assert result.get(timeout=PATIENCE, on_message=seen.append) == 3
    assert seen[-1]["status"] == "SUCCESS"
    result = second_time.delay("value")
    assert result.get(timeout=PATIENCE) == "value"
    assert result.retries == 1


def test_asking_again_and_again_sees_the_beginning_and_the_end():
    result = group(canvas_app.sleep.s(0.3), second_time.s("value"), canvas_app.progress.s(3))()
    views = [app.AsyncResult(member.id) for member in result.results]  # as another request to a web server would
    wait_for(lambda: all(view.state not in ("PENDING", "QUEUED") for view in views))
    wait_for(result.ready)
    assert (result.completed_count(), result.successful()) == (3, True)
    wait_for(lambda: all(view.ready() for view in views))
    assert [view.result for view in views] == [0.3, "value", 3]


def test_waiting_too_long_raises_and_the_result_can_still_come():
    result = canvas_app.sleep.delay(0.5)
    with pytest.raises(ResultTimeout):
        result.get(timeout=0.05)
    assert result.get(timeout=PATIENCE) == 0.5


def test_a_result_that_cannot_be_written_fails_the_task_by_name():
    with pytest.raises(EncodeError, match="canvas_app.set_of"):
        canvas_app.set_of.delay(1).get(timeout=PATIENCE)


def test_a_result_that_is_too_large_fails_the_task():
    with pytest.raises(ResultTooLarge, match="result_max_size is 100000"):
        canvas_app.large.delay(200_000).get(timeout=PATIENCE)
    assert len(canvas_app.large.delay(90_000).get(timeout=PATIENCE)) == 90_000


def test_waiting_inside_a_task_is_refused():
    with pytest.raises(RuntimeError, match="never wait for a result inside a task"):
        canvas_app.waits.delay("some-id").get(timeout=PATIENCE)


def test_an_expired_task_is_revoked():
    result = add.apply_async((1, 1), countdown=0.3, expires=0.01)
    with pytest.raises(TaskRevoked):
        result.get(timeout=PATIENCE)
    assert result.state == "REVOKED"


def test_a_task_that_no_worker_knows_is_dead():
    result = app.send_task("nobody.knows", queue="canvas")
    with pytest.raises(UnknownTask, match=r"nobody\.knows"):
        result.get(timeout=PATIENCE)
    assert result.state == "DEAD"


def test_what_a_task_sends_are_its_children():
    result = add.apply_async((1, 1), link=add.s(5))
    result.get(timeout=PATIENCE)
    (child,) = result.children
    wait_for(lambda: child.get(timeout=PATIENCE) == 7)


def test_no_result_is_kept_of_a_task_that_wants_none(place):
    result = canvas_app.unheard.delay()
    with pytest.raises(ResultTimeout):
        result.get(timeout=0.3)


def test_what_is_on_its_way_is_queued_and_an_unknown_id_is_told_from_it(place):
    if place == "rpc://":
        return  # only who has sent a task gets its answer
    with app.rebound(result_track_sent=True):
        result = chain(add.s(1, 1), add.s(2))()
        assert result.get(timeout=PATIENCE) == 4
        later = add.apply_async((1, 1), countdown=3600)
        assert (later.state, app.AsyncResult(new_id()).state) == ("SCHEDULED", "UNKNOWN")


def test_a_forgotten_result_is_gone():
    result = add.delay(1, 1)
    result.get(timeout=PATIENCE)
    result.forget()
    assert not app.AsyncResult(result.id).ready()
