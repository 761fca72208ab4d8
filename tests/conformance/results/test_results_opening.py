"""Which backend a URL opens, and what is said when there is none; what a document tells of its state."""

from __future__ import annotations

import bz2
import json
import subprocess
import sys

import msgpack
import pytest
import yaml
from stores import record

from amqtask.config.settings import Settings
from amqtask.errors import ConfigError
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import newest, state_of
from amqtask.results.base import backends
from amqtask.results.open import open_backend


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("nothing", "is not a URL"),
        ("reddis://:secret@localhost/0", "did you mean 'redis'"),
        ("kafka://user:secret@localhost", "unknown scheme 'kafka'"),
        ("file://elsewhere/folder", "file:///path"),
        ("file:///", "file:///path"),
        ("db+nosuch://user:secret@localhost/x", "nosuch"),
        ("db+sqlite://", "no other process sees it"),
        ("cache+memory://", "cache\\+memcached"),
        ("cache+memcached://", "cache\\+memcached"),
        ("mongodb://user:secret@localhost:port/", "[Pp]ort"),
        ("elasticsearch://user:secret@localhost/x?retries=3", "unknown parameter 'retries'"),
        ("cassandra://user:secret@/x", "cassandra://host"),
    ],
)
def test_urls_that_can_not_be_right_are_config_errors_without_passwords(url, text):
    with pytest.raises(ConfigError, match=text) as caught:
        open_backend(url, Settings())
    assert "secret" not in str(caught.value)


def test_every_module_is_a_backend_by_its_name():
    expected = {"cache", "cassandra", "db", "elasticsearch", "file", "mongodb", "redis"}
    assert expected <= set(backends.names())


DRIVERS = [
    ("redis://localhost", "redis", "redis"),
    ("sentinel://localhost", "redis", "redis"),
    ("cache+memcached://localhost/", "pymemcache", "memcached"),
    ("mongodb://localhost", "pymongo", "mongodb"),
    ("elasticsearch://localhost", "elasticsearch", "elasticsearch"),
    ("cassandra://localhost/x", "cassandra", "cassandra"),
    ("db+postgresql://localhost/x", "psycopg", "postgresql"),
    ("db+mysql://localhost/x", "pymysql", "mysql"),
]
"""URL, the module it needs, the extra that has it."""


@pytest.mark.parametrize("drivers", [DRIVERS, [("db+sqlite:////tmp/x", "sqlalchemy", "sqlalchemy")]])
def test_a_missing_driver_is_a_config_error_that_names_the_extra(drivers):
    code = f"""if True:
        import sys
        from amqtask.config.settings import Settings
        from amqtask.errors import ConfigError
        from amqtask.results.open import open_backend
        for url, module, extra in {drivers!r}:
            sys.modules[module] = None
            try:
                open_backend(url, Settings())
            except ConfigError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    expected = [f'pip install "amqtask[{extra}]"' for _, _, extra in drivers]
    assert [line.rpartition(": ")[2] for line in done.stdout.splitlines()] == expected


def test_nothing_of_a_driver_is_imported_for_the_file_backend():
    code = """if True:
        import sys
        from amqtask.config.settings import Settings
        from amqtask.results.open import open_backend
        open_backend("file:///tmp/x", Settings())
        print({"redis", "sqlalchemy", "pymongo", "elasticsearch", "cassandra", "pymemcache"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("interval", [0, -1, "1", True])
def test_the_pace_of_asking_is_a_number_of_seconds(interval, tmp_path):
    settings = Settings(result_backend_transport_options={"poll_interval": interval})
    with pytest.raises(ConfigError, match="poll_interval"):
        open_backend(f"file://{tmp_path}/x", settings)


META = {"result": [1], "status": "RETRY", "task_id": "a"}
MARK = b"\0celery-compressed\0"


@pytest.mark.parametrize(
    ("document", "state"),
    [
        (record("a", "SUCCESS").document, "SUCCESS"),
        (record("a", "FAILURE", result='"status": "SUCCESS"').document, "FAILURE"),
        (json.dumps(META).encode(), "RETRY"),
        (json.dumps(META, separators=(",", ":")).encode(), "RETRY"),
        (b'{"status":"MY_STATE-2","result":null}', "MY_STATE-2"),
        (msgpack.packb(META), "RETRY"),
        (yaml.safe_dump({"result": "a\nstatus: SUCCESS\n"} | META).encode(), "RETRY"),
        (MARK + b"application/x-bz2\0" + bz2.compress(json.dumps(META).encode()), "RETRY"),
        (MARK + b"application/x-bz2\0broken", None),
        (MARK, None),
        (b"", None),
        (b"[" * 100_000, None),
        (b"{", None),
        (b"\xc1", None),
        (b"5", None),
        (b'{"status": 5}', None),
        (b'{"result": 1}', None),
    ],
)
def test_the_state_of_a_document_is_read_whatever_it_is(document, state):
    assert state_of(document) == state


def test_of_each_task_the_newest_record_stays_but_for_a_success():
    records = [
        record("b", "STARTED"),
        record("a"),
        record("b", "FAILURE"),
        record("a", "FAILURE"),
        record("a", result=2),
    ]
    assert newest(records) == [record("a", result=2), record("b", "FAILURE")]


def test_what_belongs_to_a_process_is_made_once_and_again_after_it_was_taken():
    made = iter(range(10))
    mine = PerProcess(lambda: next(made))
    assert [mine.get(), mine.get(), mine.take(), mine.take(), mine.get()] == [0, 0, 0, None, 1]


def test_what_can_not_be_made_is_tried_again():
    results = iter([ValueError, None])

    def make():
        error = next(results)
        if error:
            raise error
        return "made"

    mine = PerProcess(make)
    with pytest.raises(ValueError):
        mine.get()
    assert mine.get() == "made"
