import pytest

committing = pytest.mark.django_db(transaction=True)
