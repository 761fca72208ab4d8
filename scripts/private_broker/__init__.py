"""Private RabbitMQ nodes: installation, accounts, processes, life cycle. Standard library only."""
