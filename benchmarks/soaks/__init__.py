"""Soaks: what takes minutes and watches workers."""
