"""Fixtures every kind of test may use: a broker, a vhost of one's own, a broker to break.

Which broker that is, :mod:`chosen_broker` says. What only RabbitMQ can do is marked
``@pytest.mark.rabbitmq_only("reason")`` and skipped on the dev broker; the reasons are told at the end.
"""

from __future__ import annotations

import logging
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chosen_broker import AGAIN, ON_DEV, own_node, shared_node
from hypothesis import HealthCheck, settings
from nodes import Node
from worker_process import Site, new_site

from amqtask import logs

ONLY = "only on RabbitMQ: "

# No test is timed: how long an example takes says what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup: programs that tests start would inherit it
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept, elsewhere = [], []
    for item in items:
        mark = item.get_closest_marker("rabbitmq_only")
        if mark is not None:
            (reason,) = mark.args
            if ON_DEV:
                item.add_marker(pytest.mark.skip(reason=f"{ONLY}{reason}"))
        elif AGAIN and not {"broker_node", "own_node"} & set(item.fixturenames):
            elsewhere.append(item)  # has nothing to do with the broker, and has run
            continue
        kept.append(item)
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = Counter(
        reason.removeprefix(f"Skipped: {ONLY}")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and (reason := report.longrepr[2]).startswith(f"Skipped: {ONLY}")
    )
    if skipped:
        terminalreporter.section("not on the dev broker")
        for reason, count in skipped.most_common():
            terminalreporter.line(f"{ONLY}{reason} ({count})")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Commands that run in this process set up its log; the next test finds it as it was."""
    names = ["", *logs._DRIVERS]
    loggers = [(logger, logger.level, logger.handlers[:]) for logger in map(logging.getLogger, names)]
    source = logs._Source
    name, fields, trace = source.name, source.task_fields, source.trace_fields
    yield
    for logger, level, handlers in loggers:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    logs.set_process_name(name)
    logs.provide_task_fields(fields)
    logs.provide_trace_fields(trace)


@pytest.fixture
def patient_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages of workers give everybody a minute: the machine may be busy."""
    for name in ("PATIENCE", "_REQUEST_TIME"):
        monkeypatch.setattr(f"amqtask.worker.http_server.{name}", 60.0)


@pytest.fixture(scope="session")
def broker_node() -> Iterator[Node]:
    """The broker of the session. Shared, so not to be broken."""
    with shared_node() as node:
        yield node


@pytest.fixture(scope="session")
def broker_url(broker_node: Node) -> str:
    """URL of the session's broker, default vhost. Use queue names of your own, or ``vhost_url``."""
    return broker_node.url


@pytest.fixture
def vhost_url(broker_node: Node) -> Iterator[str]:
    """URL of a fresh vhost that is deleted after the test.

    Where none can be made it is the default vhost, so tests should still use unique names.
    """
    if not broker_node.can_make_vhosts:
        yield broker_node.url
        return
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield broker_node.add_vhost(name)
    broker_node.delete_vhost(name)


@pytest.fixture(scope="session", name="own_node")
def _own_node() -> Iterator[Node]:
    """A broker for this session alone, to be restarted, killed and blocked. Leave it running and unblocked."""
    with own_node() as node:
        yield node


@pytest.fixture
def own_vhost(own_node: Node) -> Iterator[str]:
    """URL of a fresh vhost on ``own_node``."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield own_node.add_vhost(name)
    own_node.delete_vhost(name)


@pytest.fixture
def site(broker_node: Node, tmp_path: Path) -> Iterator[Site]:
    """Where worker processes run: a folder and a vhost of their own; nothing is left of them after the test."""
    with new_site(broker_node, tmp_path) as made:
        yield made


@pytest.fixture
def breakable_site(own_node: Node, tmp_path: Path) -> Iterator[Site]:
    """The same on ``own_node``, which the test may restart."""
    with new_site(own_node, tmp_path) as made:
        yield made
