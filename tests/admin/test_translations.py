"""The translations: nothing is left out, and what is filled into a text stays in it."""

import ast
import gettext
import re
from pathlib import Path
from typing import get_args

import pytest
from django.db import transaction
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation.template import templatize

import ingest
from finance.models import Transaction
from ingest.admin.loads import wording
from ingest.models import Load
from ingest.plurals import counted
from ingest.results.rejects import Kind
from ingest.writing.deferred import LEFT
from ingest.writing.several_tables import WHY_NOT_DIRECT
from tests.admin.clients import address, reject
from tests.factories import TransactionFactory
from tests.ledger.recorded_loads import record_load

ROOT = Path(ingest.__file__).parent
LANGUAGES = ("de", "ar")
VALUES_OF_BUTTONS = {"look", "continue", "confirm", "start", "begin"}
FUNCTIONS = {"_", "gettext", "gettext_lazy", "gettext_noop"}
OF_PLURALS = {"ngettext", "ngettext_lazy"}
LITERAL = r"""u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
IN_TEMPLATE = re.compile(rf" gettext\({LITERAL}\)")
COUNTED_IN_TEMPLATE = re.compile(rf" ngettext\({LITERAL}, *{LITERAL}")
FILLED_IN = re.compile(r"%\(\w+\)[sd]|</?\w+>|\{\w+\}")


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


def plurals():
    """Yield the singulars and plurals of code and templates."""
    for path in ROOT.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "ngettext" in source:
            for node in ast.walk(ast.parse(source)):
                if getattr(getattr(node, "func", None), "id", None) in OF_PLURALS:
                    yield tuple(ast.literal_eval(argument) for argument in node.args[:2])
    for path in ROOT.rglob("*.html"):
        for pair in COUNTED_IN_TEMPLATE.findall(templatize(path.read_text(encoding="utf-8"))):
            yield tuple(map(ast.literal_eval, pair))


def catalog(language):
    path = ROOT / "locale" / language / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as file:
        return {
            text: told
            for text, told in gettext.GNUTranslations(file)._catalog.items()
            if isinstance(text, str)  # without plurals
        }


def of_plurals(language):
    """Return the function that translates texts with a number."""
    path = ROOT / "locale" / language / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as file:
        return gettext.GNUTranslations(file).ngettext


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
def test_every_plural_is_translated(language):
    pairs = set(plurals())
    assert len(pairs) > 20
    tell = of_plurals(language)
    for one, many in pairs:
        for number in (0, 1, 2, 3, 11, 100):
            told = tell(one, many, number)
            assert told not in {one, many}
            assert sorted(FILLED_IN.findall(told)) == sorted(FILLED_IN.findall(many)), many


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
    want = told["Load %(load)s had not started: it is cancelled."] % {"load": load.pk}
    assert want in shown


def written(part):
    """Return a part of an f-string, with an example of what is filled in."""
    if isinstance(part, ast.Constant):
        return part.value
    if getattr(getattr(part.value, "func", None), "id", None) == "counted":
        return counted(2, part.value.args[1].value)
    return "1"


def engine_texts():
    """Yield what the engine's code decides, as an f-string writes it."""
    for path in ROOT.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "decisions" not in source or "benchmark" in path.parts:
            continue
        for node in ast.walk(ast.parse(source)):
            called = node.func if isinstance(node, ast.Call) else None
            is_decision = isinstance(called, ast.Attribute) and (
                called.attr == "_decide" or ast.unparse(called).endswith("decisions.append")
            )
            for argument in node.args if is_decision else ():
                if isinstance(argument, ast.Constant):
                    yield argument.value
                elif isinstance(argument, ast.JoinedStr):
                    yield "".join(map(written, argument.values))


def test_every_decision_that_the_engine_writes_is_known():
    texts = {*engine_texts(), LEFT, WHY_NOT_DIRECT}
    assert len(texts) > 20
    unknown = [told.text for told in wording.translate_decisions(texts) if told.is_english]
    assert unknown == []


def test_every_kind_and_stage_has_a_name():
    assert set(wording.KINDS) == set(get_args(Kind))
    stages = {
        stage
        for room in ("loading", "writing")
        for path in (ROOT / room).rglob("*.py")
        for stage in re.findall(
            r"""(?:stage|watch)\(\s*"([a-z ]+)\"""", path.read_text(encoding="utf-8")
        )
    }
    assert stages == set(wording.STAGES)


TAGS = re.compile(
    r"\{%\s*(blocktranslate|comment).*?\{%\s*end\1\s*%\}"
    r"|\{% block (?:coltype|bodyclass) %\}.*?\{% endblock %\}|\{%.*?%\}|\{\{.*?\}\}",
    re.DOTALL,
)
ATTRIBUTES = re.compile(r'\s(?:aria-label|title|placeholder|alt|value)="([^"]*)"')


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.html")), ids=lambda path: path.name)
def test_no_template_has_words_of_its_own(path):
    text = TAGS.sub("", path.read_text(encoding="utf-8"))
    shown = ATTRIBUTES.findall(text) + re.sub(r"<[^>]*>", "\0", text).split("\0")
    words = {word.strip() for word in shown if re.search(r"[A-Za-z]{2,}", word)}
    assert words <= VALUES_OF_BUTTONS | {"&rsaquo;"}


@pytest.mark.django_db
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_load_says_of_itself_is_in_the_language(admin_client, settings, language):
    settings.LANGUAGE_CODE = language
    load = record_load(
        Transaction,
        [TransactionFactory(), TransactionFactory()],
        decisions=["Indexes: maintained row by row, because the table holds rows already.", "New."],
        stages={"look up references": 2.0, "send": 1.0},
    )
    reject(load, kind="reference")
    shown = admin_client.get(address(load)).content.decode()
    known = catalog(language)
    because = known["Indexes: maintained row by row, because %(reason)s"]
    reason = {"reason": known["the table holds rows already."]}
    for want in (
        f'<li dir="auto">{because % reason}</li>',
        '<li lang="en" dir="auto">New.</li>',
        known["look up references"],
        f'<option value="reference">{known["reference"]}</option>',
        f"<td>{known['reference']}</td>",
    ):
        assert want in shown
    for english in ("look up references", ">reference<", "row by row"):
        assert english not in shown


@pytest.mark.django_db
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_undo_is_told_of_in_the_language(admin_client, settings, language):
    settings.LANGUAGE_CODE = language
    rows = TransactionFactory.create_batch(2)
    load = record_load(Transaction, rows)
    with transaction.atomic():  # a savepoint, for a transaction id of its own
        rows[0].save()
    known = catalog(language)
    asked = admin_client.get(address(load, "undo")).content.decode()
    assert capfirst(known["changed since"]) in asked
    assert known["%(number)s (with the key %(keys)s)"] % {"number": 1, "keys": rows[0].pk} in asked
    shown = admin_client.post(address(load, "undo"), follow=True).content.decode()
    refused = wording.COUNTED_REFUSALS[1](of_plurals(language), 1)
    assert refused.partition("%(count)s")[0] % {"load": load.pk} in shown
    shown = admin_client.post(address(load, "undo"), {"choice": "on"}, follow=True).content.decode()
    done = "Load %(load)s is undone: %(rows)s row deleted"
    done = of_plurals(language)(done, done.replace("row ", "rows "), 1)
    assert done % {"load": load.pk, "rows": 1} in shown
    assert "rows deleted" not in shown
