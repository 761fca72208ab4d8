"""``amqtask status``, ``inspect``, ``control`` and ``queue pause``, as a user runs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command_line import Shell
from nodes import Node
from worker_process import Site, new_site

from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls


@pytest.fixture(scope="module")
def site(broker_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with new_site(broker_node, tmp_path_factory.mktemp("cli")) as made:
        yield made


@pytest.fixture(scope="module")
def shell(site: Site) -> Shell:
    site.worker("-P", "threads", "-c", "2", "-n", "w1@h")
    return Shell(site.folder, site.url)


def test_nobody_answers_where_nobody_is(site: Site) -> None:
    ended = Shell(site.folder, site.url).run("status", code=69)
    assert "No worker has answered" in ended.stderr
    ended = Shell(site.folder, site.url).run("control", "revoke", "id", "-t", "0.2", code=69)
    assert "The revocation is kept" in ended.stderr
    with Admin(parse_urls(site.url), ConnectionOptions()) as admin:
        assert admin.queue_state("amqtask.revoked") is not None


def test_status_names_the_workers(shell: Shell) -> None:
    ended = shell.run("status", "-d", "w1@h", "-t", "20")
    assert ended.stdout == "w1@h: OK\n"
    assert "1 node online" in ended.stderr


def test_inspect_prints_answers_for_people_and_for_programs(shell: Shell) -> None:
    assert "thread amqtask-io" in shell.run("inspect", "stack", "-d", "w1@h", "-t", "20").stdout
    found = shell.json("inspect", "prefetch", "-d", "w1@h", "-t", "20")
    assert found == {"w1@h": {"work": 2}}


def test_control_changes_workers(shell: Shell) -> None:
    ended = shell.run("control", "time_limit", "note", "5", "hard=10", "-d", "w1@h", "-t", "20")
    assert "time limits set successfully" in ended.stdout
    ended = shell.run("control", "revoke", "id1", "id2", "-d", "w1@h", "-t", "20")
    assert "tasks {'id1', 'id2'} flagged as revoked" in ended.stdout


def test_a_queue_is_paused_and_resumed(shell: Shell, site: Site) -> None:
    assert shell.run("queue", "pause", "work").stdout == "work is paused\n"
    site.send("note", "held")
    assert "Paused: work." in shell.run("queue", "list").stdout
    assert shell.queues()["work"]["paused"] is True
    assert not site.labels("done")
    shell.run("queue", "resume", "work")
    site.wait_done("held")
    assert shell.queues()["work"]["paused"] is False
