from django.apps import AppConfig


class ContractConfig(AppConfig):
    name = "tests.contract"
    label = "contract"
    default_auto_field = "django.db.models.BigAutoField"
