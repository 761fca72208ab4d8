"""``amqtask demo``: tasks, a retry and a dead letter in a few seconds, with nothing but Python. Owns its course."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from amqtask.cli.broker import open_admin
from amqtask.cli.command import Command
from amqtask.cli.output import count
from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.app.app import Amqtask
    from amqtask.cli.demonstration import Story
    from amqtask.cli.setup import Setup
    from amqtask.worker.embedded import EmbeddedWorker

PREFIX = "amqtask.demo."

_PATIENCE = 30.0
"""Seconds; it takes one."""


@click.command("demo", cls=Command, short_help="See tasks run: a few seconds, nothing to install.")
@click.pass_obj
def demo(setup: Setup) -> None:
    """Send tasks to two queues and run them, with a retry and a dead letter, and tell what happens.

    A dev broker is started for it, unless -b or AMQTASK_BROKER_URL names a broker. There the queues, whose
    names begin with amqtask.demo, are removed at the end.
    """
    from amqtask.cli import demonstration  # noqa: PLC0415 -- --help needs none of it

    calls = demonstration.CALLS
    story = demonstration.Story(demonstration.process_start(), len(calls))
    app = setup.loaded = demonstration.new_app()
    given = _choose_broker(setup, app)
    story.tell("broker", f"{app.broker_urls[0]}{'' if given else '  (in memory, for development only)'}")
    try:
        with _heard_by(story), _worker(app) as worker:
            queues = " and ".join(name for name, _ in worker.options.queues)
            story.tell("worker", f"up to {worker.options.concurrency} tasks at once, from {queues}")
            for name, argument in calls:
                app.send_task(name, (argument,))
                story.tell("sent", f"{name}({argument!r})")
            if not story.over.wait(_PATIENCE):
                raise AmqtaskError(f"the tasks have not ended within {_PATIENCE:g} s")
        _report(app, story, len(calls))
    finally:
        if given:
            _remove_queues(app)


def _choose_broker(setup: Setup, app: Amqtask) -> bool:
    """Point the app to the broker that was given, if one was; else start one."""
    from amqtask.app import dev  # noqa: PLC0415
    from amqtask.config.sources import Source  # noqa: PLC0415

    if setup.broker is not None:
        app.configuration.update({"broker_url": setup.broker}, Source.COMMAND_LINE)
    elif app.configuration.origin("broker_url") is Source.DEFAULT:
        app.conf.broker_url = "dev://"
        if not os.environ.get(dev.URL_VARIABLE):
            dev.start()
            return False
    return True


@contextmanager
def _heard_by(story: Story) -> Iterator[None]:
    """What the worker logs about tasks goes to the story, and only there."""
    logger = logging.getLogger("amqtask.task")
    logger.setLevel(logging.INFO)
    logger.addHandler(story)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(story)


def _worker(app: Amqtask) -> EmbeddedWorker:
    from amqtask.worker.embedded import EmbeddedWorker  # noqa: PLC0415
    from amqtask.worker.options import Requested, resolve  # noqa: PLC0415

    names = [name for name in app.topology.queues if name.startswith(PREFIX)]
    requested = Requested(queues=names, pool="threads", concurrency=4, quiet=True)
    return EmbeddedWorker(app, resolve(requested, app.topology, app.settings))


def _report(app: Amqtask, story: Story, sent: int) -> None:
    from amqtask.app.dead import DeadLetters  # noqa: PLC0415
    from amqtask.cli.demonstration import FILES  # noqa: PLC0415

    with open_admin(app) as admin:
        letters = list(DeadLetters(admin, FILES).read())
    done, retries, dead = story.counts["task-succeeded"], story.counts["task-retried"], len(letters)
    print(f"""
{sent} tasks sent: {done} done, {retries} retried, {count(dead, "dead letter")}. A dead letter keeps its arguments and
its error in {FILES}.dead; 'amqtask dead' lists and retries it.
The first task was done {story.first or 0:.2f} s after the start of this program.

Your own project: amqtask init shop""")


def _remove_queues(app: Amqtask) -> None:
    from amqtask.topology.queue_names import queue_names  # noqa: PLC0415 -- --help needs none of it

    with open_admin(app) as admin:
        for name in queue_names(app.topology):
            if name.startswith(PREFIX):
                admin.delete_queue(name)


COMMAND = demo
