"""Settings of a small project; its broker is that of AMQTASK_BROKER_URL in the environment."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "an example"
DEBUG = True
TIME_ZONE = "UTC"
USE_TZ = True
INSTALLED_APPS = ["amqtask.contrib.django", "orders"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / "shop.sqlite3"),
        "OPTIONS": {"timeout": 20},
    }
}

AMQTASK_RESULT_BACKEND = "rpc://"
AMQTASK_WORKER_CONCURRENCY = 2
