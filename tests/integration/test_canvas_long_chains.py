"""Long chains, whose steps wait in the broker, from the client through a real worker and back."""

from __future__ import annotations

import pytest
from canvas_app import add, app, fail, identity, needs, note, sleep, unheard, xsum
from parked import parked_queues
from waiting import wait_for

from amqtask import Amqtask, ChordError, Queue, ResultTimeout, chain, chord, group
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.errors import TaskRevoked
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

PATIENCE = 60.0
STEPS = 200


@pytest.fixture(scope="module", params=["threads"])
def worker(request, broker_node):
    vhost = f"long-chains-{request.param}"
    url = broker_node.add_vhost(vhost)
    settings = {"broker_url": url, "result_backend": "rpc://", "task_queues": [Queue("canvas", type="classic")]}
    with app.rebound(**settings):
        options = resolve(Requested(pool=request.param, concurrency=2, queues=["canvas"]), app.topology, app.settings)
        with EmbeddedWorker(app, options) as running:
            yield running
    broker_node.delete_vhost(vhost)


@pytest.mark.usefixtures("worker")
def test_a_long_chain_comes_to_its_end_and_its_steps_have_results():
    result = chain(add.s(0, 0), *(add.s(1) for _ in range(STEPS)))()
    assert result.get(timeout=PATIENCE) == STEPS
    steps = [result, *result.ancestors()]
    assert [step.get(timeout=PATIENCE) for step in steps] == list(range(STEPS, -1, -1))


@pytest.mark.usefixtures("worker")
def test_a_long_chain_may_be_a_member_of_a_chord():
    long = chain(add.s(0, 0), *(add.s(1) for _ in range(100)))
    assert chord([long, add.s(1, 1)])(xsum.s()).get(timeout=PATIENCE) == 102


def failures(result, *, but=0):
    """Ends of the steps, the last first, but those that come before the failure."""
    steps = [result, *result.ancestors()]
    return [step.get(timeout=PATIENCE, propagate=False, follow_parents=False) for step in steps[: len(steps) - but]]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("place", [1, 50, 99])
def test_every_step_of_a_long_chain_that_fails_has_the_failure_as_its_result(place):
    steps = [add.s(1) for _ in range(100)]
    steps[place] = fail.s()
    result = chain(add.s(0, 0), *steps)()
    with pytest.raises(ValueError, match="no luck"):
        result.get(timeout=PATIENCE)
    found = failures(result, but=place + 1)
    assert {repr(error) for error in found} == {"ValueError('no luck', 3)"}
    assert len(found) == 100 - place
    assert "no luck" in result.traceback


@pytest.mark.usefixtures("worker")
def test_a_chord_that_fails_in_a_long_chain_ends_all_that_follows():
    steps = [add.s(1) for _ in range(80)]
    result = chain(add.s(0, 0), group(fail.s(), add.s(2)), xsum.s(), *steps)()
    found = failures(result, but=3)
    assert {type(error) for error in found} == {ChordError}
    assert len(found) == 80


@pytest.mark.usefixtures("worker")
def test_a_long_chain_that_is_revoked_ends_all_its_steps():
    held = chain(sleep.s(0.3), *(identity.s() for _ in range(100)))()
    held.revoke()
    found = failures(held, but=14)
    assert {type(error) for error in found} == {TaskRevoked}
    assert len(found) == 87


@pytest.mark.usefixtures("worker")
def test_a_skipped_step_has_a_result_whether_or_not_the_one_that_failed_has():
    result = chain(fail.s().set(ignore_result=True), add.s(1), unheard.si(), add.si(1, 1))()
    with pytest.raises(ValueError, match="no luck"):
        result.get(timeout=PATIENCE, follow_parents=False)
    with pytest.raises(ValueError, match="no luck"):
        result.parent.parent.get(timeout=PATIENCE, follow_parents=False)
    with pytest.raises(ResultTimeout):
        result.parent.get(timeout=0.1, follow_parents=False)


@pytest.mark.usefixtures("worker")
def test_when_the_steps_of_a_failed_chain_are_gone_the_log_tells_and_no_second_dead_letter(caplog, monkeypatch):
    queues = parked_queues(monkeypatch)
    held = chain(sleep.s(0.3), fail.s(), *(add.s(1) for _ in range(80)))()
    with Admin(app.broker_urls, app.connection_options) as admin:
        admin.delete_queue(*queues)
    with pytest.raises(ValueError, match="no luck"):
        held.get(timeout=PATIENCE)
    wait_for(lambda: "can't be told" in caplog.text)
    assert "amqtask.chain_skip" not in caplog.text


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("place", [5, 40])
def test_a_long_chain_goes_on_when_the_step_that_failed_is_replayed(tmp_path, place):
    steps = [identity.s() for _ in range(80)]
    steps[place] = needs.s(str(tmp_path / "there"))
    result = chain(add.s(3, 4), *steps, note.si(str(tmp_path / "trace"), "end"))()
    assert {type(error) for error in failures(result, but=place + 1)} == {ValueError}
    (tmp_path / "there").touch()
    with Admin(app.broker_urls, app.connection_options) as admin:
        failed = [*result.ancestors()][-2 - place].id
        assert DeadLetters(admin, "canvas").retry([failed]) == [failed]
    wait_for((tmp_path / "trace").exists)


@pytest.mark.usefixtures("worker")
def test_a_long_chain_that_is_sent_again_with_the_same_id_runs_again(tmp_path):
    trace = tmp_path / "trace"
    for times in (1, 2):
        chain(*(add.si(1, 1) for _ in range(80)), note.si(str(trace), times).set(task_id="end" * 80))()
        wait_for(lambda: trace.exists() and len(trace.read_text().splitlines()) == times, timeout=PATIENCE)  # noqa: B023


@pytest.mark.usefixtures("worker")
def test_a_long_chain_may_be_sent_in_another_format_than_its_worker_writes():
    conf = app.settings
    settings = {"task_queues": conf.task_queues, "task_serializer": "json", "result_backend": "rpc://"}
    assert conf.task_serializer == "msgpack"
    with Amqtask("other", broker=conf.broker_url, **settings) as client:
        step = client.signature(add.name, (1,), queue="canvas")
        assert chain(client.signature(add.name, (0, 0), queue="canvas"), *[step] * 70)().get(timeout=PATIENCE) == 70
