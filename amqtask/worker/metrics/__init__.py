"""Numbers of a worker for Prometheus: what is counted, what is asked of the I/O loop, and the page with both."""
