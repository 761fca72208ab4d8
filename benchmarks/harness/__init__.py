"""The measuring side: broker, processes, counter, measures, results. Knows no peer's code."""
