"""Settings for production: secrets and everything specific to a site come from the environment.

`SECRET_KEY`, `DATABASE_URL` and `ALLOWED_HOSTS` (host names, separated by commas) must be set.
"""

import os

from django.core.exceptions import ImproperlyConfigured

from settings.base import *


def required(name: str) -> str:
    """Return the environment variable `name`, which must not be empty."""
    value = os.environ.get(name)
    if not value:
        raise ImproperlyConfigured(f"settings.production needs the environment variable {name}.")
    return value


DEBUG = False
SECRET_KEY = required("SECRET_KEY")
ALLOWED_HOSTS = [host.strip() for host in required("ALLOWED_HOSTS").split(",") if host.strip()]
required("DATABASE_URL")

STATIC_ROOT = BASE_DIR / "static"
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
