"""What connects amqtask to programs written for others. Each part is imported by name, and only by those who use it."""
