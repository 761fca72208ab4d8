"""Running one task of one message: the steps that workers and eager calls share."""
