"""The process around a worker, as the operating system sees it."""
