"""The worker's side of events: what is told of tasks, the heart, and what sends it all."""
