"""Every key of routing.yaml, once: the reader, the JSON Schema and the reference page follow from here."""

from __future__ import annotations

from typing import Any

from amqtask.topology.kinds import Choice, Duration, Flag, Fraction, Integer, Number, Text
from amqtask.topology.periodic import PERIODIC
from amqtask.topology.records import Arguments, Either, Key, ListOf, MapOf, Record

_MANY = 2**31 - 1
_SHORT_NAME = 200
_SHORT_STRING = 255

_exchange_name = Text("the name of an exchange", "tasks", most=_SHORT_NAME)
_queue_name = Text("the name of a queue", "emails", most=_SHORT_NAME)
_routing_key = Text("a routing key", '"email.#"', most=_SHORT_STRING, empty=True)
_raw = Key(Arguments(), "Raw x-arguments, last resort; they win over the derived ones.")

BINDING = Record(
    "a binding",
    '{exchange: tasks, routing_key: "email.#"}',
    {
        "exchange": Key(_exchange_name, "The exchange to receive from.", required=True),
        "routing_key": Key(
            _routing_key,
            "Which messages: the exact key (direct), words with * and # (topic), the weight "
            "(x-consistent-hash); not used by fanout and headers.",
            default="empty",
        ),
        "arguments": Key(Arguments(example="{x-match: all}"), "Headers to match (headers exchange)."),
    },
)

BACKOFF = Record(
    "a backoff",
    "{initial: 1s, factor: 2, max: 10m}",
    {
        "initial": Key(Duration("1s"), "Delay before the first retry.", default="1s"),
        "factor": Key(Number("a number of at least 1", "2"), "Each delay, over the one before.", default="2"),
        "max": Key(Duration("10m"), "The longest delay.", default="10m"),
    },
)

RETRY = Record(
    "a retry policy",
    "{delays: [5s, 30s, 5m], max_retries: 10}",
    {
        "delays": Key(
            ListOf(Duration(), "a list of durations", least=1),
            "Delay before the first, second, ... retry; the last one repeats. Without jitter, each delay has "
            "a queue of its own, named <queue>.retry.<milliseconds>.",
        ),
        "backoff": Key(
            BACKOFF,
            "Growing delays, instead of a list.",
        ),
        "max_retries": Key(
            Either(
                (
                    Integer("a number of retries", 0, 1_000_000, "10"),
                    Choice(("unlimited",), (("unlimited", None),)),
                )
            ),
            "Retries after the first attempt; then the message goes to <queue>.dead.",
            default="the number of delays, or 3",
        ),
        "jitter": Key(
            Fraction(),
            "Spreads each delay upwards by up to this share, at random. Jittered retries wait in the shared "
            "delay ladder.",
            default="0",
        ),
    },
    at_most_one=("delays", "backoff"),
)

DEAD_LETTER = Record(
    "a dead letter policy",
    "{ttl: 14d, max_length: 100000}",
    {
        "ttl": Key(Duration("14d"), "How long <queue>.dead keeps a message.", default="for ever"),
        "max_length": Key(
            Integer("a number of messages", 1, _MANY, "100000"),
            "Messages <queue>.dead keeps; above it the oldest are dropped.",
            default="without bound",
        ),
    },
)

_QUEUE_PROPERTIES = {
    "type": Key(
        Choice(("quorum", "classic")),
        "The queue's type.",
        default="quorum; classic where max_priority needs it (RabbitMQ before 4.3)",
    ),
    "max_priority": Key(
        Integer("a priority", 0, 9, "9"),
        "Rank messages by priority, 0 to 9, 9 first; this is the highest in use.",
        default="priorities are not ranked",
    ),
    "prefetch": Key(
        Either((Integer("a number of messages", 1, 65535, "32"), Choice(("auto",), (("auto", None),)))),
        "Messages one worker holds; auto follows its concurrency and the measured run time.",
        default="auto",
    ),
    "retry": Key(
        Either((RETRY, Choice((False,), ((False, None),)))),
        "When failed tasks run again, unless the task says otherwise; false: never.",
        default="only tasks that ask for retries have them",
    ),
    "dead_letter": Key(DEAD_LETTER, "How long <queue>.dead keeps what failed.", default="for ever"),
    "delivery_limit": Key(
        Integer("a number of deliveries", 1, _MANY, "20"),
        "Quorum queues: returns after which the broker itself dead-letters a message.",
        default="20",
    ),
    "max_length": Key(Integer("a number of messages", 1, _MANY, "500000"), "Messages the queue holds at most."),
    "max_length_bytes": Key(
        Integer("a number of bytes", 1, 2**53, "1000000000"),
        "Bytes of message bodies the queue holds at most.",
    ),
    "overflow": Key(
        Choice(("reject-publish", "drop-head")),
        "What a full queue does: refuse (producers get QueueFull), or dead-letter its oldest message.",
        default="reject-publish",
    ),
    "message_ttl": Key(
        Duration("1h"),
        "Time after which a waiting message is dead-lettered.",
        default="messages wait for ever",
    ),
    "expires": Key(Duration("7d"), "Time without consumers after which the broker deletes the queue.", default="never"),
    "consumer_timeout": Key(
        Duration("2h"),
        "How long a task may run before the broker takes its message back (quorum queues, RabbitMQ 4.3 and "
        "later; before, the broker's own setting rules, 30 minutes unless changed).",
    ),
    "consumer_priority": Key(
        Integer("a consumer priority", -1_000_000, 1_000_000, "10"),
        "Consumers of higher priority get messages first (x-priority).",
        default="0",
    ),
    "single_active_consumer": Key(
        Flag(), "Only one consumer at a time gets messages, the others stand by.", default="false"
    ),
    "arguments": _raw,
}

QUEUE = Record(
    "a queue",
    "{prefetch: 32}",
    {
        "bindings": Key(
            ListOf(BINDING, "a list of bindings"),
            "What the queue receives, beside what is sent to it by name.",
            default="none",
        ),
        **_QUEUE_PROPERTIES,
    },
    short=True,
)

EXCHANGE = Record(
    "an exchange",
    "{type: topic}",
    {
        "type": Key(
            Choice(("direct", "topic", "fanout", "headers", "x-consistent-hash")),
            "How it routes; x-consistent-hash needs RabbitMQ's plugin of that name.",
            default="direct",
        ),
        "durable": Key(Flag(), "Does it survive a restart of the broker?", default="true"),
        "auto_delete": Key(Flag(), "Is it deleted when its last binding goes?", default="false"),
        "internal": Key(Flag(), "Can only other exchanges publish to it?", default="false"),
        "alternate": Key(_exchange_name, "The exchange that gets what this one can't route."),
        "bindings": Key(
            ListOf(BINDING, "a list of bindings"), "Exchanges that this one receives from.", default="none"
        ),
        "arguments": _raw,
    },
    short=True,
)

ROUTE = Record(
    "a route",
    '{task: "shop.mail.*", queue: emails}',
    {
        "task": Key(
            Text("a task name, glob or /regex/", '"shop.mail.*"'),
            "Which tasks: the exact name, a glob (* crosses dots), or a regex between slashes that matches "
            "anywhere in the name.",
            required=True,
        ),
        "queue": Key(_queue_name, "Send to this queue by its name."),
        "exchange": Key(_exchange_name, "Send to this exchange, instead of a queue."),
        "routing_key": Key(_routing_key, "With this key.", default="empty"),
        "priority": Key(
            Integer("a priority", 0, 9, "7"),
            "For tasks that set none themselves, 0 to 9, 9 first.",
            default="none",
        ),
    },
    one_of=("queue", "exchange"),
    only_with={"routing_key": "exchange"},
)

POOL = Record(
    "a pool",
    "{queues: [emails], concurrency: 4}",
    {
        "queues": Key(
            Either(
                (
                    ListOf(_queue_name, "a list of queues", least=1),
                    MapOf(
                        Integer("a weight", 1, 1000, "3"),
                        "a mapping of queue to weight",
                        "{emails: 3}",
                        least=1,
                    ),
                )
            ),
            "The queues it works on, first come first for order: strict; or a weight for each.",
            required=True,
        ),
        "order": Key(
            Choice(("strict", "weighted", "fair")),
            "Between queues that all have work: the first queue first, by weight, or each in turn.",
            default="weighted when weights are given, else fair",
        ),
        "pool": Key(
            Text("the name of a pool implementation", "prefork"),
            "prefork, threads, asyncio, gevent or solo.",
            default="the setting worker_pool",
        ),
        "concurrency": Key(
            Integer("a number of tasks", 1, 100_000, "4"), "Tasks at the same time.", default="the pool's own"
        ),
        "prefetch": Key(
            Either((Integer("a number of messages", 1, 65535, "32"), Choice(("auto",), (("auto", None),)))),
            "Messages one worker holds per queue.",
            default="each queue's own",
        ),
    },
)

DOCUMENT = Record(
    "routing.yaml",
    "queues: {emails: {prefetch: 32}}",
    {
        "version": Key(Choice((1,)), "Version of this format.", default="1"),
        "defaults": Key(
            Record(
                "the defaults",
                "{queue: {prefetch: 32}}",
                {
                    "queue": Key(
                        Record("the default queue properties", "{prefetch: 32}", _QUEUE_PROPERTIES, short=True),
                        "For each key that a queue leaves out.",
                    )
                },
                short=True,
            ),
            "What holds for everything that does not say otherwise.",
        ),
        "exchanges": Key(
            MapOf(EXCHANGE, "a mapping of exchanges", "{tasks: {type: topic}}", short=True),
            "Exchanges, by name.",
        ),
        "queues": Key(MapOf(QUEUE, "a mapping of queues", "{emails: {prefetch: 32}}", short=True), "Queues, by name."),
        "routes": Key(
            ListOf(ROUTE, "a list of routes", short=True),
            "Where tasks go: the first route that matches wins; without any, the default queue.",
        ),
        "pools": Key(
            MapOf(POOL, "a mapping of pools", "{mail: {queues: [emails]}}", short=True),
            "Dedicated worker pools, by name: amqtask worker --pool-name NAME, or amqtask up for all.",
        ),
        "schedule": Key(
            MapOf(PERIODIC, "a mapping of periodic tasks", "{report: {task: shop.report, every: 1h}}", short=True),
            "Periodic tasks, by name; amqtask beat sends them.",
        ),
    },
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of routing.yaml, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "amqtask routing.yaml",
        "description": "Exchanges, queues, routes and worker pools of an amqtask application.",
        **DOCUMENT.schema(),
    }
