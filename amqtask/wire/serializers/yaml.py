"""YAML by the safe loader only. Owns the YAML body format."""

from __future__ import annotations

from typing import Any

import yaml

from amqtask.wire.serializers.base import Serializer


def _dumps(value: Any) -> bytes:
    try:
        # not allow_unicode: PyYAML writes U+0085 as it is and reads it back as a space
        text: str = yaml.safe_dump(value)
    except yaml.YAMLError as error:
        raise TypeError(f"can't be written as YAML: {error}") from None
    return text.encode("ascii")


SERIALIZER = Serializer(
    name="yaml",
    content_type="application/x-yaml",
    content_encoding="utf-8",
    dumps=_dumps,
    loads=lambda data: yaml.safe_load(data.decode("utf-8")),
)
