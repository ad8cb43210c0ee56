"""The settings for building the documentation: the apps, and no database."""

from settings.base import *

SECRET_KEY = "for-the-documentation-only"  # noqa: S105 - nothing is signed with it
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}}
