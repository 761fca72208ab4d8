"""AMQP 0-9-1 as clients speak it: connections and channels, which turn frames into calls of the engine and back."""
