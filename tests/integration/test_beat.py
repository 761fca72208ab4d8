"""The scheduler against a broker: one leads, each due time is sent once, and it can be changed while it runs."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from urllib.parse import urlsplit

import pika
import pytest
from beats import QUEUE, beating, judged, leads, new_app, taken
from proxy import Proxy
from waiting import wait_for

from amqtask import ConfigError, TopologyError
from amqtask.beat.occurrences import occurrence_id
from amqtask.beat.service import start_beat
from amqtask.broker.admin import Admin
from amqtask.broker.pika_mends import MendedChannel
from amqtask.errors import AccessRefused
from amqtask.schedules.records import HEADER, log_queue, record_message
from amqtask.topology.declarations import QueueDeclare
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def make(vhost_url):
    apps = []

    def app(schedule=None, url=vhost_url, **settings):
        apps.append(new_app(url, schedule, **settings))
        return apps[-1]

    yield app
    for one in apps:
        one.close()


def every(seconds, **more):
    return {"tick": {"task": "tick", "schedule": seconds, **more}}


def test_an_occurrence_is_a_task_message_with_the_id_of_its_due_time(make):
    app = make(every(0.2, args=[1], kwargs={"x": 2}, options={"priority": 7, "headers": {"own": "one"}}, expires=60))
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count)
    with Admin(app.broker_urls, app.connection_options) as admin:
        message = admin.get(QUEUE)
    headers = message.properties.headers
    mark = headers[HEADER]
    from datetime import datetime

    assert headers["id"] == occurrence_id("beats", "tick", datetime.fromisoformat(mark["due"]))
    assert (headers["task"], headers["own"], message.properties.priority) == ("tick", "one", 7)
    assert "expires" in headers
    assert "BCC" not in headers


def test_one_of_several_leads_and_the_next_takes_over_at_once(make):
    first, second = make(every(0.25, catchup="all")), make(every(0.25, catchup="all"))
    with beating(second) as standby:
        wait_for(lambda: leads(standby))
        with beating(first) as other:
            assert not leads(other)
            wait_for(lambda: standby.pulse.sent_count > 2)
            standby.stop()
            wait_for(lambda: leads(other), timeout=15)  # a connection that nobody serves would keep the lead for 20 s
            wait_for(lambda: other.pulse.sent_count > 2)
    dues = [due for _, due in taken(first)]
    assert judged(dues, 0.25) == (0, 0)
    assert dues == sorted(dues)


def test_a_leader_whose_connection_breaks_sends_nothing_twice(make, vhost_url):
    parts = urlsplit(vhost_url)
    with Proxy(parts.hostname, parts.port) as proxy:
        app = make(every(0.1, catchup="all"), proxy.url(vhost_url))
        with beating(app) as beat:
            for round_ in range(2):
                wait_for(lambda: leads(beat))
                sent, before = beat.pulse.sent_count, proxy.connections
                wait_for(lambda: beat.pulse.sent_count > sent + 3)  # noqa: B023
                if round_ % 2:
                    proxy.cut()
                else:
                    proxy.cut_after(700)  # in the middle of a message
                wait_for(lambda: proxy.connections > before)  # noqa: B023
            wait_for(lambda: leads(beat))
    assert judged([due for _, due in taken(make())], 0.1) == (0, 0)


def test_what_was_missed_is_caught_up_as_the_entry_says(make):
    schedule = {
        policy: {"task": "tick", "schedule": 0.2, "catchup": policy, "deadline": 0.1 if policy == "none" else None}
        for policy in ("none", "one", "all")
    }
    with beating(make(schedule)) as beat:
        wait_for(lambda: beat.pulse.sent_count > 2)
    before = taken(make())
    ended = time.time()
    wait_for(lambda: time.time() > ended + 1.0)
    begun = time.time()
    with beating(make(schedule)) as beat:
        wait_for(lambda: beat.pulse.sent_count >= 8)
    dues = taken(make())
    away = [(entry, due) for entry, due in dues if ended + 0.2 < due < begun - 0.2]
    missed = {name: [due for entry, due in away if entry == name] for name in schedule}
    assert before
    assert missed["none"] == []
    assert len(missed["one"]) <= 2
    assert judged([due for entry, due in before + dues if entry == "all"], 0.2) == (0, 0)


def test_the_schedule_can_be_changed_while_it_runs_and_keeps_the_changes(make):
    app = make(every("@daily"))
    with beating(app) as beat:
        wait_for(lambda: leads(beat))
        app.schedules.add("often", "tick", 0.1, args=["added"])
        wait_for(lambda: "often" in beat.leader.entries)
        app.schedules.pause("tick")
        app.schedules.run_now("tick")
        wait_for(lambda: beat.pulse.sent_count > 3)
        app.schedules.pause("often")
        wait_for(lambda: not beat.leader.entries["often"].enabled)
        listed = {one.name: one for one in app.schedules.list()}
        assert listed["tick"].next is None
        assert (listed["tick"].runs, listed["tick"].added, listed["often"].added) == (1, False, True)
        app.schedules.update("often", schedule=7200, queue=QUEUE)
        app.schedules.resume("often")
        wait_for(lambda: beat.leader.entries["often"].enabled)
    assert {name for name, _ in taken(app)} == {"tick", "often"}
    app.schedules.remove("often")
    app.schedules.run_now("tick")  # nobody is there to do so
    assert [one.name for one in app.schedules.list()] == ["tick"]
    with beating(make(every("@daily"))) as beat:
        wait_for(lambda: beat.pulse.sent_count == 1)
        assert not beat.leader.entries["tick"].enabled
    assert [name for name, _ in taken(app)] == ["tick"]


def test_a_name_of_the_program_can_not_be_added_and_nonsense_neither(make):
    app = make(every(60))
    with pytest.raises(ConfigError, match="declared by the program"):
        app.schedules.add("tick", "tick", 5)
    with pytest.raises(ConfigError, match="did you mean 'catchup'"):
        app.schedules.add("other", "tick", 5, catchups="one")
    with pytest.raises(ConfigError, match="can't be kept"):
        app.schedules.add("other", "tick", 5, args=[object()])


@pytest.mark.parametrize(("overlap", "runs"), [("skip", 1), ("buffer_one", 1), ("allow", 3)])
def test_a_run_that_has_not_ended_holds_up_the_next_as_the_entry_says(make, overlap, runs):
    import threading

    app, free, begun = make({}), threading.Event(), []

    @app.task(name="tick")
    def tick():
        begun.append(time.time())
        free.wait(100)

    app.add_periodic_task(0.2, tick, name="tick", overlap=overlap)
    options = resolve(Requested(pool="threads", concurrency=4), app.topology, app.settings)
    with EmbeddedWorker(app, options), beating(app) as beat:
        wait_for(lambda: len(begun) >= runs)  # several may begin between two looks
        looked = time.time()
        wait_for(lambda: time.time() > looked + 0.5)
        if overlap != "allow":
            assert len(begun) == 1
        free.set()
        wait_for(lambda: len(begun) > runs)
        wait_for(lambda: beat.pulse.sent_count > 3)


def test_the_end_of_a_run_is_told_however_long_the_broker_is_away(make, vhost_url):
    """acks_late=False: its message does not come back, so nothing else would tell."""
    import threading

    parts, free, begun = urlsplit(vhost_url), threading.Event(), []
    with Proxy(parts.hostname, parts.port) as proxy:
        away = make({}, proxy.url(vhost_url), broker_confirm_timeout=0.3)

        @away.task(name="tick", acks_late=False)
        def tick():
            begun.append(time.time())
            free.wait(100)

        options = resolve(Requested(pool="threads", concurrency=1), away.topology, away.settings)
        with EmbeddedWorker(away, options), beating(make(every(0.2, overlap="skip"))):
            wait_for(lambda: begun)
            proxy.refuse()
            proxy.cut()
            free.set()
            ended = time.time()
            wait_for(lambda: time.time() > ended + 0.8)  # the first attempt has failed
            proxy.refuse(False)
            wait_for(lambda: len(begun) > 1, timeout=60)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"options": {"expirse": 3}}, "did you mean 'expires'"),
        ({"tz": "Asian/Shanghai"}, "did you mean 'Asia/Shanghai'"),
        ({"kwargs": {"x": object()}}, "'x' can't be sent"),
        ({"options": {"countdown": 3}}, "the schedule says when"),
        ({"options": {"exchange": "nowhere"}}, "no declared queue is bound to exchange 'nowhere'"),
        ({"overlap": "skipp"}, "did you mean 'skip'"),
    ],
)
def test_an_entry_that_can_not_be_sent_is_an_error_at_the_start(make, entry, why):
    with pytest.raises(ConfigError, match=why), beating(make(every(1, **entry))):
        pass


def test_a_run_that_has_not_ended_is_listed(make):
    app = make(every(0.2, overlap="skip"))
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count)
        (one,) = app.schedules.list()
        assert (one.running_since, one.runs) == (beat.leader.state.marks["tick"].began, 1)


def test_each_occurrence_is_told_with_its_lateness(make):
    app, told = make(every(0.2), task_send_sent_event=True), []
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"beat-due": told.append})
        with beating(app) as beat:
            wait_for(lambda: leads(beat))
            wait_for(lambda: list(receiver.itercapture(limit=1, timeout=1)) and told)
    assert (told[0]["entry"], told[0]["name"]) == ("tick", "tick")
    assert told[0]["lateness"] >= 0


def test_without_the_right_to_declare_a_missing_queue_is_an_error_at_the_start(make):
    app = make({}, topology_mode="none")
    with pytest.raises(TopologyError, match="there is no queue amqtask.beat"):
        start_beat(app).run()


def test_arguments_of_a_signature_are_kept(make):
    app = make({})

    @app.task(name="tick")
    def tick(one, two=2):
        pass

    app.schedules.add("later", tick.s(1, two=3), 3600)
    (listed,) = app.schedules.list()
    assert (listed.entry.args, listed.entry.kwargs) == ((1,), {"two": 3})


def test_the_next_run_of_an_interval_is_counted_from_the_last_one(make):
    app = make(every(2.0))
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count)

        def is_counted_from_the_last() -> bool:
            due = beat.leader.state.marks["tick"].last
            wait_for(lambda: time.time() > due + 0.5)
            (listed,) = app.schedules.list()
            return due == beat.leader.state.marks["tick"].last and listed.next.timestamp() - due == 2.0

        wait_for(is_counted_from_the_last)  # at once, unless the next run came meanwhile


def test_a_queue_that_was_deleted_is_made_again_and_the_scheduler_goes_on(make, caplog):
    app = make(every(0.2))
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count)
        with Admin(app.broker_urls, app.connection_options) as admin:
            admin.delete_queue("amqtask.beat.beats")
        wait_for(lambda: not leads(beat))
        wait_for(lambda: leads(beat))
        sent = beat.pulse.sent_count
        wait_for(lambda: beat.pulse.sent_count > sent)
    assert "No longer leading: the broker has ended the consumer of amqtask.beat.beats" in caplog.text


def test_who_asks_and_goes_away_does_not_cost_the_lead(make):
    app = make(every(60))
    with beating(app) as beat:
        wait_for(lambda: leads(beat))
        opened = beat._channel
        with Admin(app.broker_urls, app.connection_options) as admin:
            admin.publish(record_message("amqtask.beat.beats", "query", {}, "nobody.here"))
            admin.publish(record_message("amqtask.beat.beats", "command", {"do": "run_now", "name": "tick"}))
        wait_for(lambda: beat.pulse.sent_count)
        wait_for(lambda: not opened.unconfirmed)
        assert leads(beat)
        assert beat._channel is opened


def test_an_entry_added_for_a_queue_that_nobody_has_made_is_sent_there(make):
    app = make(every(3600), task_create_missing_queues=True)
    with beating(app) as beat:
        wait_for(lambda: leads(beat))
        app.schedules.add("far", "tick", 0.2, queue="other")
        wait_for(lambda: beat.pulse.sent_count > 2)
    with Admin(app.broker_urls, app.connection_options) as admin:
        assert admin.queue_state("other").ready >= 3


def test_a_scheduler_that_is_not_there_is_an_error(make):
    with pytest.raises(ConfigError, match="django_celery_beat"):
        start_beat(make(every(60), beat_scheduler="django_celery_beat.schedulers:DatabaseScheduler"))


def test_occurrences_outlive_the_broker_whatever_the_setting_says(make):
    app = make(every(0.2), task_default_delivery_mode=1)
    with beating(app) as beat:
        wait_for(lambda: beat.pulse.sent_count)
    with Admin(app.broker_urls, app.connection_options) as admin:
        assert admin.get(QUEUE).properties.delivery_mode == 2


def test_a_scheduler_answers_a_ping(make):
    app = make(every(60))
    node = f"beat@{socket.gethostname()}"
    with beating(app):
        wait_for(lambda: app.control.ping(destination=[node], timeout=0.5) == [{node: {"ok": "pong"}}])


def test_a_queue_of_tasks_that_was_deleted_is_made_again(make):
    app = make(every(0.2))
    with beating(app) as beat, Admin(app.broker_urls, app.connection_options) as admin:
        wait_for(lambda: beat.pulse.sent_count)
        admin.delete_queue(QUEUE)
        beat._loop.call_soon_threadsafe(beat.leader._write)  # as each minute
        wait_for(lambda: admin.queue_state(QUEUE) is not None and admin.queue_state(QUEUE).ready)


def test_the_log_is_handed_on_whole_for_no_consumer_is_cancelled_before_its_channel_closes(make, monkeypatch):
    told, usual = [], MendedChannel._rpc

    def rpc(channel, method, *rest):
        told.append(method.NAME)
        return usual(channel, method, *rest)

    monkeypatch.setattr(MendedChannel, "_rpc", rpc)
    with beating(make(every(60))) as beat:
        wait_for(lambda: leads(beat))
    assert "Channel.Close" in told
    assert "Basic.Cancel" not in told


def test_a_log_that_can_not_be_read_is_an_error_at_the_start(make, vhost_url):
    app = make(every(60), topology_mode="none")
    with Admin(app.broker_urls, app.connection_options) as admin:
        admin.declare(QueueDeclare("amqtask.beat.beats"))
    with closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as other:  # as without the right to read
        other.channel().basic_consume("amqtask.beat.beats", print, exclusive=True)
        with pytest.raises(AccessRefused, match="can't read its queue amqtask.beat.beats"):
            start_beat(app).run()


@pytest.mark.parametrize("mode", ["verify", "none"])
def test_a_log_that_several_could_read_is_an_error_where_it_may_not_be_declared(make, mode):
    with beating(make(every(60))):  # makes the queues
        pass
    app, wrong = make(every(60), topology_mode=mode), QueueDeclare("amqtask.beat.beats")
    with Admin(app.broker_urls, app.connection_options) as admin:
        admin.delete_queue("amqtask.beat.beats")
        admin.declare(wrong)
        admin.publish(record_message("amqtask.beat.beats", "command", {"do": "run_now", "name": "tick"}))
        with pytest.raises(TopologyError, match="must be a classic queue with x-single-active-consumer"):
            start_beat(app).run()
        admin.delete_queue("amqtask.beat.beats")
        admin.declare(log_queue("amqtask.beat.beats"))
    with beating(app) as beat, beating(make(every(60), topology_mode=mode)) as other:
        wait_for(lambda: leads(beat))
        assert not leads(other)


def test_a_scheduler_that_ends_while_it_declares_queues_complains_of_nothing(make, caplog):
    with beating(make(every(60))) as beat:
        wait_for(lambda: leads(beat))
        beat.call_soon(lambda: (beat._declare(), beat.stop()))
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
