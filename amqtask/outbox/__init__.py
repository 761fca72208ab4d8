"""The transactional outbox below the app: messages as rows of the user's database, and the relay that publishes them.

Owns the list of its parts: :mod:`.rows` (a message as a row), :mod:`.writers` (rows into the caller's transaction),
:mod:`.store` (what a relay asks of a table), :mod:`.table` (SQLAlchemy's), :mod:`.relay`.
"""
