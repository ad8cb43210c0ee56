from django.apps import AppConfig
from django.db.models.signals import pre_migrate


class ContractConfig(AppConfig):
    name = "tests.contract"
    label = "contract"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from tests.contract.database import prepare

        pre_migrate.connect(prepare, sender=self)
