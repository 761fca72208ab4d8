"""Pools of other packages: what is wrong with one is said before a worker begins."""

from __future__ import annotations

import pytest

from amqtask.errors import ConfigError
from amqtask.worker.pools.base import Pool, _Pools

OFFERED = '''
from amqtask.worker.pools.base import Pool
from amqtask.worker.pools.solo import SoloPool


class Slow(SoloPool):
    """A pool like any other."""


class Half(Pool):
    def start(self): ...
    def close(self): ...


class Duck:
    def __init__(self, host): ...


def make(host):
    return Slow(host)
'''

ENTRIES = """
[amqtask.pools]
slow = offered_pools:Slow
half = offered_pools:Half
duck = offered_pools:Duck
maker = offered_pools:make
gone = offered_pools:Gone
lost = lost_pools:Pool
"""


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """The registry beside an installed package with pools."""
    (tmp_path / "offered_pools.py").write_text(OFFERED)
    info = tmp_path / "offered_pools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered-pools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(tmp_path)
    return _Pools("pool", "amqtask.worker.pools", "POOL", "amqtask.pools")


def test_a_pool_of_a_package_is_found_by_the_name_of_its_entry_point(offered):
    assert "slow" in offered.names()
    assert issubclass(offered.get("slow"), Pool)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("half", "pool 'half': offered_pools.Half lacks free, grow, release_main, run_main, running, shrink, size, "),
        ("duck", "pool 'duck': <class 'offered_pools.Duck'> is not a subclass of amqtask.worker.pools.base.Pool"),
        ("maker", "is not a subclass of amqtask.worker.pools.base.Pool"),
        ("gone", "pool 'gone' is offered_pools:Gone, which can't be loaded: .*no attribute 'Gone'"),
        ("lost", "pool 'lost' is lost_pools:Pool, which can't be loaded: No module named 'lost_pools'"),
    ],
)
def test_a_wrong_pool_is_refused_with_what_is_wrong(offered, name, problem):
    with pytest.raises(ConfigError, match=problem):
        offered.get(name)


@pytest.mark.parametrize("name", ["asyncio", "gevent", "prefork", "solo", "threads"])
def test_own_pools_keep_the_contract(name):
    kind = _Pools("pool", "amqtask.worker.pools", "POOL", "amqtask.pools").get(name)
    assert kind.forks is (name == "prefork")
