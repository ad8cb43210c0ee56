from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models


class SegmentManager(models.Manager):
    def get_by_natural_key(self, code):
        return self.get(code=code)


class Segment(models.Model):
    code = models.CharField(max_length=20, unique=True)

    objects = SegmentManager()

    def __str__(self):
        return self.code

    def natural_key(self):
        return (self.code,)


class Country(models.TextChoices):
    AUSTRIA = "AT"
    FRANCE = "FR"
    GERMANY = "DE"
    ITALY = "IT"
    NETHERLANDS = "NL"
    POLAND = "PL"
    SPAIN = "ES"
    SWITZERLAND = "CH"


class Customer(models.Model):
    number = models.CharField(
        max_length=8, unique=True, validators=[RegexValidator(r"^C\d{7}$", "C and seven digits.")]
    )
    name = models.CharField(max_length=100)
    email = models.EmailField(db_index=True)
    website = models.URLField(blank=True)
    country = models.CharField(max_length=2, choices=Country.choices)
    is_active = models.BooleanField(default=True)
    balance = models.DecimalField(max_digits=12, decimal_places=2)
    attributes = models.JSONField(default=dict, blank=True)
    tags = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    created_at = models.DateTimeField()
    segment = models.ForeignKey(Segment, on_delete=models.PROTECT, related_name="customers")

    def __str__(self):
        return f"{self.number} {self.name}"
