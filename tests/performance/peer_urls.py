"""The admin, and two of django-import-export: as it comes, and as fast as its options make it."""

from django.contrib.admin import AdminSite, ModelAdmin
from django.urls import path
from import_export.admin import ImportMixin
from import_export.resources import ModelResource

from finance.models import Transaction
from settings.urls import urlpatterns as own
from tests.performance.rows import COLUMNS


class AsItComes(ModelResource):
    class Meta:
        model = Transaction
        fields = COLUMNS
        import_id_fields = ("account", "reference")


class Fast(ModelResource):
    class Meta:
        model = Transaction
        fields = COLUMNS
        import_id_fields = ("account", "reference")
        force_init_instance = True  # without a SELECT for each row
        use_bulk = skip_diff = True


def address(name, resource):
    """Return the addresses of an admin with a resource."""
    site = AdminSite(name)
    peer = type("Peer", (ImportMixin, ModelAdmin), {"resource_classes": [resource]})
    site.register(Transaction, peer)
    return path(f"{name}/", site.urls)


urlpatterns = [*own, address("as-it-comes", AsItComes), address("fast", Fast)]
