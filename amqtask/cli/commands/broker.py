"""``amqtask broker``: the dev broker in the foreground, and ``amqtask broker do`` for one that runs. Owns both."""

from __future__ import annotations

import errno
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import JSON_OPTION, Group
from amqtask.cli.output import say
from amqtask.cli.ports import AMQP_PORT, is_free
from amqtask.errors import BrokerUnavailable

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup
    from amqtask.testing.devbroker import DevBroker

CONTROL_VARIABLE = "AMQTASK_DEV_BROKER_CONTROL"
"""See :mod:`amqtask.app.dev`, which is too slow to load for --help."""

BANNER = "development only: nothing survives a restart"

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SIZE = re.compile(r"(\d+) *([KMG]i?)?B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def _read_size(_context: click.Context, _parameter: click.Parameter, value: str) -> int | None:
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise click.BadParameter(f"{value!r} is not a size; write for example 256MiB, or 0 for no limit")
    return int(found[1]) * _UNITS[(found[2] or "").lower()] or None


@click.group("broker", cls=Group, invoke_without_command=True, short_help="Run a broker for development.")
@click.option("--host", default="127.0.0.1", metavar="HOST", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=AMQP_PORT,
    metavar="PORT",
    show_default=True,
    help="Port to listen on; 0 for any free one.",
)
@click.option(
    "--memory-limit", default="256MiB", show_default=True, metavar="SIZE", callback=_read_size,
    help="Of stored messages; at the limit publishers are blocked. 0 for none.",
)  # fmt: skip
@click.option("--vhost", "vhosts", multiple=True, metavar="NAME", help="A vhost besides /; may be repeated.")
@click.option("--control", metavar="PATH", help="Make a control socket there, for 'amqtask broker do'.")
@click.option("--trace", is_flag=True, help="Print every AMQP method.")
@click.pass_context
def broker(
    context: click.Context, /, host: str, port: int, memory_limit: int | None, vhosts: tuple[str, ...],
    control: str | None, trace: bool,
) -> int | None:  # fmt: skip
    """Run a broker in memory until SIGTERM or Ctrl-C, and print its URL: RabbitMQ's behaviour, nothing to install.

    For development and tests only: nothing survives a restart, and everybody who can connect may do everything.

    \b
    amqtask broker
    amqtask broker --port 0 --vhost shop --trace
    amqtask broker --control /tmp/broker.sock
    amqtask broker do drop_connections --control /tmp/broker.sock
    """  # noqa: D301 -- click reads \b as "keep these lines"
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return None
    from amqtask.testing.devbroker import DevBroker  # noqa: PLC0415 -- loads asyncio

    setup: Setup = context.obj
    setup.enter_workdir()
    names = list(dict.fromkeys(("/", *vhosts)))
    stops = {signal.SIGINT, signal.SIGTERM}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # before there is a thread that could take them
    try:
        made = DevBroker(
            host=host, port=port, memory_limit=memory_limit, vhosts=names,
            trace=_print if trace else None, control=None if control is None else Path(control),
        )  # fmt: skip
        with _started(made, host, port, control):
            for name in names:
                _print(made.vhost_url(name))
            say(setup, BANNER)
            if host not in _LOOPBACK:
                say(setup, f"Whoever can reach {host}:{made.port} may do everything here, with the user guest.")
            signal.sigwait(stops)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return 0


def _started(made: DevBroker, host: str, port: int, control: str | None) -> DevBroker:
    try:
        return made.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and not is_free(host, port):
            raise BrokerUnavailable(
                f"port {port} of {host} is taken, perhaps by a RabbitMQ, which can be used as it is; another port: "
                f"--port {port + 1}, any free one: --port 0"
            ) from None
        about = f"{host}:{port}" if control is None else f"{host}:{port} and {control}"
        raise BrokerUnavailable(f"can't listen on {about}: {error.strerror or error}") from None


def _refuse_options(context: click.Context) -> None:
    """Options of the broker itself mean nothing to a broker that runs."""
    for name in context.params:
        if name != "control" and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = name.replace("vhosts", "vhost").replace("_", "-")
            raise click.UsageError(f"--{option} is for starting a broker, not for 'amqtask broker do'.", context)


def _print(line: str) -> None:
    print(line, flush=True)


@broker.command("do", short_help="Look into a broker that runs, or break something in it.")
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@click.option("--control", metavar="PATH", help=f"Its control socket.  [env: {CONTROL_VARIABLE}]")
@JSON_OPTION
@click.pass_context
def do(
    context: click.Context, /, name: str | None, arguments: tuple[str, ...], control: str | None, as_json: bool
) -> None:
    """Have a running dev broker do NAME, for tests of what your program makes of it. Without NAME: list them.

    Arguments are given in order or as NAME=VALUE.

    \b
    amqtask broker do queues /
    amqtask broker do drop_connections
    amqtask broker do delay_confirms 2.5 vhost=shop
    amqtask broker do heal
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.cli import steering  # noqa: PLC0415 -- --help needs none of it

    setup: Setup = context.obj
    if name is None:
        steering.list_commands(setup, as_json=as_json)
        return
    assert context.parent is not None
    path = control or context.parent.params["control"] or os.environ.get(CONTROL_VARIABLE)
    request = steering.read_request(name, arguments)
    if not path:
        raise click.UsageError("Which broker? Give --control PATH, as the broker was given it.", context)
    steering.show(setup, steering.ask(Path(path), request), as_json=as_json)


COMMAND = broker
