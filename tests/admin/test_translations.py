"""The translations: nothing is left out, and what is filled into a text stays in it."""

import ast
import gettext
import re
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils.translation.template import templatize

import ingest
from finance.models import Transaction
from ingest.models import Load
from tests.admin.clients import address
from tests.ledger.recorded_loads import record_load

ROOT = Path(ingest.__file__).parent
LANGUAGES = ("de", "ar")
FUNCTIONS = {"_", "gettext", "gettext_lazy", "gettext_noop"}
IN_TEMPLATE = re.compile(r"""gettext\(u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)""")
FILLED_IN = re.compile(r"%\(\w+\)[sd]|</?\w+>")


def texts_of_code():
    for path in ROOT.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "gettext" in source:
            for node in ast.walk(ast.parse(source)):
                name = getattr(getattr(node, "func", None), "id", None)
                if name in FUNCTIONS and isinstance(node.args[0], ast.Constant):
                    yield node.args[0].value


def texts_of_templates():
    for path in ROOT.rglob("*.html"):
        for text in IN_TEMPLATE.findall(templatize(path.read_text(encoding="utf-8"))):
            yield ast.literal_eval(text)


def catalog(language):
    path = ROOT / "locale" / language / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as file:
        return gettext.GNUTranslations(file)._catalog


def source_of(language):
    """Return the texts that the file for translators has, with their translations."""
    path = ROOT / "locale" / language / "LC_MESSAGES" / "django.po"
    found = {}
    entries = re.compile(r'^msgid (".*")\nmsgstr (".*")$', re.MULTILINE)
    for text, told in entries.findall(path.read_text("utf-8")):
        found[ast.literal_eval(text)] = ast.literal_eval(told)
    return {text: told for text, told in found.items() if text}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language):
    texts = {*texts_of_code(), *texts_of_templates()}
    assert len(texts) > 300
    told = catalog(language)
    assert {text for text in texts if not told.get(text)} == set()
    assert source_of(language) == {text: it for text, it in told.items() if text}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_filled_in_is_in_the_translation(language):
    for text, told in source_of(language).items():
        assert sorted(FILLED_IN.findall(told)) == sorted(FILLED_IN.findall(text)), text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("de", ["Geladen, mit Ablehnungen", "Abgelehnte Datensätze", "Entscheidungen", "Methode"]),
        ("ar", ['dir="rtl"', "محمّل، مع مرفوضات", "المرفوضات", "القرارات"]),
    ],
)
def test_the_pages_of_loads_are_translated(admin_client, settings, language, texts):
    settings.LANGUAGE_CODE = language
    load = record_load(Transaction, rejected=3, decisions=["Plain COPY."])
    shown = admin_client.get(address(load)).content.decode()
    for text in texts:
        assert text in shown
    listed = admin_client.get(reverse("admin:ingest_load_changelist")).content.decode()
    assert texts[0] in listed
    for english in ("Loaded", "Rejects", "Rows", "Started", "Who"):
        assert f">{english}<" not in shown + listed


@pytest.mark.django_db
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_done_with_a_load_is_told_in_its_language(admin_client, settings, language):
    settings.LANGUAGE_CODE = language
    load = record_load(Transaction, status=Load.Status.WAITING)
    shown = admin_client.get(address(load, "cancel")).content.decode()
    told = catalog(language)
    assert told["Yes, %(action)s it"] % {"action": told["Cancel"].lower()} in shown
    shown = admin_client.post(address(load, "cancel"), follow=True).content.decode()
    want = told["Load %(load)s had not begun: it is cancelled."] % {"load": load.pk}
    assert want in shown
