"""pickle, for queues that Celery clients fill with it. Owns the format; :mod:`amqtask.wire.accept` guards it.

Reading pickle runs whatever its writer wants. Signatures of Celery's canvas are read as the maps that they are, also
where Celery is not installed.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from amqtask.wire.serializers.base import Serializer

_PROTOCOL = 4
"""As Celery writes; read by every Python since 3.4."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if module == "celery.canvas":
            return dict
        return super().find_class(module, name)


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, _PROTOCOL)
    except Exception as error:  # objects pickle themselves, by code of their own
        raise TypeError(f"can't be pickled: {error}") from None


SERIALIZER = Serializer(
    name="pickle",
    content_type="application/x-python-serialize",
    content_encoding="binary",
    dumps=_dumps,
    loads=lambda data: _Unpickler(io.BytesIO(data)).load(),
)
