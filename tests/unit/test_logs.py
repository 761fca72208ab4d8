"""Log lines: formats, colours, fields of the running task, and readers that don't read."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import select

import pytest

from amqtask import logs


def logged(form="text", **options) -> tuple[io.StringIO, logging.Logger]:
    stream = io.StringIO()
    logs.configure_logging("debug", form, stream=stream, **options)
    return stream, logging.getLogger("shop")


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def test_text_lines_look_like_celerys():
    stream, logger = logged()
    logs.set_process_name("w1@host")
    logger.info("hello %s", "you")
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: INFO/w1@host\] hello you\n", stream.getvalue())


def test_lines_inside_a_task_name_the_task():
    stream, logger = logged()
    logs.provide_task_fields(lambda: {"task": "shop.add", "task_id": "42"})
    logger.info("half way")
    assert stream.getvalue().endswith("] shop.add[42]: half way\n")


def test_lines_that_name_their_task_themselves_are_left_alone():
    stream, logger = logged()
    logs.provide_task_fields(lambda: {"task": "shop.add", "task_id": "42"})
    logger.info("Task shop.mul[43] received", extra={"task": "shop.mul", "task_id": "43"})
    assert stream.getvalue().endswith("] Task shop.mul[43] received\n")


def test_control_characters_of_a_message_are_escaped():
    stream, logger = logged()
    logger.info("a\x1b[31mb\rc")
    assert stream.getvalue().endswith("] a\\x1b[31mb\\x0dc\n")


def test_json_lines_are_objects_with_extra_fields():
    stream, logger = logged("json")
    logs.set_process_name("w1@host")
    logger.warning("sent", extra={"task": "shop.add", "task_id": "42", "queue": "q", "event": "task-received"})
    line = json.loads(stream.getvalue())
    assert line | {"ts": "", "pid": 0} == {
        "ts": "", "level": "warning", "logger": "shop", "message": "sent", "worker": "w1@host", "pid": 0,
        "task": "shop.add", "task_id": "42", "queue": "q", "event": "task-received",
    }  # fmt: skip
    assert line["ts"].endswith("+00:00")


def test_json_lines_carry_exceptions_on_one_line():
    stream, logger = logged("json")
    try:
        int("bad\nline")
    except ValueError:
        logger.exception("failed")
    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line["exception"] == "ValueError"
    assert "ValueError: invalid literal" in line["traceback"]


@pytest.mark.parametrize("value", [Hostile(), {1: Hostile()}, {(1, 2): 3}, float("nan"), b"\xff", object()])
def test_json_lines_survive_any_field(value):
    stream, logger = logged("json")
    logger.info("ok", extra={"field": value})
    assert json.loads(stream.getvalue())["message"] == "ok"


@pytest.mark.parametrize("form", ["text", "json"])
def test_logging_never_raises(form, capsys):
    stream, logger = logged(form)
    logger.info("%d %d", "wrong")  # noqa: PLE1206
    logger.info(Hostile())
    logger.info("\ud800")
    logs.provide_task_fields(lambda: 1 / 0)
    logger.info("still here")
    assert stream.getvalue().count("\n") == 4
    assert capsys.readouterr().err == ""


def test_exceptions_that_cant_be_printed_dont_cost_the_line():
    stream, logger = logged()

    class Bad(Exception):
        __str__ = Hostile.__repr__

    try:
        raise Bad  # noqa: TRY301
    except Bad:
        logger.exception("failed")
    assert "failed" in stream.getvalue()


@pytest.mark.parametrize("name", ["info", "INFO", "Info", " info ", "warn", "fatal"])
def test_level_names_are_accepted_in_any_case(name):
    assert logs.level_number(name) > 0


@pytest.mark.parametrize("name", ["loud", "", "notset", "10"])
def test_wrong_level_names_are_refused(name):
    with pytest.raises(ValueError, match="debug, info, warning, error, critical"):
        logs.level_number(name)


def test_colours_are_only_for_terminals(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, coloured in ((Terminal(), True), (io.StringIO(), False)):
        logs.configure_logging(stream=stream)
        logging.getLogger("shop").error("x")
        assert ("\x1b[31m" in stream.getvalue()) is coloured
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    logs.configure_logging(stream=stream)
    logging.getLogger("shop").error("x")
    assert "\x1b" not in stream.getvalue()


def test_driver_errors_are_shown_only_when_debugging():
    stream, _ = logged()
    logging.getLogger("pika.adapters").warning("seen")
    logs.configure_logging("info", stream=stream)
    logging.getLogger("pika.adapters").error("unseen")
    assert "seen" in stream.getvalue()
    assert "unseen" not in stream.getvalue()


def test_a_reader_that_stops_reading_costs_lines_but_no_time(monkeypatch):
    monkeypatch.setattr(logs.LogHandler, "patience", 0.01)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stream:
        logs.configure_logging(stream=stream)
        logger = logging.getLogger("shop")
        for number in range(3000):
            logger.info("%d %s", number, "x" * 100)
        kept = reader.read(1 << 20)
        assert 50 < kept.count(b"\n") < 3000
        while kept.count(b"\n") and not select_empty(reader):
            kept += reader.read(1 << 20)
        logger.info("back again")
        text = reader.read(1 << 20).decode()
    assert re.search(r"WARNING/\S+\] \d+ log lines were dropped: nobody read them\n", text)
    assert text.endswith("back again\n")


def select_empty(reader) -> bool:
    return not select.select([reader], [], [], 0)[0]


def test_a_closed_reader_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        logs.configure_logging(stream=stream)
        logging.getLogger("shop").info("nobody hears")
