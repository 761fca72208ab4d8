"""Limits of tasks: how long they run, how often they start, how many at once."""
