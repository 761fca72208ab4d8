"""Programs out of articles on Celery, and all that is changed in them before they run.

The blocks are in ``data/seeds``, word for word. Every import of ``celery`` becomes one of ``amqtask.contrib.celery``;
beyond that, only what EDITS lists is changed: indentation that got lost on the way, Python 2, slips of the authors,
the addresses of servers, paths, and long sleeps.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DATA = Path(__file__).parent / "data" / "seeds"

BROKER, BACKEND = "@broker@", "@backend@"
"""Stand for the addresses of the servers of a test."""

Edit = tuple[str, str]
INDENT = "    "

EDITS: dict[str, list[Edit]] = {
    "000-tasks": [
        ("broker = 'redis://127.0.0.1:6379'", f"broker = '{BROKER}'"),  # amqtask's broker is RabbitMQ
        ("backend = 'redis://127.0.0.1:6379'", f"backend = '{BACKEND}'"),
        ("time.sleep(5)\nreturn", "    time.sleep(0.05)\n    return"),
    ],
    "000-shell": [("In [10]: ", ""), ("In [11]: ", "")],
    "001-monitor": [
        ("state = app.events", "    state = app.events"),
        ("def announce", "    def announce"),
        ("state.event(event)\n#", "        state.event(event)\n#"),
        ("task = state.tasks", "        task = state.tasks"),
        ("print('TASK", "        print('TASK"),
        ("task.name, task.uuid", "            task.name, task.uuid"),
        ("with app.connection", "    with app.connection"),
        ("recv = app", "        recv = app"),
        ("recv.capture", "        recv.capture"),
        ("app = Celery(broker", "    app = Celery(broker"),
        ("\nmy_monitor(app)", "\n    my_monitor(app)"),
        ("amqp://guest@localhost//", BROKER),
    ],
    "001-beat": [
        ("import crontab", "import crontab, solar"),  # used, not imported
        ("Asian/Shanghai", "Asia/Shanghai"),
        ("return a + b", "    return a + b"),
        ("# Calls test('hello')", "    # Calls test('hello')"),
        ("sender.add_periodic_task(10.0", "    sender.add_periodic_task(10.0"),
        ("sender.add_periodic_task(30.0", "    sender.add_periodic_task(30.0"),
        ("sender.add_periodic_task(\n", "    sender.add_periodic_task(\n"),
        ("print(arg)", "    print(arg)"),
    ],
    "001-canvas": [
        ("s.args # (2, 2)", "s.args # (2, 2, {'debug': True})"),  # what .s() is given in one piece is one argument
        ("s.kwargs # {'debug': True}", "s.kwargs # {}"),
        ("s.options # {'countdown': 10}", "s.options # {'countdown': 1}"),  # it was set to 1
        ("add.s(8))().get() #", "add.s(8))() #"),  # or there is nothing left to ask for its parent
        ("xrange", "range"),
    ],
    "001-limits": [("\npass", "\n    pass")],
    "001-children": [],
    "002-celery": [
        ("__funture__", "__future__"),
        ("Celery, platform\n", "Celery, platforms\n"),
        ("platform.C_FORCE_ROOT = true", "platforms.C_FORCE_ROOT = True"),
        ("\napp = Celery(", "\nfrom . import config\napp = Celery("),  # used, not imported
    ],
    "002-tasks": [("__funture__", "__future__"), ("from .app", "from .celery")],  # the article calls the file so
    "002-config": [
        ("LBT_CONFIG_OTHER['BROKER_URL']", f"'{BROKER}'"),  # defined elsewhere
        ("CELERY_RESULT_BACKEND = BROKER_URL", f"CELERY_RESULT_BACKEND = '{BACKEND}'"),
        ("'celerys.task'", "'your_project.tasks'"),  # as the article's tree of folders has it
    ],
    "003-task": [
        ("redis://127.0.0.1:6379/1", BROKER),
        ("redis://127.0.0.1:6379/2", BACKEND),
        ("time.sleep(10)", "time.sleep(0.05)"),
    ],
    "003-handle": [],
    "004-tasks": [("\n    ", "\n"), ("    @app.task()\ndef my_taskA", "@app.task()\ndef my_taskA")],
    "004-queues": [],
    "004-routes": [],
    "004-retry": [("def my_task_A():", "def my_task_A(self):")],  # bind=True
    "004-ignore": [],
    "004-multi": [
        ("    cmd", "import os\ncmd"),
        ("    os.system", "os.system"),
        ("/opt/.virtualenvs/wxmonitor/bin/celery", f"{sys.executable} -m amqtask"),
        ("/srv/wxmonitor.imyyh.com/application/", ""),
        ("celerybeat2.pid", "celeryworker.pid"),  # the worker's, which the watchdog of the same article reads
    ],
    "004-watchdog": [
        ("/srv/wxmonitor.imyyh.com/application/", ""),
        ("print datetime.today()", "print(datetime.today())"),
        ('print "cmd", cmd', 'print("cmd", cmd)'),
        ('print "not need"', 'print("not need")'),
        ('print "start"', 'print("start")'),
        ('print "end"', 'print("end")'),
    ],
    "004-pool": [],
}

_IMPORT = re.compile(r"^(from|import) celery\b", re.MULTILINE)


def original(name: str) -> str:
    """A block as the article has it."""
    return (DATA / f"{name}.txt").read_text()


def program(name: str, broker: str = "", backend: str = "") -> str:
    """A block as it runs here."""
    text = _IMPORT.sub(r"\1 amqtask.contrib.celery", original(name))
    for old, new in EDITS[name]:
        assert old in text, f"{name}: {old!r} is not there"
        text = text.replace(old, new)
    return text.replace(BROKER, broker).replace(BACKEND, backend)


_CLAIM = re.compile(r"^([\w.()=]+) # ([\d\[({].*)$", re.MULTILINE)


def with_claims(text: str) -> str:
    """The program with what its comments claim of a line's value (``res.get() # 16``) as assertions."""
    return _CLAIM.sub(r"assert \1 == \2, \1", text)
