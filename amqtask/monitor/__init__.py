"""``amqtask monitor``: pages and a JSON API that show a cluster and steer it. It keeps nothing of its own."""
