"""One delivery: its states, what each outcome means for it, and messages made from it. Sans I/O, but for the acks."""
