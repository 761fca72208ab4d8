"""``"amqtask.contrib.django.outbox"`` in INSTALLED_APPS: the table of the outbox as a model, with its migration.

An app of Django's own beside ``amqtask.contrib.django``: who does without an outbox gets no table. Owns nothing here.
"""
