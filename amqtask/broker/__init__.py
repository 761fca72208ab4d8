"""The way to the broker: connections, confirmed publishing, declaring. pika and aio-pika live in one file each."""
