"""Which versions of RabbitMQ can be started, and which Debian suite each of them comes from."""

from __future__ import annotations

import platform
import shutil
import subprocess

SUITES = {"3.10": "bookworm", "4.0": "trixie", "4.3": "forky"}
NEWEST = "4.3"
DISTRIBUTION = "distribution"
NAMES = (DISTRIBUTION, *SUITES, "newest")
"""What may be asked for: by number, the newest of them, or the package of this machine's own distribution."""


def suite_of(name: str) -> str:
    """The suite whose root file system has to be made for a version; "" when this machine's own package is it.

    Args:
        name: one of NAMES.
    """
    if name == DISTRIBUTION:
        return ""
    version = NEWEST if name == "newest" else name
    suite = SUITES[version]
    installed = installed_version()
    if own_suite() == suite and (installed is None or installed.startswith(f"{version}.")):
        return ""
    return suite


def own_suite() -> str:
    """Code name of the Debian release this machine runs; "" when it runs something else."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return release.get("VERSION_CODENAME", "") if release.get("ID") == "debian" else ""


def installed_version() -> str | None:
    """Version of the package rabbitmq-server on this machine, None when it is not installed."""
    if not shutil.which("dpkg-query"):
        return None
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", "rabbitmq-server"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    status, _, version = answer.partition(" ")
    return version if status == "installed" else None
