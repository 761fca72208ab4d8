"""A supervisord program per process. Owns its text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from amqtask.cli.deploy.plan import FINAL

if TYPE_CHECKING:
    from amqtask.cli.deploy.plan import Plan


def supervisor(plan: Plan, *, python: str, folder: str, user: str) -> str:
    """Sections ``[program:x]`` and a group of them.

    Args:
        plan: what is to run.
        python: the interpreter.
        folder: the workers' working directory.
        user: that they run as.
    """
    codes = ",".join(map(str, FINAL))
    programs = []
    for unit in plan.units:
        command = shlex.join([python, "-m", "amqtask", *unit.words]).replace("%", "%%")
        programs += [
            f"[program:{plan.name}-{unit.name}]",
            f"command={command}",
            f"directory={folder}",
            f"user={user}",
            "autostart=true",
            "; again after every end but those that would only repeat themselves",
            "autorestart=unexpected",
            f"exitcodes={codes}",
            "startsecs=5",
            "startretries=1000000",
            "; TERM lets running tasks end; they have this long",
            "stopsignal=TERM",
            f"stopwaitsecs={plan.grace}",
            "stopasgroup=true",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile=/var/log/{plan.name}-{unit.name}.log",
            "",
        ]
    names = ",".join(f"{plan.name}-{unit.name}" for unit in plan.units)
    return "\n".join([*programs, f"[group:{plan.name}]", f"programs={names}", ""])
