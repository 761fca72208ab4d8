"""Files for the programs that run workers in production: one format per module."""
