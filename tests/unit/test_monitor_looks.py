"""What the monitor's pages make of values: texts of strangers, times, numbers, the chart, what is wrong, forms."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from amqtask import clock
from amqtask.monitor import rendering
from amqtask.monitor.chart import draw
from amqtask.monitor.deeds import ALL, DEEDS, Fields, FormError
from amqtask.monitor.problems import LATE, Growth, find_problems
from amqtask.monitor.views import Health, Minute, Overview, Queue, Queues, Schedule, Schedules, Worker

NOW = 1_800_000_000.0


def shown(template: str, **values: object) -> str:
    return rendering.new_environment().from_string(template).render(values)


@pytest.mark.parametrize(
    "template", ["{{ x }}", "{{ x|cell }}", "{{ x|label }}", "{{ x|cut(99) }}", '<i title="{{ x }}">']
)
def test_a_text_of_a_stranger_is_escaped_wherever_it_is_shown(template):
    page = shown(template, x="<b>\"&'\u202e\ud800\x00")
    assert "<b>" not in page
    assert "&lt;b&gt;&#34;&amp;&#39;\\u202e\\ud800\\u0000" in page
    page.encode()


def test_a_long_text_is_cut_and_its_title_says_more():
    page = shown("{{ x|cell(5) }}", x="y" * 10_000)
    assert "yyyyy…</bdi>" in page
    assert len(page) < 600


def test_a_line_break_does_not_make_a_row_higher():
    assert shown("{{ x|cell }}", x="a\n\n  b") == "<bdi>a b</bdi>"


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), 1e300, -1e300, "soon", "<b>", "9999-99-99"])
def test_a_moment_that_somebody_made_up_breaks_no_page(moment):
    for name in ("when", "ago"):
        assert "<b>" not in shown(f"{{{{ x|{name} }}}}", x=moment)


def test_a_moment_is_an_element_with_its_iso_form():
    assert 'title="2027-01-15T08:00:00.000Z"' in shown("{{ x|when }}", x=NOW)
    assert shown("{{ x|when }}", x="2027-01-15T09:00:00+01:00") == shown("{{ x|when }}", x=NOW)
    assert shown("{{ x|when }}", x=None) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.5, "500 ms"),
        (1.24, "1.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3725, "1 h 2 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds, words):
    assert rendering.lasting(seconds) == words


def test_a_link_keeps_every_character_of_a_name():
    assert shown("{{ quoted(x) }}", x="a/b?c#d&e@f\ud800") == "a%2Fb%3Fc%23d%26e@f%3F"
    assert rendering.query({"a": "1", "b": ""}, c="x y&z", d=None) == "?a=1&c=x+y%26z"


def test_bars_of_the_chart_fill_its_height_and_nothing_more():
    minutes = [Minute(NOW, 6, 1, 1), Minute(NOW + 60, 0, 0, 0)]
    chart = draw(minutes)
    assert (chart.top, chart.total, chart.lately) == (8, 8, 8)
    assert [name for name, _, _ in chart.bars[0].parts] == ["good", "retry", "bad"]
    assert sum(height for _, _, height in chart.bars[0].parts) == 100
    assert chart.bars[0].parts[-1][1] == 0
    assert chart.bars[1].parts == ()
    assert draw([]).top == 1


def luminance(colour: str) -> float:
    """As WCAG 2 defines it, of ``#rrggbb`` or ``#rgb``."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_told_from_its_ground(scheme):
    sheet = (rendering.HERE / "static" / "monitor.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", re.findall(r":root \{.*?\}", sheet, flags=re.DOTALL)[scheme]))
    grounds = [
        (text, ground) for text in ("text", "quiet", "link") for ground in ("page", "card", "raised", "busy-back")
    ]
    grounds += [(tone, ground) for tone in ("good", "bad", "warn", "busy") for ground in (f"{tone}-back", "card")]
    for text, ground in grounds:
        lighter, darker = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


# -- what is wrong -----------------------------------------------------------------------------------------------------


def overview(*workers: Worker, error: str | None = None) -> Overview:
    health = Health(error is None, error, "memory", None, False, None, None, 0, 0, 1)
    return Overview(
        health=health, workers=workers, states={}, recent=(), failures=(), minutes=(), app="a", broker="amqp://b"
    )


def queues(*rows: Queue, error: str | None = None) -> Queues:
    return Queues(rows, None, error, NOW)


def found(
    *workers: Worker,
    rows: tuple[Queue, ...] = (),
    due: float | None = None,
    paused: bool = False,
    last: float | None = NOW,
) -> list[str]:
    schedule = Schedule("s", "t", "every 1s", last, due, 0, paused, False, False, None)
    asked = queues(*rows)
    growth = Growth()
    growth.add(asked)
    return [
        one.what
        for one in find_problems(overview(*workers), asked, Schedules((schedule,), None, NOW), growth.add(asked))
    ]


def queue(name: str = "q", ready: int = 0, consumers: int = 1, dead: int = 0, *, paused: bool = False) -> Queue:
    return Queue(name, True, ready, consumers, 0, dead, paused)


def worker(*, alive: bool) -> Worker:
    return Worker("w@h", alive, 0, 0, (), "", 1, NOW, 2.0)


def test_nothing_is_wrong_with_a_cluster_at_work():
    assert found(worker(alive=True), rows=(queue(ready=5), queue(consumers=0)), due=clock.wall() + 5) == []


def test_the_worst_comes_first():
    rows = (queue("a", dead=2), queue("b", paused=True), queue("c", ready=1, consumers=0))
    assert found(worker(alive=False), rows=rows, due=clock.wall() - LATE - 9) == [
        "Worker w@h is gone",
        "Nobody consumes c",
        "1 periodic task is not sent",
        "b is paused",
        "2 dead letters of a",
    ]


def test_a_periodic_task_that_no_scheduler_knows_is_told():
    assert found(due=clock.wall() + 9, last=None) == ["1 periodic task is not sent"]


def test_a_paused_schedule_is_not_late():
    assert found(due=1.0, paused=True) == []


def test_growing_dead_letters_are_worse_than_those_that_wait():
    growth = Growth()
    growth.add(queues(queue(dead=2)))
    more = growth.add(queues(queue(dead=5)))
    (problem,) = find_problems(overview(), queues(queue(dead=5)), Schedules((), None, NOW), more)
    assert problem.severe
    assert (problem.what, problem.advice[:6]) == ("5 dead letters of q, growing", "3 more")


def test_a_worker_is_not_called_gone_while_history_is_read():
    asked, schedules = queues(), Schedules((), None, NOW)
    lost = overview(worker(alive=False))
    assert [one.what for one in find_problems(lost, asked, schedules, {})] == ["Worker w@h is gone"]
    reading = replace(lost, health=replace(lost.health, catching_up=True))
    assert find_problems(reading, asked, schedules, {}) == []


def test_without_a_broker_only_that_is_told():
    lost = find_problems(
        overview(worker(alive=False), error="connection refused"),
        queues(queue(ready=1, consumers=0), error="connection refused"),
        Schedules((), "connection refused", None),
        {},
    )
    assert [one.what for one in lost] == ["No events from amqp://b"]
    assert "connection refused" in lost[0].advice


# -- forms -------------------------------------------------------------------------------------------------------------


def test_nothing_ticked_is_not_taken_for_all():
    with pytest.raises(FormError, match="Nothing was selected"):
        Fields({"queue": ["q"], "scope": ["selected"]}).ids()
    assert Fields({"scope": [ALL], "id": ["x"]}).ids() == []


@pytest.mark.parametrize("value", ["", "x", "-1", "0", "1.5", "１²"])
def test_a_count_that_is_none_is_refused(value):
    with pytest.raises(FormError):
        Fields({"n": [value]}).count("n")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_that_is_none_is_refused(value):
    with pytest.raises(FormError):
        Fields({"soft": [value]}).seconds("soft")


def test_what_can_not_be_undone_is_asked_before():
    for name in ("queue-purge", "dead-drop", "worker-shutdown"):
        assert DEEDS[name].question(Fields({"queue": ["q"], "worker": ["w"], "scope": [ALL]})), name
    assert DEEDS["revoke"].question(Fields({"id": ["x"], "signal": ["SIGKILL"]}))
    assert not DEEDS["revoke"].question(Fields({"id": ["x"]}))


def test_a_name_can_not_become_part_of_the_command_that_is_shown():
    fields = Fields({"queue": ["q; rm -rf /"]})
    question = DEEDS["queue-purge"].question(fields)
    assert question is not None
    assert question.line("tasks") == "amqtask purge 'q; rm -rf /' -A tasks"
    assert shown("amqtask purge {{ x|typed }}", x="q; rm -rf /") == "amqtask purge &#39;q; rm -rf /&#39;"
