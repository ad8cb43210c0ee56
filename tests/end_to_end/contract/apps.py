from django.apps import AppConfig
from django.db.models.signals import pre_migrate


class ContractConfig(AppConfig):
    name = "tests.end_to_end.contract"
    label = "contract"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from tests.end_to_end.contract.database import prepare

        pre_migrate.connect(prepare, sender=self)
