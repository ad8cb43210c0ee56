"""Plainer names of the permissions to resume and to undo a load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.db import migrations

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

NAMES = {
    "resume_load": ("Can go on with a load", "Can resume a load"),
    "undo_load": ("Can take a load's rows away", "Can undo a load"),
}
"""The old and the new name by codename."""


def _rename(editor: BaseDatabaseSchemaEditor, before: int, after: int) -> None:
    """Rename permissions that exist: ``migrate`` creates the missing ones and changes none.

    The models are those of the installed ``auth``, which a project may do without. No migration of
    ours may depend on it.
    """
    if not installed.is_installed("django.contrib.auth"):
        return
    permissions: Any = installed.get_model("auth", "Permission")
    if permissions._meta.db_table not in editor.connection.introspection.table_names():
        return
    for codename, names in NAMES.items():
        permissions.objects.using(editor.connection.alias).filter(
            content_type__app_label="ingest", codename=codename, name=names[before]
        ).update(name=names[after])


def rename(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
    """Give the permissions their new names."""
    _rename(editor, 0, 1)


def rename_back(_apps: object, editor: BaseDatabaseSchemaEditor) -> None:
    """Give the permissions their old names."""
    _rename(editor, 1, 0)


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0013_plain_help"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="load",
            options={
                "base_manager_name": "objects",
                "default_permissions": ("view",),
                "ordering": ("-pk",),
                "permissions": (
                    ("upload_load", "Can load a file from the browser"),
                    ("resume_load", "Can resume a load"),
                    ("cancel_load", "Can cancel a load"),
                    ("undo_load", "Can undo a load"),
                ),
                "verbose_name": "load",
                "verbose_name_plural": "loads",
            },
        ),
        migrations.RunPython(rename, rename_back),
    ]
