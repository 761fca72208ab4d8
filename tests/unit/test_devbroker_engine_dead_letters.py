"""Dead letters of the dev broker: where they go, what they say, and when they stop."""

from __future__ import annotations

import time

import pytest
from engine_bench import Bench, Subscriber, content_header, properties

from amqtask.testing.devbroker.engine.message import Message

TO_DEAD = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
KINDS = pytest.mark.parametrize("quorum", [False, True], ids=["classic", "quorum"])


@pytest.fixture
def bench():
    bench = Bench()
    bench.queue("dead")
    return bench


def reject(bench, name, *, failed=True):
    queue = bench.vhost.queues[name]
    entry, _ = queue.get(False)
    queue.reject(entry, failed=failed)


@KINDS
def test_a_dead_letter_says_where_why_and_how_often_it_died(bench, quorum):
    bench.queue("q", quorum=quorum, **TO_DEAD)
    bench.publish("q", "body", headers={"mine": 1}, priority=3, content_type="text/plain")
    reject(bench, "q")
    message = bench.take("dead")
    assert (message.exchange, message.routing_key, message.body) == ("", "dead", b"body")
    found = properties(message)
    assert (found.priority, found.content_type) == (3, "text/plain")
    death = found.headers["x-death"][0]
    assert abs(death.pop("time").timestamp() - time.time()) < 5
    assert death == {"count": 1, "reason": "rejected", "queue": "q", "exchange": "", "routing-keys": ["q"]}
    del found.headers["x-death"]
    assert found.headers == {
        "mine": 1,
        "x-first-death-exchange": "",
        "x-first-death-queue": "q",
        "x-first-death-reason": "rejected",
        "x-last-death-exchange": "",
        "x-last-death-queue": "q",
        "x-last-death-reason": "rejected",
    }


def test_time_moved_by_a_test_shows_in_the_deaths(bench):
    bench.queue("q", message_ttl=86_400_000, **TO_DEAD)
    bench.publish("q")
    bench.advance(90_000)
    death = bench.headers("dead")["x-death"][0]
    assert 86_000 < death["time"].timestamp() - time.time() < 90_001


@KINDS
@pytest.mark.parametrize("reason", ["rejected", "expired", "maxlen"])
def test_every_way_to_die_has_its_reason(bench, quorum, reason):
    bench.queue("q", quorum=quorum, max_length=1, message_ttl=1000, **TO_DEAD)
    bench.publish("q", "first")
    if reason == "rejected":
        reject(bench, "q")
    elif reason == "expired":
        bench.advance(2)
    else:
        bench.publish("q", "second")
    message = bench.take("dead")
    assert message.body == b"first"
    assert properties(message).headers["x-death"][0]["reason"] == reason


def test_too_many_failures_are_a_reason(bench):
    consumer = Subscriber(bench.queue("q", quorum=True, delivery_limit=1, **TO_DEAD), prefetch=1)
    bench.publish("q")
    consumer.requeue(failed=True)
    consumer.requeue(failed=True)
    headers = bench.headers("dead")
    assert headers["x-death"][0]["reason"] == "delivery_limit"
    assert "x-delivery-count" not in headers


def test_a_refused_message_is_a_dead_letter_where_the_queue_says_so(bench):
    bench.queue("q", max_length=1, overflow="reject-publish-dlx", **TO_DEAD)
    assert [bench.publish("q", body).accepted for body in "ab"] == [True, False]
    assert bench.take("dead").body == b"b"


def test_a_dead_letter_keeps_its_key_unless_the_queue_has_one(bench):
    bench.queue("key")
    bench.vhost.exchange_declare("x", "direct")
    bench.vhost.queue_bind("dead", "x", "key", None, bench.me)
    bench.queue("source", dead_letter_exchange="x")
    bench.vhost.exchange_declare("in", "fanout")
    bench.vhost.queue_bind("source", "in", "", None, bench.me)
    bench.publish("key", exchange="in")
    reject(bench, "source")
    message = bench.take("dead")
    assert (message.exchange, message.routing_key) == ("x", "key")
    assert properties(message).headers["x-first-death-exchange"] == "in"


def test_an_expiration_is_taken_off_and_noted_once(bench):
    bench.queue("q", **TO_DEAD)
    bench.publish("q", expiration="100", message_id="m", headers={"kept": True})
    bench.advance(1)
    found = properties(bench.take("dead"))
    assert found.expiration is None
    assert found.message_id == "m"
    assert found.headers["kept"] is True
    assert found.headers["x-death"][0]["original-expiration"] == "100"


def test_what_a_client_says_of_deaths_is_not_believed(bench):
    bench.queue("q", **TO_DEAD)
    bench.publish(
        "q", headers={"x-death": [{"count": 5, "queue": "q", "reason": "rejected"}], "x-first-death-queue": "?"}
    )
    reject(bench, "q")
    headers = bench.headers("dead")
    assert [death["count"] for death in headers["x-death"]] == [1]
    assert headers["x-first-death-queue"] == "q"


def test_a_round_trip_counts_and_the_newest_death_comes_first(bench):
    bench.queue("work", dead_letter_exchange="", dead_letter_routing_key="pause")
    bench.queue("pause", message_ttl=1000, dead_letter_exchange="", dead_letter_routing_key="work")
    bench.publish("work")
    for _ in range(3):
        reject(bench, "work")
        bench.advance(1.1)
    headers = bench.headers("work")
    deaths = [(death["queue"], death["reason"], death["count"]) for death in headers["x-death"]]
    assert deaths == [("pause", "expired", 3), ("work", "rejected", 3)]
    assert (headers["x-first-death-queue"], headers["x-last-death-queue"]) == ("work", "pause")


@KINDS
def test_a_cycle_without_a_reject_ends(bench, quorum):
    bench.queue("a", quorum=quorum, message_ttl=100, dead_letter_exchange="", dead_letter_routing_key="b")
    bench.queue("b", quorum=quorum, message_ttl=100, dead_letter_exchange="", dead_letter_routing_key="a")
    bench.publish("a")
    bench.advance(60)
    assert (bench.vhost.queues["a"].ready_count, bench.vhost.queues["b"].ready_count) == (0, 0)
    assert bench.memory.used == 0


def test_a_message_rejected_into_its_own_queue_stays_there(bench):
    bench.queue("q", dead_letter_exchange="")
    bench.publish("q")
    for count in (1, 2):
        reject(bench, "q")
        assert bench.vhost.queues["q"].ready_count == 1, count
    assert bench.headers("q")["x-death"][0]["count"] == 2


def test_copies_go_along_and_blind_ones_are_not_shown(bench):
    for name in ("copy", "blind"):
        bench.queue(name)
    bench.queue("q", message_ttl=100, dead_letter_exchange="")
    bench.publish("q", headers={"CC": ["copy"], "BCC": ["blind"]})
    bench.bodies("copy")
    bench.bodies("blind")
    bench.advance(1)
    copy, blind = bench.headers("copy"), bench.headers("blind")
    assert copy["x-death"][0]["routing-keys"] == ["q", "copy"]
    assert copy["CC"] == blind["CC"] == ["copy"]
    assert "BCC" not in copy


def test_a_dead_letter_key_replaces_all_keys(bench):
    bench.queue("copy")
    bench.queue("q", message_ttl=100, **TO_DEAD)
    bench.publish("q", headers={"CC": ["copy"]})
    bench.bodies("copy")
    bench.advance(1)
    assert bench.bodies("copy") == []
    assert bench.headers("dead")["CC"] == ["copy"]


def test_without_an_exchange_a_dead_letter_is_dropped(bench):
    bench.queue("q", dead_letter_exchange="gone")
    bench.queue("plain")
    for name in ("q", "plain"):
        bench.publish(name)
        reject(bench, name)
    assert bench.memory.used == 0


def test_a_failure_goes_along_into_the_next_queue(bench):
    bench.queue("target", quorum=True)
    bench.queue("q", dead_letter_exchange="", dead_letter_routing_key="target")
    bench.publish("q")
    consumer = Subscriber(bench.vhost.queues["q"], prefetch=1)
    consumer.requeue(failed=True)
    consumer.reject(failed=True)
    target = bench.vhost.queues["target"]
    entry, _ = target.get(False)
    assert entry.redelivered
    assert counts(entry) == (2, 2)
    target.requeue([entry], failed=False)
    entry, _ = target.get(False)
    assert counts(entry) == (1, 2)


def test_a_nacked_dead_letter_is_not_redelivered(bench):
    bench.queue("q", **TO_DEAD)
    bench.publish("q")
    reject(bench, "q", failed=False)
    assert not bench.vhost.queues["dead"].get(False)[0].redelivered


def counts(entry):
    headers = properties(entry.message).headers
    return headers.get("x-acquired-count"), headers.get("x-delivery-count")


def test_a_long_chain_of_queues_passes_a_message_on(bench):
    for number in range(2000):
        following = f"q{number + 1}" if number < 1999 else "dead"
        bench.queue(f"q{number}", message_ttl=0, dead_letter_exchange="", dead_letter_routing_key=following)
    bench.publish("q0", "carried")
    message = bench.take("dead")
    assert message.body == b"carried"
    assert len(properties(message).headers["x-death"]) == 2000


# -- at least once

SAFE = {"quorum": True, "dead_letter_strategy": "at-least-once", "overflow": "reject-publish", **TO_DEAD}


def test_a_safe_dead_letter_waits_until_its_queue_has_room(bench):
    bench.queue("full", max_length=1, overflow="reject-publish")
    bench.queue("q", **{**SAFE, "dead_letter_routing_key": "full"})
    bench.publish("q", *"ab")
    reject(bench, "q")
    reject(bench, "q")
    assert bench.take("full").body == b"a"
    assert bench.memory.used > 0
    bench.advance(5)
    assert bench.take("full").body == b"b"
    assert bench.memory.used == 0


def test_a_safe_dead_letter_waits_for_a_route(bench):
    bench.queue("q", **{**SAFE, "dead_letter_routing_key": "later"})
    bench.publish("q", "a")
    reject(bench, "q")
    bench.advance(300)
    bench.queue("later")
    bench.advance(61)
    assert bench.bodies("later") == ["a"]


def test_a_safe_dead_letter_reaches_each_of_its_queues_once(bench):
    bench.vhost.exchange_declare("x", "fanout")
    bench.queue("full", max_length=0, overflow="reject-publish")
    for name in ("dead", "full"):
        bench.vhost.queue_bind(name, "x", "", None, bench.me)
    bench.queue("q", **{**SAFE, "dead_letter_exchange": "x"})
    bench.publish("q", "a")
    reject(bench, "q")
    bench.advance(300)
    assert bench.bodies("dead") == ["a"]
    bench.vhost.queue_delete("full", bench.me)
    bench.advance(61)
    assert bench.bodies("dead") == []
    assert bench.memory.used == 0


def test_safe_dead_letters_count_to_the_limit_of_their_queue(bench):
    bench.queue("q", max_length=1, **{**SAFE, "dead_letter_routing_key": "nowhere"})
    bench.publish("q", *"a")
    reject(bench, "q")
    assert [bench.publish("q").accepted for _ in range(2)] == [True, False]


def test_a_deleted_queue_forgets_its_safe_dead_letters(bench):
    bench.queue("q", **{**SAFE, "dead_letter_routing_key": "nowhere"})
    bench.publish("q", "a")
    reject(bench, "q")
    bench.vhost.queue_delete("q", bench.me)
    assert bench.memory.used == 0
    assert bench.scheduler.pause() is None


def test_a_message_whose_headers_cannot_be_read_is_passed_on_as_it_is(bench):
    bench.queue("q", **TO_DEAD)
    header = bytearray(content_header(headers={"a": 1}))
    header[-2] = 0xFF  # no such field type
    bench.vhost.publish(Message("", "q", bytes(header), b"odd"))
    reject(bench, "q")
    message = bench.take("dead")
    assert (message.body, message.header) == (b"odd", bytes(header))
