"""`amqtask call`, `queue list` and `purge` against RabbitMQ."""

from __future__ import annotations

import json


def test_queues_that_do_not_exist_yet_are_shown_as_such(shell):
    ended = shell.run("queue", "list")
    assert "emails" in ended.stdout
    assert "Not on the broker yet: emails, files.small" in ended.stderr
    assert shell.queues()["emails"] == {
        "queue": "emails", "ready": None, "consumers": None, "retrying": 0, "dead": None, "paused": False,
    }  # fmt: skip


def test_a_call_prints_its_id_and_waits_in_its_queue(shell):
    task_id = shell.run("call", "shop.small", "-a", "[1, 2]", "-k", '{"x": 1}').stdout.strip()
    assert len(task_id) == 36
    assert shell.queues()["files.small"]["ready"] == 1


def test_a_call_of_a_known_task_with_wrong_arguments_sends_nothing(shell):
    err = shell.run("call", "-A", "shop", "shop.mail.send", "-a", "[1, 2, 3]", code=65).stderr
    assert "shop.mail.send" in err
    assert len(err.splitlines()) == 1


def test_delayed_calls_are_counted_on_their_way(shell):
    shell.run("call", "shop.small", "--countdown", "1h")
    shell.run("call", "shop.small", "--eta", "2099-01-01T00:00:00", code=78)
    document = shell.json("queue", "list")
    assert document["delayed"] == 1
    assert "1 message on the way by the delay ladder" in shell.run("queue", "list").stdout


def test_a_call_goes_to_the_queue_that_was_named(shell):
    shell.run(
        "call",
        "anything",
        "--queue",
        "files.small",
        "--priority",
        "3",
        "--expires",
        "1h",
        "--serializer",
        "json",
    )
    assert shell.queues()["files.small"]["ready"] == 1


def test_a_call_to_an_unknown_queue_is_an_error_with_the_nearest(shell):
    err = shell.run("call", "anything", "--queue", "emials", code=65).stderr
    assert "emails" in err


def test_many_calls_come_from_standard_input(shell):
    lines = ["[1]", '{"args": [2], "kwargs": {"x": 3}}', "", "{}"] + [f"[{n}]" for n in range(1000)]
    out = shell.run("call", "shop.small", "--stdin", stdin="\n".join(lines)).stdout.split()
    assert len(set(out)) == 1003
    assert shell.queues()["files.small"]["ready"] == 1003


def test_a_bad_line_ends_the_sending_and_names_itself(shell):
    ended = shell.run("call", "shop.small", "--stdin", stdin="[1]\n[2]\n{bad\n[3]\n", code=65)
    assert len(ended.stdout.split()) == 2
    assert "line 3 is not JSON" in ended.stderr
    assert "2 sent before it" in ended.stderr
    assert shell.queues()["files.small"]["ready"] == 2


def test_purge_empties_a_queue_and_says_how_much(shell):
    shell.run("call", "shop.small", "--stdin", stdin="[1]\n[2]\n")
    assert "use --force" in shell.run("purge", "files.small", code=64).stderr
    assert shell.run("purge", "files.small", "-f").stdout == "2 messages purged from files.small\n"
    assert shell.queues()["files.small"]["ready"] == 0
    assert shell.run("purge", "files.small").stdout == "0 messages purged from files.small\n"


def test_purge_of_a_queue_that_does_not_exist_is_an_error(shell):
    assert "does not exist on the broker" in shell.run("purge", "emails", "-f", code=78).stderr
    assert "did you mean 'emails'?" in shell.run("purge", "emials", "-f", code=78).stderr


def test_json_goes_to_stdout_and_remarks_to_stderr(shell):
    ended = shell.run("queue", "list", "--json")
    json.loads(ended.stdout)
    assert ended.stderr == ""
