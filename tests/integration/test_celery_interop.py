"""Celery's clients with workers of amqtask, and the reverse: the same program, the same answers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from interop import QUIET, SECONDS, Pair, paired
from nodes import Node
from stores import redis_server

from amqtask.topology.delays import delay_target

pytestmark = [pytest.mark.rabbitmq, *QUIET]

PAIRS = [
    (client, worker, pool, backend)
    for client, worker in (("celery", "amqtask"), ("amqtask", "celery"))
    for pool, backend in (("prefork", "redis"), ("threads", "rpc"))  # all four ways of each would take twice as long
]

COUNTDOWN = 0.3
"""Seconds that no other task here waits for: each delay has a routing key of its own."""


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as running:
        yield running.url


@pytest.fixture(scope="module", params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def pair(request: pytest.FixtureRequest, broker_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    client, worker, pool, backend = request.param
    url = request.getfixturevalue("redis_url") if backend == "redis" else "rpc://"
    with paired(broker_node, tmp_path_factory.mktemp("interop"), client, worker, pool, url) as made:
        yield made


@pytest.fixture(autouse=True)
def _what_the_worker_said(pair: Pair) -> Iterator[None]:
    yield
    print(pair.worker.text()[-8000:])  # noqa: T201 -- pytest shows it where a test has failed


@pytest.fixture
def delaying(pair: Pair) -> Pair:
    """A pair whose client has the broker wait: Celery's leaves that to the worker."""
    if pair.client.side == "celery":
        pytest.skip("a Celery client leaves the waiting to the worker")
    return pair


@pytest.fixture
def chords(pair: Pair) -> Pair:
    """A pair that can have chords: Celery has none over rpc."""
    if pair.backend == "rpc://":
        pytest.skip("Celery has no chords over rpc")
    return pair


def test_result_comes_back(pair: Pair) -> None:
    assert pair.sig("add", 1, 2).delay().get(timeout=SECONDS) == 3


@pytest.mark.parametrize(
    "value", [None, 1.5, "ü", [1, {"a": [True]}], uuid.UUID(int=5), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)]
)
def test_values_pass_both_ways(pair: Pair, value: object) -> None:
    empty = {type(None): 0, list: [], str: ""}
    if type(value) in empty or isinstance(value, float):
        other = empty.get(type(value), 0)
        if value is None:
            assert pair.sig("keep", "nothing").delay().get(timeout=SECONDS) is None
        else:
            assert pair.sig("add", value, other).delay().get(timeout=SECONDS) == value
    else:
        assert pair.sig("add", [value], []).delay().get(timeout=SECONDS) == [value]


def test_keyword_arguments_arrive(pair: Pair) -> None:
    assert pair.app.send_task("shop.add", kwargs={"x": 4, "y": 5}).get(timeout=SECONDS) == 9


def test_failure_raises_what_the_task_raised(pair: Pair) -> None:
    result = pair.sig("fail").delay()
    with pytest.raises(ValueError, match="as it should"):
        result.get(timeout=SECONDS)
    assert result.state == "FAILURE"
    assert "ValueError" in result.traceback


def test_failure_of_the_programs_own_class_is_told(pair: Pair) -> None:
    import interop_shop

    with pytest.raises(interop_shop.NoStock) as raised:
        pair.sig("own").delay().get(timeout=SECONDS)
    assert raised.value.args == ("apples", 3)


def test_unknown_task_is_told(pair: Pair) -> None:
    if pair.worker.side == "amqtask":
        pytest.skip("a worker of amqtask waits for a newer one that knows the task")
    with pytest.raises(pair.exceptions.NotRegistered):
        pair.app.send_task("shop.nowhere").get(timeout=SECONDS)


def test_retries_follow(pair: Pair) -> None:
    assert pair.sig("at_third").delay().get(timeout=SECONDS) == 2


def test_last_retry_ends_in_an_error_of_the_clients(pair: Pair) -> None:
    with pytest.raises(pair.exceptions.MaxRetriesExceededError):
        pair.sig("give_up").delay().get(timeout=SECONDS)


def test_countdown_is_waited_for(pair: Pair) -> None:
    begin = time.time()
    assert pair.sig("moment").apply_async(countdown=1.5).get(timeout=SECONDS) - begin >= 1.4


def test_eta_is_waited_for(pair: Pair) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    assert pair.sig("moment").apply_async(eta=due).get(timeout=SECONDS) >= due.timestamp() - 0.1


def test_expired_task_is_revoked(pair: Pair) -> None:
    late = pair.sig("add", 1).apply_async(countdown=1.0, expires=0.5)
    with pytest.raises(pair.exceptions.TaskRevokedError):
        late.get(timeout=SECONDS)
    assert late.state == "REVOKED"


def test_ignored_result_is_not_kept(pair: Pair) -> None:
    note = uuid.uuid4().hex
    pair.sig("keep", note).apply_async(ignore_result=True)
    pair.wait(lambda: note in pair.worker.noted())


def test_progress_is_seen(pair: Pair, tmp_path: Path) -> None:
    if pair.client.side == "celery" and pair.backend == "rpc://":
        pytest.skip("Celery's client drops what is not final over rpc")
    gate = tmp_path / "gate"
    result = pair.sig("progress", str(gate)).delay()
    pair.wait(lambda: result.state == "PROGRESS")
    assert result.info == {"done": 7}
    gate.touch()
    assert result.get(timeout=SECONDS) == "done"


def test_chain_passes_results_on(pair: Pair) -> None:
    result = pair.module.chain(pair.sig("add", 2, 2), pair.sig("add", 4), pair.sig("add", 8)).apply_async()
    assert result.get(timeout=SECONDS) == 16
    assert result.parent.get(timeout=SECONDS) == 8
    assert result.parent.parent.get(timeout=SECONDS) == 4


def test_chain_ends_with_the_first_failure(pair: Pair) -> None:
    result = pair.module.chain(pair.sig("fail", immutable=True), pair.sig("add", 1)).apply_async()
    with pytest.raises(ValueError, match="as it should"):
        result.get(timeout=SECONDS)


def test_group_comes_in_order(pair: Pair) -> None:
    result = pair.module.group(pair.sig("add", n, n) for n in range(20)).apply_async()
    assert result.get(timeout=SECONDS) == [2 * n for n in range(20)]


def test_map_and_chunks_run(pair: Pair) -> None:
    add = pair.app.tasks["shop.add"]
    assert pair.app.tasks["shop.xsum"].map([[1, 2], [3, 4]]).delay().get(timeout=SECONDS) == [3, 7]
    parts = add.chunks([(n, n) for n in range(5)], 2)()
    assert parts.get(timeout=SECONDS) == [[0, 2], [4, 6], [8]]


def test_callbacks_run(pair: Pair) -> None:
    note = uuid.uuid4().hex
    pair.sig("add", 1).apply_async(link=pair.sig("keep", note))
    pair.wait(lambda: note in pair.worker.noted())


def test_error_callbacks_run(pair: Pair) -> None:
    note = uuid.uuid4().hex
    pair.sig("fail").apply_async(link_error=pair.sig("keep", note, immutable=True))
    pair.wait(lambda: note in pair.worker.noted())


def test_replacement_answers(pair: Pair) -> None:
    if pair.backend == "rpc://" and pair.worker.side == "celery":
        pytest.skip("a Celery worker has the result of a replacement sent to itself over rpc")
    assert pair.sig("replaced", 5).delay().get(timeout=SECONDS) == 105


def test_chord_runs_its_body(chords: Pair) -> None:
    work = chords.module.chord([chords.sig("add", n, n) for n in range(10)], chords.sig("xsum"))
    assert work.apply_async().get(timeout=SECONDS) == 90


def test_chord_inside_of_a_chain(chords: Pair) -> None:
    both = chords.module.group(chords.sig("add", 10), chords.sig("add", 20))
    work = chords.module.chain(chords.sig("add", 1, 1), both, chords.sig("xsum"), chords.sig("add", 1000))
    assert work.apply_async().get(timeout=SECONDS) == 1034


def test_chord_with_a_failed_member_fails(chords: Pair) -> None:
    work = chords.module.chord([chords.sig("add", 1), chords.sig("fail")], chords.sig("xsum"))
    result = work.apply_async()
    with pytest.raises((chords.exceptions.ChordError, ValueError)):
        result.get(timeout=SECONDS)
    chords.wait(lambda: result.state == "FAILURE")


def test_saved_group_is_restored(chords: Pair) -> None:
    result = chords.module.group(chords.sig("add", n) for n in range(3)).apply_async()
    result.save()
    again = chords.app.GroupResult.restore(result.id) if chords.client.side == "celery" else None
    from amqtask import GroupResult

    again = again or GroupResult.restore(result.id)
    assert again.get(timeout=SECONDS) == [1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 10},
        {"countdown": -5},
        {"queue": "celery", "routing_key": "celery"},
        {"queue": "celery", "exchange": "nowhere", "routing_key": "celery"},
        {"eta": datetime(2026, 1, 2, tzinfo=UTC), "expires": 60},
    ],
    ids=str,
)
def test_next_step_may_have_any_option_of_celerys(pair: Pair, options: dict[str, object]) -> None:
    if pair.worker.side == "celery":
        pytest.skip("about amqtask's workers")
    first = pair.sig("add", 1, 1)
    last = pair.module.chain(first, pair.sig("add", 2).set(**options)).apply_async()
    assert last.get(timeout=SECONDS) == 4
    assert first.apply_async(link=pair.sig("add", 5).set(**options)).get(timeout=SECONDS) == 2


def test_a_retry_may_go_elsewhere(pair: Pair) -> None:
    assert pair.sig("moves").apply_async(countdown=0.2).get(timeout=SECONDS) == ["celery", 1, 9]


def test_a_retry_after_a_delay_leaves_no_queue_behind(delaying: Pair) -> None:
    assert delaying.sig("at_third").apply_async(countdown=COUNTDOWN).get(timeout=SECONDS) == 2
    assert delaying.ready(delay_target(["celery"], timedelta(seconds=COUNTDOWN)).routing_key) == -1


def test_a_retry_elsewhere_after_a_delay_is_nowhere_else(delaying: Pair) -> None:
    elsewhere = uuid.uuid4().hex
    result = delaying.sig("moves", elsewhere).apply_async(countdown=COUNTDOWN)
    delaying.wait(lambda: delaying.ready(elsewhere) == 1)
    # what comes twice was there before this one
    assert delaying.sig("add", 1).delay().get(timeout=SECONDS) == 2
    assert delaying.worker.text().count(f"Task shop.moves[{result.id}] received") == 1
