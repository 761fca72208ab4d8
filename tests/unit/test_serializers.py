"""Serializers beside kombu's, signatures in every format, and the guard before pickle."""

from __future__ import annotations

import enum
import json
import pickle
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import pytest

from amqtask.app.dead import DeadMessage
from amqtask.contrib.celery import chord, group, signature
from amqtask.errors import ConfigError, DecodeError, EncodeError
from amqtask.wire.accept import checked_accept
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.message import Properties, TaskMessage
from amqtask.wire.upgrade import upgraded

RICH = [
    datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC), datetime(2030, 1, 2), date(2030, 1, 2), time(3, 4, 5),  # noqa: DTZ001
    UUID(int=7), Decimal("1.10"), b"text", "zwölf".encode(), b"\xff\x00", 1.5, 2**80, None, True, {"a": [1]},
]  # fmt: skip


def test_json_is_kombus_json_both_ways():
    from kombu.utils import json as kombu

    writer = serializers.get("json")
    for value in RICH:
        assert json.loads(writer.dumps([value])) == json.loads(kombu.dumps([value]))
        assert writer.loads(kombu.dumps([value]).encode()) == [value]
        assert kombu.loads(writer.dumps([value])) == [value]


@pytest.mark.parametrize("name", ["json", "msgpack", "yaml", "pickle"])
def test_plain_values_are_read_by_kombu_and_kombus_by_us(name):
    from kombu.serialization import registry

    writer = serializers.get(name)
    value = [[1, "zwölf", 2.5], {"k": [None, True]}, {"chain": None}]
    content_type, encoding, body = registry.dumps(value, name)
    assert (content_type, encoding) == (writer.content_type, writer.content_encoding)
    assert writer.loads(body.encode() if isinstance(body, str) else body) == value
    assert registry.loads(writer.dumps(value), content_type, encoding, accept={content_type}) == value


def test_what_says_how_it_is_written_is_written_so():
    class Point:
        def __json__(self):
            return {"x": 1}

    assert serializers.get("json").dumps([Point()]) == b'[{"x":1}]'


def test_a_map_that_looks_like_an_unknown_type_stays_one():
    value = [{"__type__": "point", "__value__": 3}]
    assert serializers.get("json").loads(serializers.get("json").dumps(value)) == value


class Sig(dict):
    """A signature is a subclass of a map."""


@pytest.mark.parametrize("name", ["json", "msgpack", "yaml", "pickle"])
def test_signatures_in_a_body_become_maps_or_stay_themselves(name):
    sig = Sig(task="t", args=(1,), kwargs={}, options={"link": [Sig(task="u")]})
    embed = {"chain": [sig], "chord": sig}
    properties, body = encode(TaskMessage("t", "i", embed=embed), serializer=serializers.get(name))
    read = decode(properties, body, [name]).embed
    assert read["chain"] == [{**sig, "args": (1,) if name == "pickle" else [1]}]
    assert read["chord"]["options"]["link"] == [{"task": "u"}]


def test_what_cannot_be_pickled_is_an_encode_error():
    for value in (lambda: 0, (x for x in "x")):
        with pytest.raises(EncodeError, match="arguments can't be sent as pickle"):
            encode(TaskMessage("t", "i", (value,)), serializer=serializers.get("pickle"))


class Bomb:
    def __reduce__(self):
        return exec, ("raise OSError('boom')",)


@pytest.mark.parametrize("body", [b"", b"garbage", b"\x80\x04.", pickle.dumps([1]), pickle.dumps([Bomb(), {}, {}])])
def test_pickles_that_are_no_tasks_are_decode_errors(body):
    properties = Properties("application/x-python-serialize", "binary", {"task": "t", "id": "i"})
    with pytest.raises(DecodeError):
        decode(properties, body, ["pickle"])


def trust(*, insecure=False, keys=None, required=False):
    return SimpleNamespace(allow_insecure_pickle=insecure, message_signing_keys=keys, message_signing_required=required)


def test_pickle_is_accepted_with_signatures_or_on_purpose():
    accept = ("json", "pickle")
    assert checked_accept(accept, trust(insecure=True)) == accept
    assert checked_accept(accept, trust(keys={"k": "secret"}, required=True)) == accept
    for untrusting in (trust(), trust(keys={"k": "secret"}), trust(required=True), trust(keys={}, required=True)):
        for asked in (accept, ["application/x-python-serialize"]):
            with pytest.raises(ConfigError, match=re.escape("allow_insecure_pickle")):
                checked_accept(asked, untrusting)


def test_content_types_are_names_too():
    accept = ["application/json", "json", "application/x-yaml", "application/x-msgpack", "mine"]
    assert checked_accept(accept, trust()) == ("json", "yaml", "msgpack", "mine")
    assert serializers.get("application/json").name == "json"
    properties, body = encode(TaskMessage("t", "i"), serializer=serializers.get("yaml"))
    assert decode(properties, body, ["application/json", "application/x-yaml"]).task == "t"


class Level(str, enum.Enum):  # noqa: UP042 -- as people wrote them before StrEnum
    LOW = "low"


def test_enums_that_are_texts_are_texts():
    for name in ("json", "msgpack"):
        assert serializers.get(name).loads(serializers.get(name).dumps([Level.LOW])) == ["low"]


def test_a_yaml_bomb_of_merge_keys_is_a_decode_error():
    lines = ["a0: &a0 {k0: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: 1}}" for n in range(1, 12)]
    body = f"[[], {{{', '.join(lines)}}}, {{}}]".encode()
    with pytest.raises(DecodeError, match="merge keys are not read"):
        decode(Properties("application/x-yaml", headers={"task": "t", "id": "i"}), body, ["yaml"])


def test_a_dead_letter_is_never_unpickled():
    class Loud:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    body = pickle.dumps([[Loud()], {}, {}])
    properties = Properties("application/x-python-serialize", "binary", {"task": "t", "id": "i"})
    dead = DeadMessage("i", "t", *[None] * 8, {}, properties, body)
    for accept in (["json", "pickle"], ["json", "application/x-python-serialize"]):
        assert "is not accepted" in dead.call(accept)
    assert upgraded(properties._replace(headers={}), body, ["pickle"]) is None


@pytest.mark.parametrize("name", ["json", "msgpack", "yaml"])
def test_ranges_and_tuples_are_lists(name):
    writer = serializers.get(name)
    assert writer.loads(writer.dumps([range(3), (1, 2)])) == [[0, 1, 2], [1, 2]]


@pytest.mark.parametrize("name", ["json", "msgpack", "yaml"])
def test_a_group_and_a_chord_can_be_arguments(name):
    step = signature("t.add", (1, 2))
    work = [group(step, step, step), {"then": chord([step, step], step)}, group([step])]
    read = serializers.get(name).loads(serializers.get(name).dumps([work, {"tuple": (1, {2: "celery.group"})}]))
    assert [len(read[0][0]["kwargs"]["tasks"]), read[0][1]["then"]["task"]] == [3, "celery.chord"]
    assert json.dumps(read[0], sort_keys=True) == json.dumps(work, sort_keys=True)
