"""Everything for tests and development: the dev broker, the pytest plugin, and what both stand on."""
