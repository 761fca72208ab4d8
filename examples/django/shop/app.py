"""The app: settings are Django's, tasks those in the ``tasks`` modules of the installed apps."""

import os

from amqtask.contrib.django import Amqtask

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Amqtask("shop")
