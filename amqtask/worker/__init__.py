"""The worker: consumes queues, runs tasks in a pool, settles every message exactly once."""
