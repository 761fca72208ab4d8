"""Parts of a worker that can be left out: limits, remote control, events, health and what users add. One per file."""
