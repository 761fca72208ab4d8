"""``amqtask monitor``: pages and a JSON API that show a cluster and steer it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from amqtask import logs
from amqtask.cli.command import Command
from amqtask.cli.worker_options import FORMAT_OPTION, LEVEL_OPTION
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.command("monitor", cls=Command, short_help="Watch and steer the cluster in a browser.")
@click.option("--address", metavar="HOST", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=5555,
    show_default=True,
    help="Listen on this port.",
)
@click.option(
    "--basic-auth", metavar="USER:PASSWORD", envvar="AMQTASK_MONITOR_BASIC_AUTH",
    help="Let in only who knows these; better given in AMQTASK_MONITOR_BASIC_AUTH than for everybody to see.",
)  # fmt: skip
@click.option("--no-auth", is_flag=True, help="Let in everybody who reaches the port, on any address.")
@click.option("--read-only", is_flag=True, help="Show everything, change nothing.")
@click.option("--url-prefix", metavar="PATH", default="", help="Be under this path, as /monitor, behind a proxy.")
@click.option(
    "--allowed-host", "allowed_hosts", multiple=True, metavar="NAME",
    help="Name by which browsers reach it through a proxy on this machine; may be repeated.",
)  # fmt: skip
@click.option("--history/--no-history", default=True, help="Read and keep the history in the broker (the default).")
@click.option("--enable-events/--no-enable-events", default=True, help="Ask workers for task events (the default).")
@click.option(
    "--max-tasks", type=click.IntRange(1), default=10_000, show_default=True, help="Tasks kept in memory; the latest."
)
@LEVEL_OPTION
@FORMAT_OPTION
@click.pass_obj
def monitor(
    setup: Setup, /, address: str, port: int, basic_auth: str | None, no_auth: bool, read_only: bool, url_prefix: str,
    allowed_hosts: tuple[str, ...], history: bool, enable_events: bool, max_tasks: int, loglevel: str, logformat: Any,
) -> None:  # fmt: skip
    """Serve pages that show workers, tasks, queues, dead letters and schedules, and change them; until Ctrl-C.

    Every change is written to the log with the command that does the same. The JSON API has Flower's paths. Needs the
    extra 'monitor'.

    \b
    amqtask monitor -A proj
    AMQTASK_MONITOR_BASIC_AUTH=ann:secret amqtask monitor -A proj --address 0.0.0.0
    """  # noqa: D301 -- click reads \b as "keep these lines"
    try:
        from amqtask.monitor import server  # noqa: PLC0415 -- optional
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"starlette", "uvicorn", "jinja2"}:
            raise
        raise ConfigError(f"amqtask monitor needs the package {error.name}: pip install 'amqtask[monitor]'") from None
    from amqtask.monitor.options import (  # noqa: PLC0415
        Options,
        is_loopback,
        read_auth,
        read_host,
        read_prefix,
    )

    loopback = is_loopback(address)
    if not loopback and basic_auth is None and not no_auth:
        raise ConfigError(
            f"--address {address}: everybody who reaches it could stop workers and drop messages; give --basic-auth "
            "USER:PASSWORD, or --no-auth if something in front of it asks for a password"
        )
    options = Options(
        basic_auth=None if basic_auth is None else read_auth(basic_auth),
        read_only=read_only,
        url_prefix=read_prefix(url_prefix),
        allowed_hosts=tuple(map(read_host, allowed_hosts)) if loopback or allowed_hosts else None,
        history=history,
        enable_events=enable_events,
        max_tasks=max_tasks,
        target=setup.app_path or "",
    )
    logs.configure_logging(loglevel, logformat, color=False if setup.no_color else None)
    logs.set_process_name("monitor")
    if logs.level_number(loglevel) == logging.INFO:  # each question to the workers is a connection of its own
        logging.getLogger("amqtask.broker.link").setLevel(logging.WARNING)
    app = setup.load("nothing")
    if setup.app_path is not None:
        app.load_tasks()
    listener = server.listen(address, port)
    with server.monitoring(app, options) as asgi:
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"http://{shown}:{listener.getsockname()[1]}{options.url_prefix}/")
        server.serve(asgi, listener)


COMMAND = monitor
