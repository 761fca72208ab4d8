"""What a broker does with messages: vhosts, exchanges, queues. Knows no frames and no sockets, and is told the time."""
