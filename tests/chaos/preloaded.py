"""What each client has imported before it begins: forking is faster than importing anew."""

import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings.development"
django.setup()

import rich.progress  # noqa: F401 - so that it is imported
