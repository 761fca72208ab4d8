"""The scheduler: one of several processes leads, and sends each occurrence of each periodic task exactly once."""
