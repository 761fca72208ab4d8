"""The worker's side of remote control: its mailbox, the commands, revocations and pauses."""
