"""What scripts/test does: which parts run on which brokers, their processes, the report. Standard library only."""
