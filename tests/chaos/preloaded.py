"""What each client has imported before it begins: forking is faster than importing anew."""

import os
from importlib import import_module

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings.development"
django.setup()
for name in (
    "finance.models",
    "ingest.management.commands.bulk_load",
    "pyarrow.csv",
    "rich.progress",
):
    import_module(name)
