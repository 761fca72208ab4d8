"""Tasks: declaring them, calling them, and what they know and decide while they run."""
