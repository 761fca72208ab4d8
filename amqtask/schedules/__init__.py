"""When periodic tasks are due, as pure values: intervals, cron lines, the sun; and the entries made of them."""
