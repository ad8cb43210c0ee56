"""The settings: their defaults, refused values, and their documentation in docs/settings.md."""

import re
from pathlib import Path

import pytest
from django.test import override_settings

from ingest import ConfigurationError, conf

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"
READERS = {name: getattr(conf, name.lower()) for name in conf.SETTINGS}
"""Each setting's function, by the setting's name."""
VALUES = {
    "BENCHMARK_MODEL": "shop.Order",
    "CHUNK_ROWS": 7,
    "RECORD": "files",
    "REJECTS_KEPT": 0,
    "RUNNER": "shop.tasks.start",
    "SESSION_SETTINGS": ("app.tenant",),
    "UPLOAD_BYTES": 1_000,
    "UPLOAD_DAYS": 1,
    "UPLOAD_FOLDER": "/srv/uploads",
    "UPLOAD_UNPACKED_BYTES": 5_000,
}


@pytest.mark.parametrize("name", conf.SETTINGS)
def test_a_setting_is_what_was_set_or_its_default(name):
    with override_settings(INGEST={}):
        assert READERS[name]() == conf.SETTINGS[name].default
    with override_settings(INGEST={name: VALUES[name]}):
        assert READERS[name]() == VALUES[name]


@override_settings()
def test_a_project_without_ingest_settings_has_the_defaults():
    from django.conf import settings

    del settings.INGEST
    assert (conf.benchmark_model(), conf.chunk_rows(), conf.rejects_kept()) == (
        None,
        250_000,
        10_000,
    )


@pytest.mark.parametrize(
    ("given", "read", "want"),
    [
        (
            {"CHUNK_ROWS": 0},
            conf.chunk_rows,
            "INGEST['CHUNK_ROWS'] is 0. Set it to a whole number from 1 upwards.",
        ),
        (
            {"CHUNK_ROWS": True},
            conf.chunk_rows,
            "INGEST['CHUNK_ROWS'] is True. Set it to a whole number from 1 upwards.",
        ),
        (
            {"REJECTS_KEPT": "1000"},
            conf.rejects_kept,
            "INGEST['REJECTS_KEPT'] is '1000'. Set it to a whole number from 0 upwards.",
        ),
        (
            {"BENCHMARK_MODEL": "Transaction"},
            conf.benchmark_model,
            (
                "INGEST['BENCHMARK_MODEL'] is 'Transaction'. "
                "Set it to the label of a model, such as 'app.Model'."
            ),
        ),
        (
            ["CHUNK_ROWS"],
            conf.chunk_rows,
            (
                "INGEST is ['CHUNK_ROWS'], which is not a dict. "
                f"Set it to a dict of {', '.join(conf.SETTINGS)}, or leave it out."
            ),
        ),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_read(given, read, want):
    with override_settings(INGEST=given), pytest.raises(ConfigurationError) as caught:
        read()
    assert str(caught.value) == want


def test_a_wrong_value_of_another_setting_does_no_harm():
    with override_settings(INGEST={"CHUNK_ROWS": 0, "REJECTS_KEPT": 5}):
        assert conf.rejects_kept() == 5


def as_documented(default):
    if default in (None, ()):
        return "none"
    return f"{default:,}" if isinstance(default, int) else default


def test_the_documentation_lists_every_setting_with_its_default():
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| (.+?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    want = [(name, as_documented(setting.default)) for name, setting in conf.SETTINGS.items()]
    assert rows == want
