from django.db import migrations, models

INSERTED = "Rows that the table did not have."
NEW = {
    "updated": "Rows of the table that were changed.",
    "unchanged": "Records that the table had just so: nothing was written.",
    "ignored": "Records whose row the table had and kept, as asked.",
    "deleted": "Rows that the source did not have and that were deleted, as asked.",
}
PADDED = "Records with too few cells that got empty ones."
CUT = "Records with too many cells that lost the surplus ones."


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0006_reasons"),
    ]

    operations = [
        migrations.RenameField("load", "loaded", "inserted"),
        migrations.RenameField("loadprogress", "loaded", "inserted"),
        migrations.RenameField("chunk", "rows", "inserted"),
        *(
            migrations.AlterField(
                model, "inserted", models.BigIntegerField(default=0, help_text=INSERTED)
            )
            for model in ("load", "loadprogress", "chunk")
        ),
        *(
            migrations.AddField(model, name, models.BigIntegerField(default=0, help_text=text))
            for model in ("load", "loadprogress", "chunk")
            for name, text in NEW.items()
        ),
        migrations.AddField("loadprogress", "skipped", models.BigIntegerField(default=0)),
        *(
            migrations.AddField(
                "loadprogress", name, models.BigIntegerField(default=0, help_text=text)
            )
            for name, text in (("padded", PADDED), ("cut", CUT))
        ),
    ]
