"""Settings: what there is, where each value came from, and how a wrong one is reported."""
