from django.db import models


class Sample(models.Model):
    """The abstract base of every contract model: it gives no column, only a name to show."""

    class Meta:
        abstract = True

    def __str__(self):
        return f"{self._meta.label} {self.pk}"
