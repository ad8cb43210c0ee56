"""The project with django-import-export beside ingest, for ``tests.performance.import_export``."""

from tests.performance.site_settings import *

INSTALLED_APPS = [*INSTALLED_APPS, "import_export"]
ROOT_URLCONF = "tests.performance.peer_urls"
