"""What follows from a task, carried out and confirmed: messages, results, states; tried until it is done."""
