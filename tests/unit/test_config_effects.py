"""What settings of Celery's do: queues, messages, prefetch, ends of tasks, annotations."""

from __future__ import annotations

import types

import pytest

from amqtask import Amqtask, ConfigError, Queue
from amqtask.broker.loop import SelectLoop
from amqtask.errors import TopologyError
from amqtask.execution.job import Kind, Outcome
from amqtask.tasks.context import Context, running
from amqtask.topology.declarations import QueueDeclare, Version
from amqtask.topology.layout import topology_steps
from amqtask.worker.custody import narrate
from amqtask.worker.deliveries.outcome import Effects, dropped_kinds
from amqtask.worker.options import Requested, resolve
from tests.worker_messages import delivery

RABBIT = Version(3, 10, 8)


def declared(app, name):
    """The x-arguments a queue is declared with."""
    steps = topology_steps(app.topology, RABBIT, [name])
    return next(step.arguments for step in steps if isinstance(step, QueueDeclare) and step.name == name)


def message(app, task="t", **options):
    """What one call would send."""
    return app._wiring.messages.build(task, app.tasks[task].options, ((), {}), options)


def app_with(**settings):
    app = Amqtask("x", **settings)

    @app.task(name="t")
    def t():
        return 1

    return app


def test_the_default_queue_can_be_on_an_exchange_of_its_own():
    app = app_with(
        task_default_queue="mine",
        task_default_exchange="tasks",
        task_default_exchange_type="topic",
        task_default_routing_key="task.#",
    )
    queue = app.topology.default_queue
    assert (queue.name, queue.exchange.name, queue.exchange.type, queue.routing_key) == (
        "mine", "tasks", "topic", "task.#",
    )  # fmt: skip
    assert "tasks" in app.topology.exchanges


def test_the_default_type_of_queues_holds_for_those_that_say_none():
    app = app_with(task_default_queue_type="classic", task_queues=[Queue("a"), Queue("b", type="quorum")])
    assert (app.topology.queue("a").type, app.topology.queue("b").type) == ("classic", "quorum")
    assert app.topology.default_queue.type == "classic"


def test_in_a_celery_deployment_the_type_is_celerys_argument():
    app = app_with(interop="celery", task_default_queue_type="quorum", task_queues=["a"])
    for name in ("a", "celery", "any.other"):
        assert declared(app, name) == {"x-queue-type": "quorum"}
    assert declared(app_with(interop="celery", task_default_queue_type="classic"), "celery") == {}


def test_the_highest_priority_holds_for_queues_that_say_none():
    app = app_with(interop="celery", task_queue_max_priority=5, task_queues=[Queue("a"), Queue("b", max_priority=3)])
    assert declared(app, "a") == declared(app, "other") == {"x-max-priority": 5}
    assert declared(app, "b") == {"x-max-priority": 3}


def test_missing_queues_are_made_only_when_that_is_asked_for():
    with pytest.raises(TopologyError, match="no queue 'new'"):
        app_with().topology.queue("new")
    app = app_with(task_create_missing_queues=True, task_default_queue_type="classic")
    assert declared(app, "new")["x-dead-letter-routing-key"] == "new.dead"
    assert resolve(Requested(queues=["new"]), app.topology, app.settings).queues == (("new", 1),)
    closed = app_with(interop="celery", task_create_missing_queues=False)
    with pytest.raises(TopologyError, match="no queue 'new'"):
        closed.topology.queue("new")


def test_messages_can_be_transient():
    assert message(app_with()).properties.delivery_mode == 2
    assert message(app_with(task_default_delivery_mode="transient")).properties.delivery_mode == 1


def test_a_task_sent_by_a_task_can_inherit_its_priority():
    app, usual = app_with(task_inherit_parent_priority=True, task_default_priority=1), app_with(task_default_priority=1)
    with running(Context("parent", id="1", priority=7)):
        assert message(app).properties.priority == 7
        assert message(app, priority=3).properties.priority == 3
        assert message(usual).properties.priority == 1
    assert message(app).properties.priority == 1


@pytest.mark.parametrize(
    ("settings", "prefetch"),
    [
        ({}, None),
        ({"worker_prefetch_multiplier": 4}, 12),
        ({"worker_prefetch_multiplier": 0}, 65_535),
        ({"worker_prefetch_multiplier": 1, "worker_prefetch": 50}, 50),
        ({"worker_prefetch_multiplier": 4, "worker_disable_prefetch": True}, 3),
    ],
)
def test_the_prefetch_follows_the_multiplier(settings, prefetch):
    app = app_with(worker_concurrency=3, **settings)
    options = resolve(Requested(), app.topology, app.settings)
    assert (options.prefetch, options.fair) == (prefetch, "worker_disable_prefetch" in settings)


def test_failed_messages_are_dropped_only_when_that_is_asked_for():
    given = delivery()

    def effect(kind, **settings):
        effects = Effects(Queue, "w@h", [], 3, dropped_kinds(Amqtask("x", **settings).settings))
        return effects.of(given, Outcome(given.key, kind, text="x"))

    assert effect(Kind.FAILED).dead == "failed"
    assert effect(Kind.TIMED_OUT, task_acks_on_failure=True).dead == "time_limit"
    dropped = effect(Kind.FAILED, task_acks_on_failure=True)
    assert (dropped.message, dropped.dead) == (None, "")
    assert dropped.lost is not None, "its result still says that it failed"
    assert effect(Kind.TIMED_OUT, task_acks_on_failure_or_timeout=True).message is None
    assert effect(Kind.REFUSED, task_acks_on_failure_or_timeout=True).dead == "refused_content"


def test_annotations_replace_options_of_tasks_when_they_are_first_needed():
    app = app_with(task_annotations={"*": {"rate_limit": "10/s", "max_retries": 7}, "t": {"max_retries": None}})
    app.load_tasks()
    assert app.tasks["t"].options.max_retries is None
    assert app.tasks["t"].options.rate_limit is not None

    @app.task(name="later")
    def later():
        """Declared when the settings were in use already."""

    assert later.options.max_retries == 7


def test_annotations_can_be_objects_functions_and_attributes():
    class Annotate:
        def annotate(self, task):
            return {"priority": 3} if task.name == "t" else None

    def on_failure(self, *args):
        return self.name

    app = app_with(task_annotations=[Annotate(), lambda _task: {"serializer": "json"}, {"t": {"__doc__": "New."}}])
    app.load_tasks()
    task = app.tasks["t"]
    assert (task.options.priority, task.options.serializer, task.__doc__) == (3, "json", "New.")
    assert message(app).properties.content_type == "application/json"


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"t": {"rate_limt": "1/s"}}, "no option 'rate_limt'; did you mean 'rate_limit'"),
        ({"*": {"max_retries": -1}}, "task_annotations: t: .*max_retries"),
        ([3], "a mapping or an object with annotate"),
    ],
)
def test_annotations_are_checked(annotations, said):
    app = app_with(task_annotations=annotations)
    with pytest.raises(ConfigError, match=said):
        app.load_tasks()


def test_modules_of_imports_are_loaded_too(monkeypatch):
    seen = []
    monkeypatch.setattr("amqtask.app.app.import_module", seen.append)
    app = app_with(imports=["a", "b"], include=["c"])
    app.load_tasks()
    assert seen == ["a", "b", "c"]


def test_queues_of_kombu_are_read_by_any_app():
    queue = types.SimpleNamespace(
        name="a", exchange=types.SimpleNamespace(name="xa", type="topic"), routing_key="k.#", max_priority=None,
        queue_arguments={"x-max-length": 9},
    )  # fmt: skip
    made = app_with(task_queues=(queue,)).topology.queue("a")
    assert (made.exchange.name, made.exchange.type, made.routing_key) == ("xa", "topic", "k.#")
    assert made.arguments == {"x-max-length": 9}


def test_a_dropped_failure_is_told_as_a_failure(caplog):
    given, failed = delivery(), Outcome(1, Kind.FAILED, text="no such file", runtime=0.5)
    effects = Effects(Queue, "w@h", [], 3, {Kind.FAILED})
    with caplog.at_level("INFO"):
        ends = narrate.Ends(SelectLoop())
        ends.add(given, failed, effects.of(given, failed))
        ends.write()
    (line,) = caplog.messages
    assert line.endswith("failed, and its message is dropped, after 0.500s: no such file")
