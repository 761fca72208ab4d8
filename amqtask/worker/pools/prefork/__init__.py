"""The prefork pool: children that run one job after the other, and the parent that feeds them."""

from amqtask.worker.pools.prefork.pool import POOL, PreforkPool

__all__ = ["POOL", "PreforkPool"]
