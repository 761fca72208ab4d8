#!/usr/bin/env python3
"""Measure amqtask beside raw pika, Celery and Dramatiq, on one broker in one session. See README.md.

benchmarks/run.py setup                                     make benchmarks/.venv with everything in it
benchmarks/.venv/bin/python benchmarks/run.py all           every row, three rounds
benchmarks/.venv/bin/python benchmarks/run.py drain -p amqtask -m classic -r 1
benchmarks/.venv/bin/python benchmarks/run.py table --write the figures into README.md
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent
MEASURES = ("enqueue", "drain", "latency", "idle")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def setup() -> None:
    """Make the virtual environment of the benchmark: the peers, pinned, and this amqtask."""
    python = HOME / ".venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", HOME / ".venv"], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", HOME / "requirements.txt", "-e", HOME.parent], check=True)
    print(f"now run: {python} {HOME / 'run.py'} all")


def measure(options: argparse.Namespace) -> int:
    """Measure the chosen rows round by round (so that slow changes of the machine touch all rows alike)."""
    from harness import counter, node  # noqa: PLC0415 -- setup has to work without their dependencies
    from harness.measures import MEASURES as RUN  # noqa: PLC0415
    from harness.measures import Bench  # noqa: PLC0415
    from harness.store import Store  # noqa: PLC0415

    chosen = _chosen(options)
    failures = 0
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(dir=shared) as folder, node.running() as broker:
        counter.create(Path(folder) / "counter")
        log = Path(tempfile.gettempdir()) / "amqtask-benchmark-workers.log"
        store = Store(options.results)
        store.begin(broker)
        with log.open("wb") as output:
            bench = Bench(broker, output, options.scale, options.seconds, options.samples, options.idle)
            for number in range(options.rounds):
                for variant in chosen:
                    try:
                        figures = RUN[variant.measure](variant, bench)
                    except Exception as error:  # one row must not cost the others
                        failures += 1
                        print(f"{variant.key}: FAILED: {error}", flush=True)
                        continue
                    store.add(variant, figures)
                    shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
                    print(f"{number + 1}/{options.rounds}  {variant.key}:  {shown}", flush=True)
                    time.sleep(0.3)
    return 1 if failures else 0


def _chosen(options: argparse.Namespace) -> list:
    from variants import VARIANTS  # noqa: PLC0415

    chosen = [
        variant
        for variant in VARIANTS
        if options.command in ("all", variant.measure)
        and (not options.peer or variant.peer in options.peer)
        and all(word in variant.name for word in options.match)
    ]
    if not chosen:
        sys.exit("no row matches")
    return chosen


def table(options: argparse.Namespace) -> int:
    """Print the figures, or put them into the README between its marks."""
    from harness.store import Store  # noqa: PLC0415
    from harness.tables import markdown  # noqa: PLC0415

    figures = markdown(Store(options.results))
    if not options.write:
        print(figures, end="")
        return 0
    readme = HOME / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n\n{figures}\n{END}{after}")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("setup", help="make the virtual environment")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--results", type=Path, default=HOME / "results.json", help="default: %(default)s")
    for name in ("all", *MEASURES):
        one = commands.add_parser(name, parents=[where], help=f"measure {name}")
        one.add_argument("-p", "--peer", action="append", default=[], help="only this peer; may be repeated")
        one.add_argument("-m", "--match", action="append", default=[], help="only rows with this text; may be repeated")
        one.add_argument("-r", "--rounds", type=int, default=3, help="default: %(default)s")
        one.add_argument("--scale", type=float, default=1.0, help="factor on the messages of a drain")
        one.add_argument("--seconds", type=float, default=3.0, help="of an enqueue run; default: %(default)s")
        one.add_argument("--samples", type=int, default=300, help="of a latency run; default: %(default)s")
        one.add_argument("--idle", type=float, default=5.0, help="seconds of an idle run; default: %(default)s")
    shown = commands.add_parser("table", parents=[where], help="the figures as Markdown")
    shown.add_argument("--write", action="store_true", help="into README.md")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    if options.command == "setup":
        setup()
        return 0
    if options.command == "table":
        return table(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that workers and broker are stopped
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled once, not at each start
    return measure(options)


if __name__ == "__main__":
    sys.exit(main())
