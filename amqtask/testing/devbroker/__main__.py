"""The broker as a process: ``python -m amqtask.testing.devbroker``. Owns the options, the banner and signals."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from amqtask.testing.devbroker.embedded import DevBroker
from amqtask.testing.devbroker.state import MEMORY_LIMIT


def main(arguments: list[str] | None = None) -> int:
    """Run a broker until SIGINT or SIGTERM; with ``--announce`` until standard input ends."""
    options = _parser().parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    broker = DevBroker(
        host=options.host,
        port=options.port,
        memory_limit=options.memory_limit or None,
        vhosts=["/", *(name for name in options.vhost if name != "/")],
        users=dict(options.user) if options.user else None,
        trace=_print if options.trace else None,
        control=options.control,
    )
    try:
        broker.start()
    except OSError as error:
        print(f"can't listen on {options.host}:{options.port}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    with broker:
        if options.announce:
            control = None if options.control is None else str(options.control)
            _print(json.dumps({"url": broker.url, "control": control, "pid": os.getpid()}))
            threading.Thread(target=_wait_for_end_of_input, args=(ended,), daemon=True).start()
        else:
            _print(f"amqtask dev broker at {broker.url}\ndevelopment only: nothing survives a restart")
            if not broker.loopback:
                _print("other machines can reach it, and whoever knows a password may do everything")
        ended.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m amqtask.testing.devbroker",
        description="An AMQP 0-9-1 broker in memory. Development only: nothing survives a restart.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; others than loopback let strangers in")
    add("--port", type=int, default=0, help="0 for a free one")
    add(
        "--memory-limit",
        type=int,
        default=MEMORY_LIMIT,
        metavar="BYTES",
        help="of stored messages, from which on publishers are blocked; 0 for none",
    )
    add("--vhost", action="append", default=[], metavar="NAME", help="besides /; may be repeated")
    add("--user", action="append", type=_user, metavar="NAME:PASSWORD", help="instead of guest; may be repeated")
    add("--control", type=Path, metavar="PATH", help="open a control socket there")
    add("--trace", action="store_true", help="print every method")
    add(
        "--announce",
        action="store_true",
        help="print one line of JSON with url, control and pid instead of the banner; end when standard input does",
    )
    return parser


def _user(text: str) -> tuple[str, str]:
    name, separator, password = text.partition(":")
    if not (name and separator):
        raise argparse.ArgumentTypeError("expected NAME:PASSWORD")
    return name, password


def _wait_for_end_of_input(ended: threading.Event) -> None:
    while sys.stdin.buffer.read(1 << 16):
        pass
    ended.set()


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
