"""One private node: its start and end, and what its state folder says about it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from private_broker.certificates import make_certificates
from private_broker.configuration import enabled_plugins, rabbitmq_conf
from private_broker.installation import installation
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

    from private_broker.installation import Installation

START_SECONDS = 90.0
STOP_SECONDS = 20.0


class Node:
    """One private node: what its state folder says, and what can be done with it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.file = state / "node.json"
        self.info: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}

    @property
    def installation(self) -> Installation:
        return installation(self.info.get("suite", ""))

    @property
    def home(self) -> Path:
        """Folder of its configuration, data and logs."""
        return self.installation.home(self.state, self.info.get("name", ""))

    @property
    def running(self) -> bool:
        return alive(self.info.get("server"))

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.info['ports'][0]}/"

    def addresses(self) -> dict[str, str]:
        ports = self.info["ports"]
        lines = {"AMQTASK_BROKER_URL": self.url, "BROKER_STATE": str(self.state)}
        if version := self.installation.version():
            lines["BROKER_VERSION"] = version
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
        home = self.installation.inside(self.home)
        return (
            kept
            | self.installation.variables()
            | {
                "HOME": home,  # the Erlang cookie
                "LANG": "C.UTF-8",
                "ERL_EPMD_ADDRESS": HOST,
                "ERL_EPMD_PORT": str(epmd),
                "ERL_MAX_PORTS": "65536",
                "RABBITMQ_NODENAME": f"{self.info['name']}@localhost",
                "RABBITMQ_NODE_PORT": str(amqp),
                "RABBITMQ_DIST_PORT": str(dist),
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
                "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced.config",
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
                "RABBITMQ_MNESIA_BASE": f"{home}/data",
                "RABBITMQ_LOG_BASE": f"{home}/log",
                "RABBITMQ_PID_FILE": f"{home}/pid",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{erlang} +sbwt none +sbwtdcpu none +sbwtdio none",
            }
        )

    def configure(self) -> None:
        """Write what the server reads at its start."""
        ports, plugins, tls = (self.info[name] for name in ("ports", "plugins", "tls"))
        if tls:  # into the node's own folder: the only one that its account surely sees
            shutil.copytree(self.state / "tls", self.home / "tls", dirs_exist_ok=True)
        secrets = self.installation.inside(self.home / "tls")
        (self.home / "rabbitmq.conf").write_text(rabbitmq_conf(ports, plugins, tls, secrets))
        (self.home / "advanced.config").write_text("[].\n")
        (self.home / "enabled_plugins").write_text(enabled_plugins(plugins, tls))
        for name in ("data", "log"):
            (self.home / name).mkdir(exist_ok=True)
        for path in self.home.iterdir():
            self.installation.own(path)

    def spawn(self, command: list[str], log: str) -> Process:
        """Start a process of its own session under the broker's account."""
        limit_files()
        with (self.home / log).open("ab") as out:
            process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **self.installation.run_options(self.home),
            )
        return (process.pid, born(process.pid))

    def boot(self) -> bool:
        """Start epmd and the server on the ports of `info`; False when it did not come up."""
        self.configure()
        self.info["epmd"] = self.spawn(self.installation.command("epmd"), "log/epmd")
        wait_for(lambda: listening(self.info["ports"][2]), 10)
        self.info["server"] = self.spawn(self.installation.command("rabbitmq-server"), "log/stdout")
        self.save()
        up = wait_for(lambda: not self.running or speaks_amqp(self.info["ports"][0]), START_SECONDS)
        return up and self.running

    def ctl(self, *arguments: str) -> int:
        """Run rabbitmqctl; returns its exit code."""
        command = self.installation.command("rabbitmqctl", *arguments)
        options = self.installation.run_options(self.home)
        return subprocess.run(command, env=self.environment(), **options, check=False).returncode

    def start(self, plugins: list[str], tls: str, suite: str) -> None:
        """Start it, or leave it alone when it runs.

        Args:
            plugins: to enable.
            tls: "", "tls" or "mtls".
            suite: Debian suite of its programs; "" for those of this machine.

        Ends the script when it runs with other options, and when it does not come up.
        """
        wanted = {"plugins": plugins, "tls": tls, "suite": suite}
        if self.running:
            if {k: self.info.get(k, "") for k in wanted} != wanted:
                die("a node with other options runs in this state folder: stop it, or give another --state")
            return
        kept = self.info if {k: self.info.get(k, "") for k in wanted} == wanted else {}
        if not kept:
            self.forget()
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

    def forget(self) -> None:
        """Remove the files it has outside its state folder."""
        if self.info.get("suite"):
            shutil.rmtree(self.home, ignore_errors=True)

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
