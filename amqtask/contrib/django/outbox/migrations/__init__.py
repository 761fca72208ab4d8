"""Migrations of the outbox. Owns nothing."""
