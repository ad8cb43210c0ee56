import pytest
from django.conf import settings

# Naming the apps makes the flush afterwards cascade: a contract model lies in another schema.
committing = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)
