"""Long chains, whose steps wait in the broker, from the client through a real worker and back."""

from __future__ import annotations

import pytest
from canvas_app import add, app, fail, xsum

from amqtask import Queue, chain, chord
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


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("place", [1, 90])
def test_a_long_chain_that_fails_is_known_to_have_failed(place):
    steps = [add.s(1) for _ in range(100)]
    steps[place] = fail.s()
    result = chain(add.s(0, 0), *steps)()
    with pytest.raises(ValueError, match="no luck"):
        result.get(timeout=PATIENCE)
