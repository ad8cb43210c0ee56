"""What is bought and sold has a database of its own; ingest's tables are on both."""


class ByApp:
    def db_for_read(self, model, **_hints):
        return "warehouse" if model._meta.app_label == "wares" else "default"

    db_for_write = db_for_read

    def allow_migrate(self, alias, app_label, **_hints):
        if app_label == "ingest":
            return True
        return alias == ("warehouse" if app_label == "wares" else "default")
