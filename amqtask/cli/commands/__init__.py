"""One module per command; each exports it as ``COMMAND``. Nothing heavy is imported before a command runs."""
