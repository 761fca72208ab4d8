"""Canvas: work composed of tasks, on Celery's JSON shapes. Pure: nothing here reaches a broker or a store."""
