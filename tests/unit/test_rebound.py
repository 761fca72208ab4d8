"""An app with other settings for a while, although it has been used."""

from __future__ import annotations

import threading

import pytest
from recording import RecordingTransport
from shop import read, task_of

from amqtask import ConfigError
from amqtask.config.sources import Source


def test_settings_change_for_the_block_and_come_back(shop, transport):
    add = task_of(shop)
    add.delay(1)
    other = RecordingTransport()
    with shop.rebound(task_serializer="json") as same:
        assert same is shop
        assert shop.conf.task_serializer == "json"
        shop.use_transport(other)
        add.delay(2)
    add.delay(3)
    assert shop.conf.task_serializer == "msgpack"
    assert [message.properties.content_type for message in other.sent] == ["application/json"]
    assert [read(message).args for message in transport.sent] == [(1,), (3,)]


def test_override_wins_over_code_and_command_line(shop):
    shop.configuration.update({"timezone": "Europe/Berlin"}, Source.COMMAND_LINE)
    with shop.rebound(timezone="UTC"):
        assert shop.settings.timezone == "UTC"
        assert str(shop.configuration.origin("timezone")) == "override"
    assert shop.settings.timezone == "Europe/Berlin"


def test_given_transport_is_set_aside(shop, transport):
    with shop.rebound():
        assert shop.transport is not transport
    assert shop.transport is transport


def test_topology_is_made_anew_only_when_its_settings_change(shop):
    topology = shop.topology
    with shop.rebound(task_serializer="json"):
        assert shop.topology is topology
    with shop.rebound(task_queues=[], task_routes=[], task_default_queue="other"):
        assert list(shop.topology.queues) == ["other"]
    assert shop.topology is topology


def test_blocks_may_be_nested(shop):
    with shop.rebound(timezone="Asia/Tokyo"):
        with shop.rebound(task_serializer="json"):
            assert (shop.conf.timezone, shop.conf.task_serializer) == ("Asia/Tokyo", "json")
        assert (shop.conf.timezone, shop.conf.task_serializer) == ("Asia/Tokyo", "msgpack")


def test_settings_are_fixed_inside_the_block_too(shop):
    with shop.rebound():
        shop.conf.timezone = "Asia/Tokyo"
        _ = shop.topology
        with pytest.raises(ConfigError, match="too late"):
            shop.conf.timezone = "UTC"
    assert shop.conf.timezone == "UTC"


def test_wrong_setting_changes_nothing(shop, transport):
    with pytest.raises(ConfigError, match="did you mean"), shop.rebound(timezon="UTC"):
        pass
    assert shop.transport is transport


def test_app_comes_back_after_an_error(shop, transport):
    with pytest.raises(ZeroDivisionError), shop.rebound():
        _ = 1 / 0
    assert shop.transport is transport


def test_transport_of_one_thread_is_not_that_of_others(shop, transport):
    own = RecordingTransport()
    seen = []

    def work():
        shop.use_transport_here(own)
        seen.append(shop.transport)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [own]
    assert shop.transport is transport
