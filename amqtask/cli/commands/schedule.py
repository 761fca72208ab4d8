"""``amqtask schedule``: periodic tasks looked at and changed while the scheduler runs. Owns these commands."""

from __future__ import annotations

import heapq
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.command import JSON_OPTION, Group
from amqtask.cli.commands.call import _json_of as json_of
from amqtask.cli.output import print_json, print_table
from amqtask.cli.worker_options import read_seconds
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from amqtask.app.app import Amqtask
    from amqtask.app.schedules import Scheduled
    from amqtask.cli.setup import Setup
    from amqtask.schedules.entry import Entry


@click.group("schedule", cls=Group, short_help="Periodic tasks: look at them and change them.")
def schedule() -> None:
    """Periodic tasks: what is due next, and changes at run time.

    Changes are kept in the broker, or in the table that beat_schedule_store names; they hold until they are taken
    back, whatever is restarted.
    """


@schedule.command("list", short_help="All periodic tasks.")
@JSON_OPTION
@click.pass_obj
def list_(setup: Setup, as_json: bool) -> None:
    """List all periodic tasks with their last and their next run."""
    found = _app(setup).schedules.list()
    if as_json:
        print_json([_plain(one) for one in found])
        return
    rows = [
        (one.name, one.entry.task, one.entry.words, _shown(one.last, one.entry), _next(one), one.runs, _state(one))
        for one in found
    ]
    print_table(setup, ("name", "task", "schedule", "last due", "next", "runs", ""), rows, right=("runs",))


@schedule.command("next", short_help="The coming runs.")
@click.argument("name", required=False)
@click.option("-n", "--count", "number", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@JSON_OPTION
@click.pass_obj
def next_(setup: Setup, name: str | None, number: int, as_json: bool) -> None:
    """Print the coming runs of all periodic tasks, or of NAME, in the zones of their schedules."""
    known = _app(setup).schedules.list()
    found = [one for one in known if name in (None, one.name)]
    if name is not None and not found:
        hint = did_you_mean(name, (one.name for one in known))
        raise click.UsageError(f"there is no periodic task {name!r}{hint}")
    runs = [(due, one) for due, one in _coming(found, number)]
    if as_json:
        print_json([{"due": due.isoformat(), "name": one.name, "task": one.entry.task} for due, one in runs])
        return
    print_table(
        setup, ("due", "name", "task"), [(_shown(due, one.entry), one.name, one.entry.task) for due, one in runs]
    )


def _coming(found: list[Scheduled], number: int) -> Iterator[tuple[datetime, Scheduled]]:
    heap = [(one.next, place) for place, one in enumerate(found) if one.next is not None]
    heapq.heapify(heap)
    while heap and number:
        due, place = heapq.heappop(heap)
        yield due, found[place]
        number -= 1
        if (following := found[place].entry.next(due)) is not None:
            heapq.heappush(heap, (following, place))


@schedule.command("add", short_help="Add a periodic task.")
@click.argument("name")
@click.argument("task")
@click.option("--every", metavar="DURATION", callback=read_seconds, help="How often: 90s, 10m; or seconds.")
@click.option("--cron", metavar="LINE", help="A cron line, or @daily.")
@click.option("--tz", metavar="ZONE", help="Zone of the clock.  [default: setting timezone]")
@click.option("-a", "--args", metavar="JSON", callback=json_of(list, "list"), help="Arguments: '[1, 2]'.")
@click.option("-k", "--kwargs", metavar="JSON", callback=json_of(dict, "object"), help="Keyword arguments.")
@click.option("--queue", metavar="QUEUE", help="Send it to this queue.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9; 9 goes first.")
@click.option(
    "--expires", metavar="DURATION", callback=read_seconds, help="Don't start it later than this after it was sent."
)
@click.option("--jitter", metavar="DURATION", callback=read_seconds, help="Send it later by a random time up to this.")
@click.option("--catchup", type=click.Choice(["none", "one", "all"]), help="Of missed due times.")
@click.option(
    "--overlap", type=click.Choice(["allow", "skip", "buffer_one", "cancel_previous"]),
    help="While the run before has not ended.",
)  # fmt: skip
@click.option(
    "--overlap-timeout", metavar="DURATION", callback=read_seconds,
    help="When a run counts as ended although nobody said so.  [default: a day]",
)  # fmt: skip
@click.pass_obj
def add(setup: Setup, /, name: str, task: str, every: float | None, cron: str | None, **given: Any) -> None:
    """Add the periodic task NAME, which sends TASK; or replace one that was added."""
    if (every is None) == (cron is None):
        raise click.UsageError("Give either --every or --cron.")
    entry = {key: value for key, value in given.items() if value not in (None, [], {})}
    app, when = _app(setup), {"cron": cron} if every is None else every
    _check(app, name, {"task": task, "schedule": when, **entry})
    app.schedules.add(name, task, when, **entry)
    print(f"{name} added")


def _check(app: Amqtask, name: str, given: dict[str, Any]) -> None:
    """As the scheduler does with what the program declares: it could only tell its log."""
    from amqtask import clock  # noqa: PLC0415 -- --help needs none of it
    from amqtask.beat.occurrences import Occurrences  # noqa: PLC0415
    from amqtask.config.zones import home_zone  # noqa: PLC0415
    from amqtask.schedules.entry import read_entry  # noqa: PLC0415

    entry = read_entry(name, given, home_zone(app.settings.timezone))
    Occurrences(app, "").check([entry], clock.utcnow())


def _changing(name: str, help_text: str, done: str, change: Callable[[Any], Callable[[str], None]]) -> None:
    @schedule.command(name, short_help=help_text, help=help_text)
    @click.argument("name")
    @click.pass_obj
    def command(setup: Setup, name: str) -> None:
        change(_app(setup).schedules)(name)
        print(f"{name} {done}")


_changing("pause", "Send it no more until it is resumed.", "paused", lambda schedules: schedules.pause)
_changing("resume", "Send it again.", "resumed", lambda schedules: schedules.resume)
_changing(
    "remove", "Remove one that was added, or the changes to a declared one.", "removed",
    lambda schedules: schedules.remove,
)  # fmt: skip
_changing("run-now", "Send it once, out of turn.", "is to run", lambda schedules: schedules.run_now)


@schedule.command("release", short_help="Have its run count as ended.")
@click.argument("name")
@click.option("--force", is_flag=True, help="Even if a worker says that it has the run.")
@click.pass_obj
def release(setup: Setup, name: str, force: bool) -> None:
    """Have the run of NAME count as ended that holds up others (overlap): its message was purged, or is lost.

    The broker does not tell whether a message is lost. Workers are asked first whether they have it; a retry that waits
    for its time, and a worker that does not answer, are not seen.
    """
    app = _app(setup)
    known = next((one for one in app.schedules.list() if one.name == name), None)
    run = None if known is None else known.run
    if run is not None and not force:
        answers = app.control.inspect().query_task(run) or {}
        if having := [node for node, found in answers.items() if found]:
            raise click.UsageError(f"{', '.join(having)} has its run {run}; --force releases it all the same")
    # one that has begun since then is nobody's mistake
    released = (known is None or run is not None) and app.schedules.release(name, run)
    print(f"{name} released" if released else f"no run of {name} holds up others")


def _app(setup: Setup) -> Amqtask:
    app = setup.load("app")
    app.load_tasks()
    return app


def _shown(moment: datetime | None, entry: Entry) -> str | None:
    zone = next((one.tz for one in entry.schedules if one.tz is not None), UTC)
    return None if moment is None else moment.astimezone(zone).isoformat(" ", "seconds")


def _next(one: Scheduled) -> str | None:
    return _shown(one.next, one.entry)


def _state(one: Scheduled) -> str:
    words = {
        "paused": not one.entry.enabled,
        "added": one.added,
        "not taken in yet": one.pending,
        f"runs since {_shown(one.running_since, one.entry)}": one.running_since is not None,
    }
    return ", ".join(word for word, holds in words.items() if holds)


def _plain(one: Scheduled) -> dict[str, Any]:
    from amqtask.schedules.entry import spec_of  # noqa: PLC0415

    return {
        "name": one.name,
        **spec_of(one.entry),
        "last": None if one.last is None else one.last.isoformat(),
        "next": None if one.next is None else one.next.isoformat(),
        "runs": one.runs,
        "paused": not one.entry.enabled,
        "added": one.added,
        "pending": one.pending,
        "running_since": None if one.running_since is None else one.running_since.isoformat(),
        "run": one.run,
    }


COMMAND = schedule
