"""Broker URLs: notation, lists, and that passwords stay hidden."""

from __future__ import annotations

import pytest

from amqtask.broker.url import BrokerURL, mask, parse_urls
from amqtask.errors import ConfigError


def test_a_full_url_is_read():
    url = BrokerURL.parse("amqp://shop:s3cret@rabbit.example:5673/orders")
    assert (url.host, url.port, url.vhost, url.user, url.password) == (
        "rabbit.example",
        5673,
        "orders",
        "shop",
        "s3cret",
    )
    assert not url.tls


@pytest.mark.parametrize("path", ["", "/", "//", "/%2F", "/%2f"])
def test_the_default_vhost_can_be_written_in_all_the_usual_ways(path: str):
    assert BrokerURL.parse(f"amqp://localhost{path}").vhost == "/"


@pytest.mark.parametrize(("path", "vhost"), [("/a%2Fb", "a/b"), ("/a/b", "a/b"), ("/%C3%A4", "ä"), ("/x y", "x y")])
def test_a_vhost_is_percent_decoded(path: str, vhost: str):
    assert BrokerURL.parse(f"amqp://localhost{path}").vhost == vhost


def test_defaults_are_those_of_rabbitmq():
    url = BrokerURL.parse("amqp://")
    assert (url.host, url.port, url.vhost, url.user, url.password) == ("localhost", 5672, "/", "guest", "guest")


def test_user_and_password_are_percent_decoded():
    url = BrokerURL.parse("amqp://us%40er:p%3Aw%2Fd@host/")
    assert (url.user, url.password) == ("us@er", "p:w/d")


def test_amqps_takes_the_tls_port():
    url = BrokerURL.parse("amqps://host/")
    assert url.tls
    assert url.port == 5671


def test_an_ipv6_address_is_read_and_shown_in_brackets():
    url = BrokerURL.parse("amqp://[::1]:5999/")
    assert (url.host, url.where) == ("::1", "[::1]:5999")


def test_tls_parameters_of_the_uri_specification_are_read():
    url = BrokerURL.parse(
        "amqps://host/?cacertfile=/ca.pem&certfile=/c.pem&keyfile=/k.pem&verify=verify_none"
        "&auth_mechanism=external&heartbeat=7&connection_timeout=2500"
    )
    assert (url.ca_file, url.cert_file, url.key_file) == ("/ca.pem", "/c.pem", "/k.pem")
    assert url.verify is False
    assert url.external
    assert (url.heartbeat, url.connect_timeout) == (7, 2.5)


def test_a_client_certificate_without_a_user_means_external_login():
    assert BrokerURL.parse("amqps://host/?certfile=/c.pem").external
    assert not BrokerURL.parse("amqps://user:pw@host/?certfile=/c.pem").external


@pytest.mark.parametrize("query", ["heartbat=3", "heartbeat=often", "verify=perhaps", "auth_mechanism=kerberos"])
def test_an_unknown_or_impossible_parameter_is_refused(query: str):
    with pytest.raises(ConfigError, match=query.split("=", maxsplit=1)[0]):
        BrokerURL.parse(f"amqp://guest:hidden@host/?{query}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("redis://:pw@host/0", "Redis"),
        ("sqs://key:secret@", "SQS"),
        ("http://host", "HTTP"),
        ("amqt://host", "unknown scheme"),
        ("rabbit.example", "not a broker URL"),
        ("amqp://host:port/", "ort"),
        ("amqp://host:99999/", "ort"),
    ],
)
def test_another_kind_of_url_is_refused_with_a_hint(text: str, hint: str):
    with pytest.raises(ConfigError, match=hint) as caught:
        BrokerURL.parse(text)
    assert ":pw@" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("password", ["s3cret", "p@ss:w/rd", "", "ä;b"])
def test_the_password_is_never_shown(password: str):
    from urllib.parse import quote

    url = BrokerURL.parse(f"amqp://user:{quote(password, safe='')}@host/v")
    assert str(url) == "amqp://user:***@host:5672/v"
    assert "password" not in repr(url)


@pytest.mark.parametrize("text", ["amqp://u:a@b@host:x/", "amqp://u:a/b@host:x/", "amqp://u:pw@host:x/"])
def test_the_password_of_a_malformed_url_is_hidden_too(text: str):
    with pytest.raises(ConfigError) as caught:
        BrokerURL.parse(text)
    for secret in ("a@b", "a/b", "pw"):
        assert secret not in str(caught.value)
    assert ":***@" in mask(text)


@pytest.mark.parametrize(
    "urls",
    [
        "amqp://a;amqp://b",
        "amqp://a, amqp://b",
        "amqp://a ; amqp://b;",
        ["amqp://a", "amqp://b"],
        ["amqp://a;amqp://b"],
    ],
)
def test_several_urls_can_be_joined_or_listed(urls: str | list[str]):
    assert [url.host for url in parse_urls(urls)] == ["a", "b"]


def test_a_separator_inside_a_password_does_not_split():
    (url,) = parse_urls("amqp://user:a;b,c@host/")
    assert url.password == "a;b,c"


@pytest.mark.parametrize("nothing", ["", " ", [], [""]])
def test_no_url_at_all_is_refused(nothing: str | list[str]):
    with pytest.raises(ConfigError, match="no broker URL"):
        parse_urls(nothing)
