"""The way to the broker: connections, confirmed publishing, declaring.

pika is imported in the files ``pika_*``, aio-pika and aiormq in ``aio*``.
"""
