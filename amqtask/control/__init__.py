"""Remote control of workers: what is asked of them, and how commands of one's own are added."""

from __future__ import annotations

from amqtask.control.registry import Panel, control_command, inspect_command

__all__ = ["Panel", "control_command", "inspect_command"]
