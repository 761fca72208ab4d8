"""All deliveries that this worker has, from their arrival to the ack; who stands in between, and who is told."""
