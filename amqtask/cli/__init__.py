"""The command line: ``amqtask``, its commands, and how their errors become exit codes."""
