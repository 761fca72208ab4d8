"""What a caller holds after sending a task."""
