"""The pytest plugin: fixtures that give each test a broker's vhost, an app on it, workers, and a look at all of them.

Owns the fixtures' names, options and order. Loaded by every pytest run where amqtask is installed, so everything but
pytest itself is imported by the fixtures, when a test uses them.

    amqtask_broker_server  (session)  the dev broker, or the RabbitMQ of --amqtask-broker
      └─ amqtask_broker               a vhost of the test's own; faults on demand
           ├─ amqtask_clock           moves time
           └─ amqtask_app             the app of amqtask_app_path, pointed to that vhost
                ├─ published, dead    what was sent, what failed
                └─ amqtask_worker     starts workers
                     └─ drain         waits until all is done
    amqtask_eager                     the app without any broker: tasks run where they are called
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.app.app import Amqtask
    from amqtask.testing.clock import TestClock
    from amqtask.testing.dead import Dead
    from amqtask.testing.drain import Drain
    from amqtask.testing.published import Published
    from amqtask.testing.vhosts import Server, Vhost
    from amqtask.testing.workers import Workers

_REDELIVERED = (
    "redelivered(times=1): every message of the test is delivered again after its ack, as after a lost one, so each "
    "task runs twice; finds tasks that are not idempotent. Needs the dev broker."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini values."""
    group = parser.getgroup("amqtask")
    group.addoption("--amqtask-broker", metavar="URL", help="run on this RabbitMQ instead of the dev broker")
    group.addoption(
        "--amqtask-management", metavar="URL", help="its management API; default: port 15672 of the same host"
    )
    parser.addini("amqtask_app_path", "the app under test, as for 'amqtask -A': module or module:attribute")
    parser.addini("amqtask_broker", "like --amqtask-broker")
    parser.addini("amqtask_management", "like --amqtask-management")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", _REDELIVERED)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a marker that would do nothing."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    if item.get_closest_marker("redelivered") is not None and "amqtask_broker" not in fixtures:
        pytest.fail("@pytest.mark.redelivered does nothing without amqtask's fixtures (drain, ...)", pytrace=False)


@pytest.fixture(scope="session")
def amqtask_broker_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """The broker of the session: a dev broker in a thread of this process, or the RabbitMQ that was asked for."""
    url = _option(pytestconfig, "amqtask_broker")
    server: Server
    if url:
        from amqtask.testing.rabbitmq import RabbitServer  # noqa: PLC0415

        server = RabbitServer(url, _option(pytestconfig, "amqtask_management"))
    else:
        from amqtask.testing.dev_vhosts import DevServer  # noqa: PLC0415

        server = DevServer()
    yield server
    server.close()


@pytest.fixture
def amqtask_broker(amqtask_broker_server: Server, request: pytest.FixtureRequest) -> Iterator[Vhost]:
    """A vhost of the test's own, see :class:`amqtask.testing.vhosts.Vhost`."""
    vhost = amqtask_broker_server.add_vhost()
    try:
        marker = request.node.get_closest_marker("redelivered")
        if marker is not None:
            vhost.redeliver_acked(*marker.args, **marker.kwargs)
        yield vhost
    finally:
        vhost.delete()


@pytest.fixture(scope="session")
def amqtask_app_path(pytestconfig: pytest.Config) -> Any:
    """The app under test: the ini value of this name. Override it to return another path, or the app itself."""
    return pytestconfig.getini("amqtask_app_path") or None


@pytest.fixture
def amqtask_settings() -> dict[str, Any]:
    """Settings for the tests, by name; override it. They win over all others."""
    return {}


@pytest.fixture
def amqtask_app(
    amqtask_app_path: Any,
    amqtask_broker: Vhost,
    amqtask_settings: dict[str, Any],
    _amqtask_overrides: dict[str, Any],
) -> Iterator[Amqtask]:
    """The app under test with its tasks imported, sending to the test's vhost; afterwards as it was before."""
    app = _find_app(amqtask_app_path)
    with app.rebound(**amqtask_settings, **_amqtask_overrides, broker_url=amqtask_broker.url):
        app.load_tasks()
        yield app


@pytest.fixture
def amqtask_eager(amqtask_app_path: Any, amqtask_settings: dict[str, Any]) -> Iterator[Amqtask]:
    """The app under test with ``task_always_eager``: ``delay()`` runs the task, and raises what it raises."""
    eager = {"task_always_eager": True, "task_eager_propagates": True, **amqtask_settings}
    app = _find_app(amqtask_app_path)
    with app.rebound(**eager):
        app.load_tasks()
        yield app


@pytest.fixture
def _amqtask_overrides(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that a marker needs."""
    if request.node.get_closest_marker("redelivered") is None:
        return {}
    return {"worker_dedupe_window": 0}  # else a worker would recognise what it has done


@pytest.fixture
def amqtask_worker(
    amqtask_app: Amqtask,
    amqtask_broker: Vhost,
    amqtask_app_path: Any,
    amqtask_settings: dict[str, Any],
    _amqtask_overrides: dict[str, Any],
) -> Iterator[Workers]:
    """Starts workers that consume when the call returns: ``amqtask_worker(queues="emails", pool="threads")``."""
    from amqtask.testing.workers import Workers  # noqa: PLC0415

    path = amqtask_app_path if isinstance(amqtask_app_path, str) else None
    workers = Workers(amqtask_app, amqtask_broker, path, {**amqtask_settings, **_amqtask_overrides})
    try:
        yield workers
    finally:
        workers.close()


@pytest.fixture
def amqtask_clock(amqtask_broker: Vhost) -> Iterator[TestClock]:
    """Moves time: ``amqtask_clock.advance(3600)`` makes everything due that was to wait for up to an hour."""
    from amqtask.testing.clock import TestClock  # noqa: PLC0415

    clock = TestClock(amqtask_broker)
    clock.install()
    try:
        yield clock
    finally:
        clock.restore()


@pytest.fixture
def published(amqtask_app: Amqtask, amqtask_broker: Vhost) -> Published:
    """Asserts and lists what was sent: ``published(task="shop.mail", args=("ada@example.org",))``."""
    from amqtask.testing.published import Published  # noqa: PLC0415

    return Published(amqtask_app, amqtask_broker)


@pytest.fixture
def assert_enqueued(published: Published) -> Published:
    """``published`` under another name."""
    return published


@pytest.fixture
def drain(amqtask_app: Amqtask, amqtask_broker: Vhost, amqtask_worker: Workers) -> Drain:
    """Waits until every task that was sent has run; tells how they ended, as in ``drain().succeeded``."""
    from amqtask.testing.drain import Drain  # noqa: PLC0415

    return Drain(amqtask_app, amqtask_broker, amqtask_worker)


@pytest.fixture
def dead(amqtask_app: Amqtask) -> Dead:
    """Lists dead letters with their errors, of one queue or all."""
    from amqtask.testing.dead import Dead  # noqa: PLC0415

    return Dead(amqtask_app)


def _option(config: pytest.Config, name: str) -> str | None:
    given: str | None = config.getoption(f"--{name.replace('_', '-')}") or config.getini(name)
    return given or None


def _find_app(path: Any) -> Amqtask:
    from amqtask.app.app import Amqtask  # noqa: PLC0415
    from amqtask.symbols import find_app  # noqa: PLC0415

    if path is None:
        pytest.fail(
            "which app is to be tested? Set amqtask_app_path in pytest's configuration, for example to 'shop.tasks', "
            "or override the fixture amqtask_app_path",
            pytrace=False,
        )
    return path if isinstance(path, Amqtask) else find_app(path, Amqtask)
