"""A project that has nothing in common with the one that ingest grew up in."""

import json
import os

SECRET_KEY = "for-one-test-only"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "depot.addresses"
STATIC_URL = "assets/"
TIME_ZONE = "Asia/Kolkata"
USE_TZ = True
LANGUAGE_CODE = "de"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
AUTH_USER_MODEL = "people.Member"
DATABASES = json.loads(os.environ["DEPOT_DATABASES"])
DATABASE_ROUTERS = ["depot.routers.ByApp"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "goods",
    "ingest",
    "people",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
INGEST = {"BENCHMARK_MODEL": "wares.Item", "REJECTS_KEPT": 5}
