"""Many workers of one machine, started and stopped by name."""
