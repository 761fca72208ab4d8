"""`amqtask topology` and `routes` against a broker."""

from __future__ import annotations

import json
import re

import jsonschema
import yaml
from command_line import ROUTING

PRODUCT = r"(RabbitMQ|amqtask dev broker) \d+\.\d+\.\d+"


def test_plan_apply_and_check_agree(shell):
    plan = shell.json("topology", "plan")
    assert not plan["clean"]
    assert {item["action"] for item in plan["items"]} == {"create", "bind"}
    assert "missing; 'amqtask topology apply' makes them" in shell.run("topology", "check").stdout

    applied = shell.run("topology", "apply").stdout
    assert "created queue    emails\n" in applied
    assert "created exchange tasks\n" in applied
    assert applied.splitlines()[-1] == "7 objects created, 0 there already"

    assert shell.json("topology", "plan")["clean"]
    assert "everything exists as declared" in shell.run("topology", "check").stdout
    assert shell.run("topology", "apply").stdout.splitlines()[-1] == "0 objects created, 7 there already"


def test_a_queue_with_other_arguments_is_a_readable_difference_and_exit_78(shell):
    shell.run("topology", "apply")
    file = shell.folder / "routing.yaml"
    file.write_text(ROUTING.replace("  files.small: {", "  files.small: {max_length: 5, "))
    for words in (("topology", "check"), ("topology", "apply")):
        err = shell.run(*words, code=78).stderr
        assert "queue 'files.small' exists with other arguments: x-max-length is none, wanted 5" in err, err
    rows = shell.run("topology", "plan").stdout
    assert "differs" in rows
    document = shell.json("topology", "check", code=78)
    assert len(document["errors"]) == 1
    assert re.fullmatch(PRODUCT, document["broker"])


def test_nothing_is_applied_when_something_differs(shell):
    shell.run("topology", "apply")
    (shell.folder / "routing.yaml").write_text(
        ROUTING.replace("  files.small: {", "  new: {}\n  files.small: {max_length: 5, ")
    )
    assert "nothing was applied" in shell.run("topology", "apply", code=78).stderr
    assert shell.queues()["new"]["ready"] is None


def test_what_keeps_delayed_messages_for_a_full_queue_is_made_and_exported_with_it(shell):
    (shell.folder / "routing.yaml").write_text(ROUTING.replace("  files.small: {", "  files.small: {max_length: 5, "))
    assert "created queue    amqtask.delay.to.files.small\n" in shell.run("topology", "apply").stdout
    assert '"amqtask.delay.to.files.small"' in shell.run("topology", "export", "--format", "definitions").stdout


def test_missing_objects_are_errors_for_users_who_only_verify(shell):
    (shell.folder / "verifying.py").write_text(
        "from amqtask import Amqtask\napp = Amqtask('shop', routing='routing.yaml', topology_mode='verify')\n"
    )
    assert "queue emails does not exist" in shell.run("topology", "check", "-A", "verifying", code=78).stderr


def test_a_refused_login_is_exit_77_without_the_password(shell):
    head, _, tail = shell.url.rpartition("@")
    url = f"{head.split('//')[0]}//nobody:hush@{tail}"
    err = shell.run("topology", "apply", "-b", url, code=77).stderr
    assert "hush" not in err
    assert len(err.splitlines()) <= 2


def test_a_missing_vhost_is_exit_77(shell):
    url = shell.url.rpartition("/")[0] + "/no-such-vhost"
    assert "no-such-vhost" in shell.run("queue", "list", "-b", url, code=77).stderr


def test_export_is_what_rabbitmq_imports(shell):
    document = json.loads(shell.run("topology", "export", "--format", "definitions", "--vhost", "x").stdout)
    assert {queue["name"] for queue in document["queues"]} >= {"emails", "emails.dead", "emails.retry.5000"}
    assert {queue["vhost"] for queue in document["queues"]} == {"x"}
    assert shell.run("topology", "export", "--format", "mermaid").stdout.startswith("flowchart LR")


def test_the_schema_describes_the_file(shell):
    schema = json.loads(shell.run("topology", "schema").stdout)
    jsonschema.validate(yaml.safe_load(ROUTING), schema)


def test_routes_show_says_where_and_why(shell):
    out = shell.run("routes", "show", "shop.mail.send").stdout
    assert "Exchange:    tasks" in out
    assert "Queues:      emails" in out
    assert "glob 'shop.mail.*'" in out
    assert shell.json("routes", "show", "shop.small")["queues"] == ["files.small"]
    assert [row["task"] for row in shell.json("routes", "show")][:2] == ["shop.mail.*", "shop.small"]


def test_the_report_shows_versions_settings_and_no_password(shell):
    out = shell.run("report").stdout
    assert re.search(PRODUCT, out)
    assert "environment" in out
    report = shell.json("report")
    assert report["broker"]["error"] is None
    assert ":***@" in report["broker"]["urls"][0]
