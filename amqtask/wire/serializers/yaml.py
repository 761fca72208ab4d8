"""YAML by the safe loader only. Owns the YAML body format."""

from __future__ import annotations

from typing import Any

import yaml

from amqtask.wire.serializers.base import Serializer


class _Dumper(yaml.SafeDumper):
    """Also writes subclasses of maps and lists, such as signatures, as what they are."""


class _Loader(yaml.SafeLoader):
    """Without merge keys (``<<``): nested, they make gigabytes of a kilobyte, and no writer of messages uses them."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("merge keys are not read")
        super().flatten_mapping(node)


_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)
_Dumper.add_multi_representer(list, yaml.SafeDumper.represent_list)
_Dumper.add_representer(range, yaml.SafeDumper.represent_list)
_Dumper.add_multi_representer(tuple, yaml.SafeDumper.represent_list)


def _dumps(value: Any) -> bytes:
    try:
        # not allow_unicode: PyYAML writes U+0085 as it is and reads it back as a space
        text: str = yaml.dump(value, Dumper=_Dumper)
    except yaml.YAMLError as error:
        raise TypeError(f"can't be written as YAML: {error}") from None
    return text.encode("ascii")


SERIALIZER = Serializer(
    name="yaml",
    content_type="application/x-yaml",
    content_encoding="utf-8",
    dumps=_dumps,
    loads=lambda data: yaml.load(data.decode("utf-8"), _Loader),  # noqa: S506 -- it is a safe loader
)
