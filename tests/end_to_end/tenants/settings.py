"""Settings with django-tenants; ``LEDGER`` says whether the ledger is shared or a tenant's own."""

import os

from settings.base import MIDDLEWARE, TEMPLATES  # noqa: F401 - the admin wants them
from settings.embedded.server import PORT, attach

SECRET_KEY = "for-testing-only"
DEBUG = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": os.environ["TENANTS_DATABASE"],
        "HOST": str(attach()),
        "PORT": str(PORT),
        "USER": "postgres",
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
LEDGER = os.environ["TENANTS_LEDGER"]
_USERS = [
    *("django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin"),
    *("django.contrib.messages", "django.contrib.sessions"),
]
SHARED_APPS = ["django_tenants", "tests.end_to_end.tenants", *_USERS]
TENANT_APPS = [*_USERS, "finance"]
{"shared": SHARED_APPS, "tenant": TENANT_APPS}[LEDGER].append("ingest")
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]
TENANT_MODEL = "tenants.Client"
TENANT_DOMAIN_MODEL = "tenants.Domain"
INGEST = {}
ROOT_URLCONF = "settings.urls"
