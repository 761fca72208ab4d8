"""scripts/test installs the servers of the result backends' tests before it begins, when these will run."""

from __future__ import annotations

import pytest
from suites.plan import read, stages
from suites.services import TESTS, needed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", True),
        ("conformance", True),
        ("unit integration", False),
        (TESTS, True),
        (f"{TESTS}/test_results_redis.py", True),
        (f"{TESTS}/test_results_redis.py::test_celery_reads_what_we_store", True),
        ("tests/conformance/amqp", False),
        ("tests/unit/test_suites.py", False),
    ],
)
def test_servers_are_needed_by_the_tests_of_result_backends(words, expected):
    assert needed(stages(read(words.split()), given=False)) is expected
