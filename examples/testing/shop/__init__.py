"""A small shop, to be tested."""
