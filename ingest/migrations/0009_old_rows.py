import django.db.models.deletion
from django.db import migrations, models

import ingest.ledger.fields


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0008_uploads"),
    ]

    operations = [
        migrations.CreateModel(
            name="OldRows",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "is_deleted",
                    models.BooleanField(help_text="Were they deleted, and not changed?"),
                ),
                (
                    "columns",
                    models.JSONField(
                        help_text="The columns whose values are kept, a list of names."
                    ),
                ),
                ("keys", ingest.ledger.fields.TextArrayField(help_text="The rows' keys.")),
                (
                    "rows",
                    ingest.ledger.fields.TextArrayField(
                        help_text="The old values of each row, as the text of ROW(...)."
                    ),
                ),
                (
                    "chunk",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="old_rows",
                        to="ingest.chunk",
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.AddIndex(
            model_name="load",
            index=models.Index(fields=["model", "bytes_total"], name="ingest_load_of_size"),
        ),
    ]
