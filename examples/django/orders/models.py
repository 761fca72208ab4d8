"""What is stored of an order."""

from django.db import models


class Order(models.Model):
    """An order; ``state`` is ``new`` until a worker has charged it."""

    item = models.CharField(max_length=100)
    state = models.CharField(max_length=20, default="new")

    def __str__(self) -> str:
        return f"{self.item}: {self.state}"
