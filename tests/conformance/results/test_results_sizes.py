"""Large documents: kept, or refused with an error that says that trying again does not help."""

from __future__ import annotations

import pytest
from stores import record

from amqtask.errors import ResultTooLarge


def test_a_large_document_is_kept_or_called_too_large(place, backend, task_id):
    one = record(task_id, result="x" * (place.too_large or 10_000_000))
    if place.too_large:
        with pytest.raises(ResultTooLarge):
            backend.store([one])
        one = record(task_id)
    backend.store([one])
    assert backend.fetch([task_id]) == {task_id: one.document}
