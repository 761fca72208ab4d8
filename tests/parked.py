"""Names of the queues in which the steps of long chains wait."""

from __future__ import annotations

from amqtask.app.canvas_sender import CanvasSender


def parked_queues(monkeypatch):
    """Those of the chains that are sent in this process from now on, in their order."""
    names, begins = [], CanvasSender.begins

    def watched(self, plan):
        names.extend(parked.queue for parked in plan.parked)
        return begins(self, plan)

    monkeypatch.setattr(CanvasSender, "begins", watched)
    return names
