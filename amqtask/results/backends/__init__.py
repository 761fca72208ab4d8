"""Result backends, one per module; see :mod:`amqtask.results.base`."""
