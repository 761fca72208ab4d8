"""The servers there are, each with its command line and its URL."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING

from private_broker.certificates import make_certificates
from private_broker.processes import HOST

from private_services.packages import program
from private_services.service import PASSWORD, Service

if TYPE_CHECKING:
    from pathlib import Path


class Redis(Service):
    """Redis, with a password; data survive a restart.

    Args:
        state: as Service.
        port: as Service.
        tls: listen with TLS only; certificates are in ``state / "tls"``.
    """

    name = "redis"
    programs = ("redis-server",)

    def __init__(self, state: Path, port: int = 0, *, tls: bool = False) -> None:
        super().__init__(state, port)
        self.tls = tls

    def prepare(self) -> None:
        if self.tls:
            make_certificates(self.state / "tls")

    def command(self) -> list[str]:
        words = ["--bind", HOST, "--requirepass", PASSWORD, "--masterauth", PASSWORD, "--dir", str(self.state)]
        words += ["--save", "", "--appendonly", "yes", "--appendfsync", "no", "--daemonize", "no"]
        if not self.tls:
            return [program("redis-server"), "--port", str(self.port), *words]
        files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
        for option, name in files.items():
            words += [f"--tls-{option}-file", str(self.state / "tls" / name)]
        words += ["--tls-port", str(self.port), "--tls-auth-clients", "no"]
        return [program("redis-server"), "--port", "0", *words]

    def ready(self) -> bool:
        """Whether it has loaded its data: it listens before that."""
        if self.tls or not super().ready():
            return super().ready()
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\n") < 2 and (data := connection.recv(100)):  # noqa: PLR2004 -- one line each
                answer += data
            return b"+PONG" in answer
        return False

    @property
    def url(self) -> str:
        if self.tls:
            return f"rediss://:{PASSWORD}@{self.address}/0?ssl_ca_certs={self.state}/tls/ca.pem"
        return f"redis://:{PASSWORD}@{self.address}/0"


class Sentinel(Service):
    """A sentinel that watches one Redis under the name ``shop``, as its only one.

    Args:
        state: as Service.
        port: as Service.
        master: the port of the Redis it watches at first.
    """

    name = "sentinel"
    programs = ("redis-server", "redis-sentinel")

    def __init__(self, state: Path, port: int = 0, *, master: int = 0) -> None:
        super().__init__(state, port)
        self.master = master

    def prepare(self) -> None:
        lines = [
            f"sentinel monitor shop {HOST} {self.master} 1",
            f"sentinel auth-pass shop {PASSWORD}",
            "sentinel down-after-milliseconds shop 300",
            "sentinel failover-timeout shop 3000",
        ]
        (self.state / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [program("redis-sentinel"), str(self.state / "sentinel.conf"), "--port", str(self.port), "--bind", HOST]

    @property
    def url(self) -> str:
        return f"sentinel://:{PASSWORD}@{self.address}/0"


class PostgreSQL(Service):
    """PostgreSQL, with a password."""

    name = "postgresql"
    programs = ("postgres", "initdb")
    account = "postgres"
    goodbye = signal.SIGINT

    def prepare(self) -> None:
        secret = self.state / "secret"
        secret.write_text(PASSWORD)
        self.own(secret)
        words = ["--username=shop", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "--encoding=UTF8"]
        self.run(program("initdb"), "-D", str(self.state / "data"), *words)

    def command(self) -> list[str]:
        given = {"listen_addresses": HOST, "unix_socket_directories": "", "fsync": "off", "shared_buffers": "16MB"}
        words = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        return [program("postgres"), "-D", str(self.state / "data"), "-p", str(self.port), *words]

    def ready(self) -> bool:
        log = self.state / "log"
        return super().ready() and log.read_bytes().rpartition(b"starting PostgreSQL")[2].count(b"ready to accept") > 0

    @property
    def url(self) -> str:
        return f"db+postgresql://shop:{PASSWORD}@{self.address}/postgres"


class MariaDB(Service):
    """MariaDB, with a password."""

    name = "mariadb"
    programs = ("mariadbd", "mariadb-install-db")
    account = "mysql"

    def prepare(self) -> None:
        words = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        self.run(program("mariadb-install-db"), "--no-defaults", f"--datadir={self.state / 'data'}", *words)
        grant = f"CREATE USER shop@'{HOST}' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO shop@'{HOST}';"
        (self.state / "first.sql").write_text(f"CREATE DATABASE shop;\n{grant}\n".replace("; ", ";\n"))

    def command(self) -> list[str]:
        given = {
            "datadir": self.state / "data",
            "port": self.port,
            "bind-address": HOST,
            "socket": self.state / "socket",
            "pid-file": self.state / "pid",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-buffer-pool-size": "32M",
        }
        if not (self.state / "begun").exists():
            given["init-file"] = self.state / "first.sql"
            (self.state / "begun").touch()
        words = [f"--{name}={value}" for name, value in given.items()]
        return [program("mariadbd"), "--no-defaults", "--skip-name-resolve", *words]

    @property
    def url(self) -> str:
        return f"db+mysql://shop:{PASSWORD}@{self.address}/shop"


class Memcached(Service):
    """memcached, which keeps nothing over a restart."""

    name = "memcached"
    programs = ("memcached",)
    account = "nobody"

    def command(self) -> list[str]:
        return [program("memcached"), "-l", HOST, "-p", str(self.port), "-U", "0", "-m", "64"]

    def ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1) as connection:
            connection.sendall(b"version\r\n")
            return connection.recv(7) == b"VERSION"
        return False

    @property
    def url(self) -> str:
        return f"cache+memcached://{self.address}/"


KINDS: dict[str, type[Service]] = {kind.name: kind for kind in (Redis, PostgreSQL, MariaDB, Memcached)}
