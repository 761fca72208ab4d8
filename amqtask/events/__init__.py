"""Events in Celery's format, as they travel and as they are received. The worker's side is amqtask.worker.events."""
