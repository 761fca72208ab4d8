"""``amqtask purge``: throw away what waits in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.broker import open_admin
from amqtask.cli.command import FORCE_OPTION, Command
from amqtask.cli.output import confirm, count
from amqtask.errors import TopologyError

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.command("purge", cls=Command, short_help="Throw away all waiting messages of a queue.")
@click.argument("queue")
@FORCE_OPTION
@click.pass_obj
def purge(setup: Setup, queue: str, force: bool) -> None:
    """Throw away every message that waits in QUEUE; they are gone for good.

    Messages that a worker holds already are not touched. QUEUE.dead and QUEUE.retry.* can be named too.
    """
    from amqtask.topology.queue_names import check_queue_name  # noqa: PLC0415 -- --help needs none of it

    app = setup.load()
    check_queue_name(app.topology, queue)
    with open_admin(app) as admin:
        state = admin.queue_state(queue)
        if state is None:
            raise TopologyError(f"queue {queue!r} does not exist on the broker; 'amqtask topology apply' makes it")
        if state.ready:
            confirm(f"Throw away {count(state.ready, 'message')} of {queue}?", force)
        print(f"{count(admin.purge(queue) if state.ready else 0, 'message')} purged from {queue}")


COMMAND = purge
