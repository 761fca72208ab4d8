"""Parts of limits for tests: an app with limited tasks, and tokens in the hands of the test."""

from __future__ import annotations

from types import SimpleNamespace

from amqtask import Amqtask


def app_with(**tasks):
    settings = {name: tasks.pop(name) for name in list(tasks) if name.startswith(("task_", "worker_"))}
    app = Amqtask("limits", **settings)
    for name, options in tasks.items():
        app.task(name=name, **options)(lambda tenant=None: tenant)
    return app


class TokensStub:
    """Tokens in the hands of the test: the wanted count, and what was given back or spent."""

    def __init__(self):
        self.wanted, self.released, self.closed = 0, [], False

    def want(self, wanted):
        self.wanted = wanted

    def release(self, seat, wanted, *, spend):
        self.wanted = wanted
        self.released.append((seat, "spent" if spend else "returned"))

    def renew(self, seat):
        self.released.append((seat, "renewed"))

    def close(self):
        self.closed = True


def seat():
    return SimpleNamespace(token=1, since=0.0)
