"""Without gevent installed its pool says what to install, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = "import sys; sys.modules['gevent'] = None\nfrom amqtask.errors import ConfigError\n"


def outcome_of(code: str) -> str:
    """What a fresh process without gevent prints."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_the_pool_and_its_patches_name_the_extra():
    told = outcome_of(
        "from amqtask.worker.pools._gevent_patch import patch\n"
        "from amqtask.worker.pools.base import pools\n"
        "for ask in (patch, lambda: pools.get('gevent')):\n"
        "    try: ask()\n"
        "    except ConfigError as error: print(error)\n"
    )
    assert told.splitlines() == ["the gevent pool needs gevent: pip install 'amqtask[gevent]'"] * 2


def test_other_pools_do_without():
    assert (
        outcome_of("from amqtask.worker.pools.base import pools\nprint(pools.get('threads').__name__)")
        == "ThreadPool\n"
    )
