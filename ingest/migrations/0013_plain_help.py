"""Help texts in plainer words."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0012_pending_rejects"),
    ]

    operations = [
        migrations.AlterField(
            model_name="savedlayout",
            name="fingerprint",
            field=models.CharField(
                db_index=True, help_text="The digest of the header.", max_length=64
            ),
        ),
        migrations.AlterField(
            model_name="upload",
            name="attempt",
            field=models.IntegerField(
                default=0, help_text="The number of dry runs that were started."
            ),
        ),
        migrations.AlterField(
            model_name="upload",
            name="check_result",
            field=models.JSONField(
                blank=True, default=dict, help_text="The progress of the dry run, or its result."
            ),
        ),
        migrations.AlterField(
            model_name="upload",
            name="name",
            field=models.CharField(
                help_text="The name of the file on the user's machine.",
                max_length=255,
                verbose_name="file",
            ),
        ),
        migrations.AlterField(
            model_name="upload",
            name="seen_at",
            field=models.DateTimeField(
                blank=True, help_text="When the dry run last reported its progress.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="upload",
            name="storage_name",
            field=models.CharField(
                blank=True,
                help_text="Its random name in the storage. Empty if the file was deleted.",
                max_length=255,
            ),
        ),
    ]
