"""The settings for pytest."""

import os

from settings.base import *

DEBUG = False
SECRET_KEY = "for-testing-only"  # noqa: S105 - nothing is signed with it outside a test
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, but not secure
INSTALLED_APPS = [*INSTALLED_APPS, "tests.end_to_end.contract", "tests.performance.customers"]

# Two test runs at the same time must not share a database, even on the same server.
DATABASES["default"]["TEST"] = {"NAME": f"test_ingest_{os.getpid()}"}
if DATABASES["default"]["ENGINE"] == "settings.embedded":
    # DEBUG is off in tests, though this is not production.
    DATABASES["default"]["OPTIONS"] = {"allow_without_debug": True}
