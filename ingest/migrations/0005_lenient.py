from django.db import migrations, models

PADDED = "Records with too few cells that got empty ones."
CUT = "Records with too many cells that lost the surplus ones."


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0004_chunk_transactions"),
    ]

    operations = [
        migrations.AddField(
            model_name=model,
            name=name,
            field=models.BigIntegerField(default=0, help_text=text),
        )
        for model in ("chunk", "load")
        for name, text in (("padded", PADDED), ("cut", CUT))
    ]
