"""What a worker is told to do: command line > pool of routing.yaml > settings > defaults."""

from __future__ import annotations

import pytest

from amqtask.config.settings import Settings
from amqtask.errors import ConfigError, TopologyError
from amqtask.topology.declarations import Pool, Queue
from amqtask.topology.model import Topology
from amqtask.worker import options
from amqtask.worker.options import Requested, node_name, resolve
from amqtask.worker.process.cpus import cgroup_quota, usable_cpus


def topology(*pools: Pool) -> Topology:
    return Topology.from_code(
        queues=[Queue("emails"), Queue("files.small"), Queue("files.large")],
        pools=pools,
        default_queue="emails",
    )


MAIL = Pool("mail", {"emails": 1}, pool="asyncio", concurrency=200, prefetch=7)
FILES = Pool("files", {"files.small": 3, "files.large": 1}, order="weighted")


def resolved(*pools: Pool, settings: Settings | None = None, **requested):
    return resolve(Requested(**requested), topology(*pools), settings or Settings())


def test_without_options_every_queue_is_consumed_with_equal_weight():
    found = resolved()
    assert found.queues == (("emails", 1), ("files.small", 1), ("files.large", 1))
    assert (found.pool, found.order, found.prefetch) == ("prefork", "fair", None)
    assert found.concurrency == usable_cpus()


def test_queues_keep_the_order_in_which_they_were_given_and_exclusion_wins():
    found = resolved(queues=["files.large", "emails", "files.large"], exclude=["emails"])
    assert found.queues == (("files.large", 1),)


def test_excluding_leaves_the_others():
    assert [name for name, _ in resolved(exclude=["emails"]).queues] == ["files.small", "files.large"]


def test_excluding_everything_is_an_error():
    with pytest.raises(ConfigError, match="no queue is left"):
        resolved(queues=["emails"], exclude=["emails"])


@pytest.mark.parametrize("option", ["queues", "exclude"])
def test_an_unknown_queue_is_answered_with_the_nearest(option):
    with pytest.raises(TopologyError, match=r"unknown queue 'emial'.*did you mean 'emails'\?"):
        resolved(**{option: ["emial"]})


def test_a_pool_brings_its_queues_weights_and_settings():
    found = resolved(FILES, MAIL, pool_name="files")
    assert found.queues == (("files.small", 3), ("files.large", 1))
    assert (found.order, found.pool, found.pool_name) == ("weighted", "prefork", "files")
    found = resolved(FILES, MAIL, pool_name="mail")
    assert (found.pool, found.concurrency, found.prefetch) == ("asyncio", 200, 7)


def test_the_command_line_wins_over_the_pool():
    found = resolved(MAIL, pool_name="mail", pool="threads", concurrency=3, prefetch=9, order="strict")
    assert (found.pool, found.concurrency, found.prefetch, found.order) == ("threads", 3, 9, "strict")


def test_the_pool_wins_over_the_settings():
    settings = Settings(worker_pool="threads", worker_concurrency=5, worker_prefetch=2, worker_queue_order="strict")
    found = resolved(MAIL, settings=settings, pool_name="mail")
    assert (found.pool, found.concurrency, found.prefetch, found.order) == ("asyncio", 200, 7, "fair")


def test_the_settings_win_over_the_defaults():
    settings = Settings(
        worker_pool="threads", worker_concurrency=5, worker_queue_order="strict", worker_shutdown_timeout=1.5
    )
    found = resolved(settings=settings)
    assert (found.pool, found.concurrency, found.order, found.shutdown_timeout) == (
        "threads",
        5,
        "strict",
        1.5,
    )


def test_queues_may_be_a_part_of_the_pools():
    assert resolved(FILES, pool_name="files", queues=["files.small"]).queues == (("files.small", 3),)


def test_an_unknown_pool_of_the_file_is_answered_with_the_nearest():
    with pytest.raises(TopologyError, match=r"unknown pool 'fiels'.*did you mean 'files'\?"):
        resolved(FILES, MAIL, pool_name="fiels")
    with pytest.raises(TopologyError, match="no pools are declared"):
        resolved(pool_name="fiels")


def test_an_unknown_kind_of_pool_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'prefork'\?"):
        resolved(pool="prefrok")
    with pytest.raises(ConfigError, match="use -P gevent, asyncio or threads"):
        resolved(pool="eventlet")


def test_default_concurrency_depends_on_the_pool(monkeypatch):
    monkeypatch.setattr(options, "usable_cpus", lambda: 6)
    found = {pool: resolved(pool=pool).concurrency for pool in ("prefork", "threads", "asyncio", "solo")}
    assert found == {"prefork": 6, "threads": 10, "asyncio": 100, "solo": 1}


def test_solo_runs_one_task_whatever_the_setting_says():
    assert resolved(pool="solo", settings=Settings(worker_concurrency=4)).concurrency == 1
    with pytest.raises(ConfigError, match="one task at a time"):
        resolved(pool="solo", concurrency=2)


def test_a_shutdown_timeout_of_zero_is_kept():
    assert resolved(shutdown_timeout=0.0).shutdown_timeout == 0.0


@pytest.mark.parametrize(
    ("name", "pool", "expanded"),
    [
        (None, None, "amqtask@box.example.org"),
        (None, "mail", "mail@box.example.org"),
        ("w1@%h", "mail", "w1@box.example.org"),
        ("w1@%n", None, "w1@box"),
        ("w1@%d", None, "w1@example.org"),
        ("w1", None, "w1@box.example.org"),
        ("%n-1", None, "box-1@box.example.org"),
        ("100%%@x", None, "100%@x"),
    ],
)
def test_node_names_are_expanded(name, pool, expanded):
    assert node_name(name, pool, "box.example.org") == expanded


@pytest.mark.parametrize("name", ["w%x@%h", "w@%", "@%h", "w@", "w@%d", "a@b@c"])
def test_node_names_that_make_no_sense_are_refused(name):
    with pytest.raises(ConfigError, match="worker name"):
        node_name(name, None, "box")


def test_the_cpu_quota_of_a_container_counts(tmp_path):
    (tmp_path / "cgroup").write_text("0::/docker/abc\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path) == 1.5
    (tmp_path / "docker/abc").mkdir(parents=True)
    (tmp_path / "docker/abc/cpu.max").write_text("50000 100000\n")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path) == 0.5
    (tmp_path / "docker/abc/cpu.max").write_text("max 100000\n")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path) == 1.5


def test_the_cpu_quota_of_cgroups_version_1_counts(tmp_path):
    (tmp_path / "cgroup").write_text("4:memory:/\n3:cpu,cpuacct:/\n")
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("200000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path) == 2.0
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path) is None


def test_no_cgroup_is_no_limit(tmp_path):
    assert cgroup_quota(tmp_path / "missing", tmp_path) is None
    assert usable_cpus() >= 1


def test_an_autoscaled_worker_starts_with_its_fewest_slots_and_holds_messages_for_its_most():
    scaled = Settings(worker_autoscale="10,3", worker_prefetch_multiplier=4)
    assert (resolved(settings=scaled).concurrency, resolved(settings=scaled).prefetch) == (3, 40)
    assert resolved(settings=scaled, concurrency=5).concurrency == 5
    assert resolved(settings=scaled, concurrency=50).concurrency == 10


def test_solo_can_not_be_scaled_and_bounds_must_make_sense():
    with pytest.raises(ConfigError, match="worker_autoscale can't be used with it"):
        resolved(settings=Settings(worker_autoscale="10,3"), pool="solo")
    with pytest.raises(ConfigError, match="write MAX,MIN"):
        resolved(settings=Settings(worker_autoscale="many"))
