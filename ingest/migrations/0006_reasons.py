from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0005_lenient"),
    ]

    operations = [
        migrations.AddField(
            model_name="load",
            name="reasons",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Why records were refused: equal reasons counted.",
            ),
        ),
    ]
