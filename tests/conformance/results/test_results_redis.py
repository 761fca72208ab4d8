"""The Redis backend: Celery's keys, TLS, sentinels, prefixes, compressed documents."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from urllib.parse import urlsplit

import pytest
import redis
from celery.result import AsyncResult, GroupResult
from private_services.kinds import PASSWORD, Redis, Sentinel
from proxy import Proxy
from stores import folder, record, redis_server, server, started
from waiting import wait_for

from amqtask.config.settings import Settings
from amqtask.errors import BackendError, ConfigError
from amqtask.results.open import open_backend
from amqtask.wire.ids import new_id

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
"""That is Celery's call."""


@pytest.fixture(scope="module")
def node():
    with redis_server() as running:
        yield running


@pytest.fixture
def client(node):
    with redis.Redis.from_url(node.url) as connected:
        connected.flushdb()
        yield connected


@pytest.fixture
def backend(node):
    opened = open_backend(node.url, Settings())
    yield opened
    opened.close()


@pytest.fixture
def celery(node, celery_on):
    return celery_on(node.url)


def test_celery_reads_what_we_store(backend, celery, task_id):
    backend.store([record(task_id, result={"sum": 5})])
    assert AsyncResult(task_id, app=celery).get(timeout=5) == {"sum": 5}


def test_celery_waits_for_what_we_store(backend, celery, task_id):
    result = AsyncResult(task_id, app=celery)
    celery.backend.result_consumer.start(task_id)
    backend.store([record(task_id, result=7)])
    assert result.get(timeout=5) == 7


def test_we_read_what_celery_stores(backend, celery, task_id):
    watch = backend.watch([task_id])
    celery.backend.store_result(task_id, [1, "zwei"], "SUCCESS")
    (document,) = watch.wait(10).values()
    assert backend.fetch([task_id]) == {task_id: document}
    assert json.loads(document)["result"] == [1, "zwei"]
    backend.store([record(task_id, "FAILURE")])
    assert backend.fetch([task_id]) == {task_id: document}
    watch.close()


def test_documents_expire_as_celery_has_them(node, backend, client, task_id):
    forever, other = open_backend(node.url, Settings(result_expires=0.0)), new_id()
    for state in ("SUCCESS", "STARTED"):
        backend.store([record(f"{task_id}-{state}", state)])
        forever.store([record(f"{other}-{state}", state)])
        assert 86_390 <= client.ttl(f"celery-task-meta-{task_id}-{state}") <= 86_400
        assert client.ttl(f"celery-task-meta-{other}-{state}") == -1
    forever.close()


def test_groups_of_celery_are_ours_and_ours_are_celerys(backend, celery, task_id):
    ids = [new_id(), new_id()]
    GroupResult(task_id, [AsyncResult(one, app=celery) for one in ids], app=celery).save()
    saved = backend.fetch_group(task_id)
    assert json.loads(saved) == {"result": [[task_id, None], [[[one, None], None] for one in ids]]}
    ours = new_id()
    backend.save_group(ours, saved.replace(task_id.encode(), ours.encode()))
    assert [one.id for one in GroupResult.restore(ours, app=celery).results] == ids


def test_celery_stores_under_the_same_prefix(node, client, celery_on, task_id):
    options = {"global_keyprefix": "shop"}
    backend = open_backend(node.url, Settings(result_backend_transport_options=options))
    celery = celery_on(node.url, result_backend_transport_options=options)
    backend.store([record(task_id, result=1)])
    backend.chords.begin(task_id, 1)
    assert celery.backend.get_result(task_id) == 1
    expected = {f"shop_celery-task-meta-{task_id}", f"shop_celery-taskset-meta-{task_id}.s"}
    assert {key.decode() for key in client.scan_iter()} == expected
    backend.close()


@pytest.mark.parametrize("success", [True, False])
def test_the_state_of_a_compressed_document_is_seen(backend, task_id, success):
    text = record(task_id, "SUCCESS" if success else "RETRY").document
    packed = b"\0celery-compressed\0application/x-gzip\0" + zlib.compress(text)
    backend.store([record(task_id)._replace(document=packed, state="SUCCESS" if success else "RETRY")])
    other = new_id()
    failures = [record(task_id, "FAILURE"), record(other, "FAILURE")]
    backend.store(failures)
    expected = packed if success else failures[0].document
    assert backend.fetch([task_id, other]) == {task_id: expected, other: failures[1].document}


def test_celery_compresses_and_we_see_the_success(node, backend, celery_on, task_id):
    celery = celery_on(node.url, result_compression="zlib")
    celery.backend.store_result(task_id, "x" * 1000, "SUCCESS")
    there = backend.fetch([task_id])
    backend.store([record(task_id, "FAILURE")])
    assert backend.fetch([task_id]) == there
    assert celery.backend.get_result(task_id) == "x" * 1000


def test_a_silent_server_is_noticed(node, backend, client, task_id, monkeypatch):
    monkeypatch.setattr("amqtask.results.backends._redis_hub.QUIET_SECONDS", 0.2)
    watch = backend.watch([task_id])
    wait_for(lambda: answers(watch))
    client.client_pause(1500)
    with pytest.raises(BackendError, match="does not answer"):
        watch.wait(10)
    client.client_unpause()
    backend.store([record(task_id)])
    assert wait_for(lambda: answered(watch), timeout=20) == {task_id: record(task_id).document}
    watch.close()


def answers(watch):
    """Whether some PINGs are answered in time; on a busy machine they are not each time."""
    try:
        return watch.wait(0.7) == {}
    except BackendError:
        return False


def test_a_connection_that_is_cut_loses_no_news(backend, client, task_id):
    watch = backend.watch([task_id])
    assert watch.wait(0.2) == {}
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    backend.store([record(task_id)])
    assert wait_for(lambda: answered(watch)) == {task_id: record(task_id).document}
    watch.close()


def answered(watch):
    try:
        return watch.wait(1)
    except BackendError:
        return None


def test_a_watch_leaves_no_subscription_behind(backend, client):
    watches = [backend.watch([new_id() for _ in range(40)]) for _ in range(5)]
    for watch in watches:
        watch.wait(0.05)
    assert wait_for(lambda: len(client.pubsub_channels()) == 200)
    for watch in watches:
        watch.close()
    assert wait_for(lambda: not client.pubsub_channels())


def test_tls_is_verified_against_the_given_authority(task_id):
    with server(Redis, tls=True) as secure:
        backend = open_backend(secure.url, Settings())
        watch = backend.watch([task_id])
        backend.store([record(task_id, result="x" * 100_000)])
        assert watch.wait(10) == backend.fetch([task_id]) == {task_id: record(task_id, result="x" * 100_000).document}
        watch.close()
        backend.close()
        unknown = open_backend(secure.url.partition("?")[0], Settings())
        with pytest.raises(BackendError, match="certificate"):
            unknown.fetch([task_id])
        unknown.close()


def test_sentinels_lead_to_the_new_master(task_id):
    later = new_id()
    with folder() as state, started(Redis(state / "one")) as first, started(Redis(state / "two")) as second:
        with redis.Redis.from_url(second.url) as replica, redis.Redis.from_url(first.url) as master:
            replica.replicaof("127.0.0.1", first.port)
            wait_for(lambda: master.info("replication").get("slave0", {}).get("state") == "online")
        with started(Sentinel(state / "sentinel", master=first.port)) as sentinel:
            with redis.Redis(port=sentinel.port) as asking:
                wait_for(lambda: len(asking.sentinel_slaves("shop")) == 1)
            settings = Settings(result_backend_transport_options={"master_name": "shop"})
            backend = open_backend(f"sentinel://127.0.0.1:1;{sentinel.url}", settings)
            watch = backend.watch([later])
            backend.store([record(task_id)])
            assert watch.wait(0.1) == {}
            with redis.Redis.from_url(second.url) as replica:
                wait_for(lambda: replica.exists(f"celery-task-meta-{task_id}"))
            first.kill()
            wait_for(lambda: stored(backend, later), timeout=30)
            assert set(backend.fetch([task_id, later])) == {task_id, later}
            assert wait_for(lambda: answered(watch), timeout=20) == {later: record(later).document}
            watch.close()
            backend.close()


def stored(backend, task_id):
    try:
        backend.store([record(task_id)])
    except BackendError:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://localhost/results", "number of the database"),
        ("redis://localhost/0?ssl_cert_reqs=CERT_NONE", "rediss"),
        ("sentinel://localhost", "master_name"),
        ("redis://localhost:port/0", "[Pp]ort"),
    ],
)
def test_urls_that_can_not_be_right_are_config_errors(url, text):
    with pytest.raises(ConfigError, match=text):
        open_backend(url, Settings())


def test_a_unix_socket_will_do(tmp_path, task_id):
    backend = open_backend(f"redis+socket://{tmp_path}/none.sock?virtual_host=1", Settings())
    with pytest.raises(BackendError, match="No such file"):
        backend.fetch([task_id])
    assert PASSWORD not in repr(backend)
    backend.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_server_that_does_not_answer_holds_nobody_up_for_long_beyond_the_timeout(node, asynchronous):
    ids = [new_id() for _ in range(20)]
    with Proxy("127.0.0.1", urlsplit(node.url).port) as proxy:
        backend = open_backend(proxy.url(node.url), Settings())
        assert backend.fetch(ids) == {}
        proxy.freeze()
        watches = [backend.watch([task_id]) for task_id in ids]
        started = time.monotonic()
        if asynchronous:
            waits = [watch.await_(0.2) for watch in watches]
            found = asyncio.run(gathered(waits))
        else:
            found = [watches[0].wait(0.2)]
        assert not any(found)
        assert time.monotonic() - started < 20  # seconds that it waits for answers otherwise: 30
        proxy.thaw()
        backend.store([record(ids[0])])
        assert watches[0].wait(10)
        for watch in watches:
            watch.close()
        backend.close()


async def gathered(waits):
    return await asyncio.gather(*waits)
