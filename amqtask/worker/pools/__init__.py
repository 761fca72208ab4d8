"""Pools, one file (or folder) each; a pool is a module-level ``POOL``, found by its module's name."""
