"""One private node: configuration, start, stop, addresses."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from private_broker.account import as_user, broker_user
from private_broker.certificates import make_certificates
from private_broker.install import binary
from private_broker.messages import die
from private_broker.processes import (
    HOST,
    Process,
    alive,
    born,
    descendants,
    end,
    free_ports,
    limit_files,
    listening,
    speaks_amqp,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

START_SECONDS = 90.0
STOP_SECONDS = 20.0


class Node:
    """One private node: what its state folder says, and what can be done with it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.home = state / "node"
        self.file = state / "node.json"
        self.info: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}

    @property
    def running(self) -> bool:
        return alive(self.info.get("server"))

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.info['ports'][0]}/"

    def addresses(self) -> dict[str, str]:
        ports = self.info["ports"]
        lines = {"AMQTASK_BROKER_URL": self.url, "BROKER_STATE": str(self.state)}
        if "rabbitmq_management" in self.info["plugins"]:
            lines["BROKER_MANAGEMENT_URL"] = f"http://guest:guest@{HOST}:{ports[3]}/"
        if self.info["tls"]:
            lines["BROKER_TLS_URL"] = f"amqps://guest:guest@localhost:{ports[4]}/"
            lines["BROKER_TLS_DIR"] = str(self.state / "tls")
        return lines

    def save(self) -> None:
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(self.info, indent=1))
        temporary.replace(self.file)

    def environment(self) -> dict[str, str]:
        """For the server and for the command line tools: nothing of the system's own node."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        amqp, dist, epmd, *_ = self.info["ports"]
        erlang = "-kernel inet_dist_use_interface {127,0,0,1}"
        return kept | {
            "HOME": str(self.home),  # the Erlang cookie
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(epmd),
            "ERL_MAX_PORTS": "65536",
            "RABBITMQ_NODENAME": f"{self.info['name']}@localhost",
            "RABBITMQ_NODE_PORT": str(amqp),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_PID_FILE": str(self.home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{erlang} +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def configure(self) -> None:
        amqp, _, _, management, tls = self.info["ports"]
        plugins = list(self.info["plugins"])
        lines = [
            f"listeners.tcp.1 = {HOST}:{amqp}",
            "disk_free_limit.absolute = 50MB",
            "vm_memory_high_watermark.relative = 0.4",
            "log.file.level = info",
            "log.console = false",
        ]
        if "rabbitmq_management" in plugins:
            lines += [f"management.tcp.ip = {HOST}", f"management.tcp.port = {management}"]
        if self.info["tls"]:
            folder = self.state / "tls"
            lines += [
                f"listeners.ssl.1 = {HOST}:{tls}",
                f"ssl_options.cacertfile = {folder}/ca.pem",
                f"ssl_options.certfile = {folder}/server.pem",
                f"ssl_options.keyfile = {folder}/server.key",
                "ssl_options.verify = verify_peer",
                f"ssl_options.fail_if_no_peer_cert = {str(self.info['tls'] == 'mtls').lower()}",
            ]
        if self.info["tls"] == "mtls":
            plugins.append("rabbitmq_auth_mechanism_ssl")
            lines += [f"auth_mechanisms.{i} = {m}" for i, m in enumerate(("EXTERNAL", "PLAIN", "AMQPLAIN"), 1)]
            lines.append("ssl_cert_login_from = common_name")
        (self.home / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.home / "advanced.config").write_text("[].\n")
        (self.home / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        for name in ("data", "log"):
            (self.home / name).mkdir(exist_ok=True)
        if user := broker_user():
            for path in self.home.iterdir():
                shutil.chown(path, user, pwd.getpwnam(user).pw_gid)

    def spawn(self, command: list[str], log: str) -> Process:
        """Start a process of its own session under the broker's account."""
        limit_files()
        with (self.home / log).open("ab") as out:
            process = subprocess.Popen(
                command,
                env=self.environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **as_user(),
            )
        return (process.pid, born(process.pid))

    def boot(self) -> bool:
        """Start epmd and the server on the ports of `info`; False when it did not come up."""
        self.configure()
        self.info["epmd"] = self.spawn(["epmd"], "log/epmd")
        wait_for(lambda: listening(self.info["ports"][2]), 10)
        self.info["server"] = self.spawn([str(binary("rabbitmq-server"))], "log/stdout")
        self.save()
        up = wait_for(lambda: not self.running or speaks_amqp(self.info["ports"][0]), START_SECONDS)
        return up and self.running

    def start(self, plugins: list[str], tls: str) -> None:
        wanted = {"plugins": plugins, "tls": tls}
        if self.running:
            if {k: self.info[k] for k in wanted} != wanted:
                die("a node with other options runs in this state folder: stop it, or give another --state")
            return
        kept = self.info if {k: self.info.get(k) for k in wanted} == wanted else {}
        if tls:
            make_certificates(self.state / "tls")
        for attempt in range(3):
            ports = kept["ports"] if kept and not attempt else free_ports(5)
            name = kept.get("name") or f"amqtask-{random.randrange(16**6):06x}"
            self.info = {"name": name, "ports": ports, **wanted}
            try:
                if self.boot():
                    return
            except BaseException:  # Ctrl-C while it boots leaves nothing behind either
                self.halt()
                raise
            self.halt()
        output = (self.home / "log" / "stdout").read_text(errors="replace").splitlines()
        end_of_output = "\n  ".join(output[-15:])
        die(f"the node did not start; end of its output:\n  {end_of_output}\nlogs: {self.home}/log")

    def halt(self, sign: int = signal.SIGTERM) -> None:
        """End the server with everything below it, then its epmd.

        SIGTERM lets it close its files (about 5 s); SIGKILL is for nodes whose data nobody needs.
        """
        server: Process | None = self.info.get("server")
        epmd: Process | None = self.info.get("epmd")
        if server and alive(server):
            tree = descendants(server[0])
            end(tree, STOP_SECONDS if sign == signal.SIGTERM else 0, sign=sign)
        if epmd and alive(epmd):
            end([epmd], 0, sign=signal.SIGKILL)  # it ignores SIGTERM and has nothing to lose
