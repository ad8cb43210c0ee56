"""The settings of `manage.py`: one machine, one person, no server to set up."""

from settings.base import *

DEBUG = True
SECRET_KEY = "for-development-only"  # noqa: S105 - production.py takes its own from the environment
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
