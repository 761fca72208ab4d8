"""The words of ``amqtask multi``: Celery's grammar for nodes and their options."""

from __future__ import annotations

import click
import pytest

from amqtask.cli.commands.worker import COMMAND
from amqtask.cli.multi.grammar import Grammar, nodes_of


def nodes(line: str):
    return nodes_of(Grammar(COMMAND).read(line.split()))


def values(line: str, option: str) -> dict[str, str | None]:
    return {node.name.partition("@")[0]: node.option(option) for node in nodes(line)}


def test_a_number_means_so_many_nodes():
    assert [node.name for node in nodes("3 -n example.com")] == [f"amqtask{n}@example.com" for n in (1, 2, 3)]
    assert [node.name for node in nodes("2 --range-prefix=w --hostname=h")] == ["w1@h", "w2@h"]


def test_names_get_the_host_that_is_given_or_their_own():
    assert [node.name for node in nodes("a b@x -n h")] == ["a@h", "b@x"]
    assert [node.name for node in nodes("a --prefix=my- --suffix=h")] == ["my-a@h"]


def test_options_are_for_all_for_one_or_for_several():
    line = "10 -l INFO -Q:1-3 images,video -Q:4,5 data -Q default -l:4,5 DEBUG"
    queues = values(line, "--queues")
    assert [queues[f"amqtask{n}"] for n in (1, 3, 4, 5, 6, 10)] == [
        "images,video", "images,video", "data", "data", "default", "default",
    ]  # fmt: skip
    assert values(line, "--loglevel")["amqtask5"] == "DEBUG"
    assert values(line, "--loglevel")["amqtask6"] == "INFO"


@pytest.mark.parametrize("option", ["-c:w1 9 -c:2 7", "--concurrency:1=9 --concurrency:w2=7"])
def test_a_node_is_meant_by_name_or_by_place(option):
    assert values(f"w1 w2 w3 -c 3 {option}", "--concurrency") == {"w1": "9", "w2": "7", "w3": "3"}


def test_a_list_of_names_and_a_full_name_work_too():
    assert values("a b c@x -c 1 -c:a,b 5 -c:c@x 6", "--concurrency") == {"a": "5", "b": "5", "c": "6"}


def test_a_flag_takes_no_node_for_its_value():
    assert [node.name for node in nodes("-E w1@h --without-mingle w2@h")] == ["w1@h", "w2@h"]


def test_values_may_follow_as_a_word_or_with_equals():
    assert values("a --loglevel INFO --concurrency=4 -Pthreads", "--pool") == {"a": "threads"}


def test_pidfile_and_log_have_defaults_and_name_the_node():
    (node,) = nodes("w1@h")
    assert node.option("--pidfile") == "w1.pid"
    assert node.option("--logfile") == "w1%I.log"
    (node,) = nodes("w1@h --pidfile=/run/%n-%h.pid")
    assert node.option("--pidfile") == "/run/w1-h.pid"


def test_the_words_of_a_node_start_it():
    (node,) = nodes("w1@h -A proj -E -c 3 -- --strange")
    assert node.words() == [
        "-n", "w1@h", "--pidfile=w1.pid", "--logfile=w1%I.log", "--app=proj", "--task-events", "--concurrency=3",
        "--strange",
    ]  # fmt: skip


@pytest.mark.parametrize(("line", "signal"), [("a -9", "9"), ("a -TERM", "TERM"), ("a -SIGHUP", "HUP"), ("a -E", "")])
def test_signals_are_told_from_options(line, signal):
    assert Grammar(COMMAND).read(line.split()).signal == signal


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-c 3", "Which nodes"),
        ("a --concurency=3", "did you mean '--concurrency'"),
        ("a -c", "needs a value"),
        ("a b -c:3 4", "no node 3"),
        ("3 -c:5 4", "no node 5"),
        ("3 -c:2-5 4", "no node 4"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(line, message):
    with pytest.raises(click.UsageError, match=message):
        nodes(line)
