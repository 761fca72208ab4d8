"""amqtask's own commands of remote control, one function each. Owns the list of modules they are in."""

from __future__ import annotations

import importlib
import pkgutil


def load_commands() -> None:
    """Declare all of them; see :data:`amqtask.control.registry.commands`."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
