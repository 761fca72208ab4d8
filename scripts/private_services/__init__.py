"""Private stores of results for tests and benchmarks: Redis, PostgreSQL, MariaDB, memcached. Standard library only."""
