"""routing.yaml: what it may say, and what it answers to mistakes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from amqtask.errors import DocumentError
from amqtask.topology import nodes
from amqtask.topology.declarations import Backoff, Binding, DeadLetter, RetryPolicy
from amqtask.topology.document import load, loads

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = """\
version: 1
defaults:
  queue: {type: quorum, prefetch: auto, retry: {delays: [1s, 10s, 1m, 10m], max_retries: 8, jitter: 10%},
          dead_letter: {ttl: 14d}}
exchanges:
  tasks:    {type: topic}
  announce: {type: fanout}
queues:
  emails:
    bindings: [{exchange: tasks, routing_key: "email.#"}]
    max_priority: 9
    prefetch: 32
    retry: {delays: [5s, 30s, 5m], max_retries: 10}
    dead_letter: {ttl: 30d, max_length: 100000}
    max_length: 500000
    overflow: reject-publish
    arguments: {}
  files.small: {bindings: [{exchange: tasks, routing_key: "file.small"}]}
  files.large: {bindings: [{exchange: tasks, routing_key: "file.large"}], consumer_timeout: 2h}
routes:
  - {task: "shop.mail.*", exchange: tasks, routing_key: email.send, priority: 7}
  - {task: "shop.files.convert_small", queue: files.small}
pools:
  mail:  {queues: [emails], pool: asyncio, concurrency: 200}
  files: {queues: {files.small: 3, files.large: 1}, order: weighted, pool: prefork, concurrency: 2}
"""


def problems(text: str | bytes) -> list[str]:
    """Everything that is wrong with the document, as printed."""
    with pytest.raises(DocumentError) as caught:
        loads(text, "r.yaml")
    return [str(problem) for problem in caught.value.problems]


def only_problem(text: str | bytes) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def test_the_sample_of_the_design_is_read_completely() -> None:
    topology = loads(SAMPLE)
    emails = topology.queue("emails")
    assert emails.bindings == (Binding("tasks", "email.#"),)
    assert emails.retry == RetryPolicy(
        (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)), max_retries=10
    )
    assert emails.dead_letter == DeadLetter(timedelta(days=30), 100000)
    assert (emails.max_priority, emails.prefetch, emails.max_length) == (9, 32, 500000)
    assert emails.where == "routing.yaml:9:3"
    small = topology.queue("files.small")
    assert small.retry is not None
    assert small.retry.jitter == pytest.approx(0.1)
    assert small.prefetch is None
    assert small.dead_letter == DeadLetter(timedelta(days=14))
    assert topology.queue("files.large").consumer_timeout == timedelta(hours=2)
    assert [route.task for route in topology.routes] == ["shop.mail.*", "shop.files.convert_small"]
    assert topology.pool("files").queues == {"files.small": 3, "files.large": 1}
    assert topology.pool("mail").order == "fair"
    assert list(topology.queues) == ["emails", "files.small", "files.large", "amqtask"]


def test_an_empty_file_is_the_default_topology_and_null_entries_are_all_defaults() -> None:
    assert list(loads("").queues) == ["amqtask"]
    topology = loads("queues: {emails: null, sms: }\nexchanges: {x: }\nroutes:\npools:\n")
    assert list(topology.queues) == ["emails", "sms", "amqtask"]
    assert topology.exchanges["x"].type == "direct"
    assert topology.queue("emails").retry is None


def test_a_default_type_does_not_stop_priorities_but_an_own_type_stays() -> None:
    text = (
        "defaults: {queue: {type: quorum}}\nqueues: {a: {max_priority: 9}, b: {}, c: {max_priority: 9, type: classic}}"
    )
    topology = loads(text)
    assert [topology.queue(name).type for name in "abc"] == [None, "quorum", "classic"]


def test_retry_forms() -> None:
    text = (
        "defaults: {queue: {retry: {delays: [1s, 2s, 3s, 4s], jitter: 0.5}}}\n"
        "queues:\n"
        "  inherits:\n"
        "  never: {retry: false}\n"
        "  grows: {retry: {backoff: {initial: 500ms, factor: 1.5, max: 1h30m}, max_retries: unlimited}}\n"
        "  seconds: {retry: {delays: [0.25, 3]}}\n"
    )
    topology = loads(text)
    inherited = topology.queue("inherits").retry
    assert inherited is not None
    assert (inherited.max_retries, inherited.jitter) == (4, 0.5)
    assert topology.queue("never").retry is None
    assert topology.queue("grows").retry == RetryPolicy(
        (), Backoff(timedelta(milliseconds=500), 1.5, timedelta(minutes=90)), None
    )
    seconds = topology.queue("seconds").retry
    assert seconds is not None
    assert seconds.delays == (timedelta(milliseconds=250), timedelta(seconds=3))
    assert seconds.jitter == 0


def test_anchors_and_merge_keys_work() -> None:
    text = "queues:\n  a: &base {prefetch: 3, max_length: 10}\n  b: {<<: *base, prefetch: 4}\n  c: *base\n"
    topology = loads(text)
    assert (topology.queue("b").prefetch, topology.queue("b").max_length) == (4, 10)
    assert topology.queue("c").prefetch == 3


def test_several_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = (
        "version: 2\n"
        "queues:\n"
        "  emails: {prefech: 3, max_priority: 12}\n"
        "  sms: {retry: {delays: [soon]}}\n"
        "routes:\n"
        "  - {task: x}\n"
    )
    found = problems(text)
    assert [line.split(" ")[0] for line in found] == [
        "r.yaml:1:10:",
        "r.yaml:3:12:",
        "r.yaml:3:38:",
        "r.yaml:4:26:",
        "r.yaml:6:5:",
    ]
    assert "did you mean 'prefetch'?" in found[1]
    assert "a priority (0 to 9)" in found[2]
    assert "got 12" in found[2]
    assert "a duration, for example 5s; got 'soon'" in found[3]
    assert "either 'queue' or 'exchange'" in found[4]


@pytest.mark.parametrize(
    ("text", "place", "part"),
    [
        ("queues: [a]", "1:9", "queues: expected a mapping of queues, for example {emails: {prefetch: 32}}"),
        ("queues: {a: 5}", "1:13", "expected a queue"),
        ("queues: {a: {prefetch: many}}", "1:24", "a number of messages (1 to 65535), or auto"),
        ("queues: {a: {prefetch: true}}", "1:24", "got true"),
        ("queues: {a: {prefetch: 0}}", "1:24", "got 0"),
        ("queues: {a: {overflow: drop-haed}}", "1:24", "did you mean 'drop-head'?"),
        ("queues: {a: {single_active_consumer: 1}}", "1:38", "true or false"),
        ("queues: {a: {retry: true}}", "1:21", "a retry policy, or false"),
        ("queues: {a: {retry: {delays: []}}}", "1:30", "it is empty"),
        (
            "queues: {a: {retry: {delays: [1s], backoff: {}}}}",
            "1:21",
            "can't have both 'delays' and 'backoff'",
        ),
        ("queues: {a: {retry: {backoff: {factor: 0.5}}}}", "1:40", "a number of at least 1"),
        ("queues: {a: {retry: {delays: [1s], jitter: 300%}}}", "1:44", "a share, for example 10% or 0.1"),
        ("queues: {a: {message_ttl: -1}}", "1:27", "a duration"),
        ("queues: {a: {message_ttl: 99999d}}", "1:27", "over ten years"),
        ("queues: {a: {bindings: [{routing_key: x}]}}", "1:25", "a binding needs the key 'exchange'"),
        ("exchanges: {x: {type: topc}}", "1:23", "did you mean 'topic'?"),
        ("routes: [{task: x, queue: a, exchange: b}]", "1:10", "not both"),
        ("queues: {a: }\nroutes: [{task: x, queue: a, routing_key: b}]", "2:30", "only beside 'exchange'"),
        ("routes: [{task: '', queue: a}]", "1:17", "it is empty"),
        ("queues: {a: {arguments: {x: no}}}", "1:29", "boolean"),
        ("pools: {p: {queues: []}}", "1:21", "it is empty"),
        ("pools: {p: {queues: {a: 0}}}\nqueues: {a: }", "1:25", "a weight"),
        ("queues: {a: {message_ttl: 1:30}}", "1:27", "minutes and seconds in one number"),
        ("queues: {a: {prefetch: 010}}", "1:24", "not a plain decimal number"),
        ("queues: {a: {prefetch: 1_000}}", "1:24", "not a plain decimal number"),
        ("queues: {a: {prefetch: " + "9" * 5000 + "}}", "1:24", "too long for one"),
        ("queues: {a: {durable: yes}}", "1:14", "no key 'durable'"),
        ("exchanges: {x: {durable: yes}}", "1:26", 'write true, or "yes" in quotes'),
        ("queues: {no: {}}", "1:10", "'no' is a boolean for some YAML readers"),
        ("queues: {5: {}}", "1:10", 'write "5" in quotes'),
        ("queues: {? [a] : {}}", "1:12", "a key must be a text"),
        ("queues: {a: {}, a: {}}", "1:17", "duplicate key 'a', first used in line 1"),
        ("queues: !!python/object:os.system {}", "1:9", "tags like"),
        ("queues: {a: !secret x}", "1:13", "tags like"),
        ("queues: {a: &a {arguments: *a}}", "1:13", "contains itself"),
        ("queues: {? 'x' : {<<: 5}}", "1:23", "<< merges mappings"),
        ("- a\n- b", "1:1", "expected routing.yaml"),
        ("queues: {a: {arguments: 5}}", "1:25", "a mapping of arguments"),
        ("queues: {a: {arguments: {x: [no]}}}", "1:30", "boolean"),
        ("queues: {a: {arguments: {x: {y: no}}}}", "1:33", "boolean"),
        ("queues: {a: {arguments: !!set {x}}}", "1:25", "tags like"),
        ("queues: {a: {prefetch: [1]}}", "1:24", "got a list"),
        ("queues: {a: {prefetch: {b: 1}}}", "1:24", "got a mapping"),
        ("queues: {a: {prefetch: }}", "1:24", "got nothing"),
        ("queues: {a: {prefetch: " + "m" * 90 + "}}", "1:24", "mmm...'"),
        ("routes: {task: a}", "1:9", "expected a list of routes"),
        ("queues: {a: &x !!seq [1], b: *x}", "1:13", "expected a queue"),
        ("queues: {a: !!seq {}}", "1:13", "tags like"),
        ("queues: {a: !x [1]}", "1:13", "tags like"),
        ("queues: {a: {<<: [no]}}", "1:19", "boolean"),
        ("queues: {a: {prefetch: !!int '5'}}", "1:24", "tags like"),
        ("queues: {a: \x01}", "1:1", "this is not YAML"),
        ("queues:\n\tsms: {}", "2:1", "indent with spaces, not tabs"),
        ("queues: {a: {", "1:14", "this is not YAML"),
        ("a: b\n--- \nc: d", "2:1", "this is not YAML"),
        ("queues: {" + "x" * 300 + ": }", "1:10", "a name has 1 to 200 characters"),
    ],
)
def test_each_mistake_has_its_place_and_its_cause(text: str, place: str, part: str) -> None:
    found = problems(text)
    assert found[0].startswith(f"r.yaml:{place}: "), found
    assert part in found[0]


def test_a_number_where_a_text_belongs_asks_for_quotes() -> None:
    text = "exchanges: {x: }\nqueues: {a: {bindings: [{exchange: x, routing_key: 10}]}}"
    assert only_problem(text).endswith('the number 10 is not text; write "10" in quotes')


def test_text_that_is_not_utf8_is_located() -> None:
    assert only_problem(b"queues:\n  a\xff: {}") == "r.yaml:2:4: this is not UTF-8 text"
    assert "not UTF-8" in only_problem("queues: {a\udcff: }")


def test_aliases_that_expand_to_too_much_are_refused() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert any("aliases that expand to too much" in line for line in problems("\n".join(lines)))


def test_deep_nesting_is_refused() -> None:
    for depth in (60, 3000, 100_000):
        assert any("deep" in line or "not YAML" in line for line in problems("queues: " + "[" * depth + "]" * depth))


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"missing\.yaml: can't read it: No such file"):
        load(tmp_path / "missing.yaml")
    with pytest.raises(DocumentError, match="can't read it: Is a directory"):
        load(tmp_path)


def test_a_file_is_read_with_its_name_in_the_messages(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("queues: {a: {}}\nroutes: [{task: x, queue: b}]\n")
    with pytest.raises(DocumentError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:2:10: the route for 'x' leads to the queue 'b', which is not declared"
    path.write_text("queues: {a: {}}\n")
    assert load(path).source == str(path)


def test_both_yaml_parsers_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mistakes = "queues: {a: {prefetch: 010, message_ttl: no}, a: {}}"
    with_default = loads(SAMPLE), problems(mistakes), only_problem("queues:\n\tsms: {}").split(" ")[0]
    monkeypatch.setattr(nodes, "_LOADER", yaml.SafeLoader)
    assert (
        loads(SAMPLE),
        problems(mistakes),
        only_problem("queues:\n\tsms: {}").split(" ")[0],
    ) == with_default
