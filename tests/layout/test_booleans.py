"""Words for true and false: in any case, from every kind of source, and never with two meanings."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from django.core.management import CommandError, call_command
from django.db import models

from finance.models import Account
from ingest import detect, load, preview
from ingest.conversion.cures import WORDS
from ingest.exceptions import ConfigurationError, LayoutError
from ingest.layout import FieldLayout, Layout, Reading
from ingest.layout.drafting import draft
from ingest.layout.truths import TruthWords
from tests.end_to_end.contract.models.numbers import Coercion

pytestmark = pytest.mark.django_db

OTHERS = {
    "whole": FieldLayout(constant=1),
    "binary": FieldLayout(constant=1),
    "price": FieldLayout(constant=1),
    "day": FieldLayout(constant="2024-01-31"),
    "moment": FieldLayout(constant="2024-01-31 00:00Z"),
    "text": FieldLayout(constant="x"),
    "identifier": FieldLayout(constant="00000000-0000-0000-0000-000000000000"),
}
LAYOUT = Layout(others="match", fields=OTHERS)


def as_source(kind, values, folder):
    if kind == "csv":
        path = folder / "rows.csv"
        path.write_text("is_true,text\n" + "".join(f'"{value}",\n' for value in values))
    elif kind == "jsonl":
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps({"is_true": value}) + "\n" for value in values))
    elif kind == "parquet":
        path = folder / "rows.parquet"
        pyarrow.parquet.write_table(pa.table({"is_true": values}), path)
    else:
        return [{"is_true": value} for value in values]
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "dicts"])
def test_words_in_any_case(kind, tmp_path):
    words = ["ja", "JA", " Ja ", "OUI", "nein", "Nein", "1", "t", "False", ""]
    load(
        Coercion,
        as_source(kind, words, tmp_path),
        layout=LAYOUT,
        true=["Ja", "oui"],
        false=["NEIN", ""],
    )
    got = Coercion.objects.order_by("pk").values_list("is_true", flat=True)
    assert list(got) == [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2


def test_words_and_typed_values_side_by_side():
    rows = [{"is_true": value} for value in ("yes", True, False, 1, 0, None, "2", 2)]
    load(Coercion, rows, layout=LAYOUT, true=["YES", "2"], false=["0", "no", ""])
    got = Coercion.objects.order_by("pk").values_list("is_true", flat=True)
    assert list(got) == [True, True, False, True, False, False, True, True]


def test_numbers_may_be_words_of_the_other_meaning(tmp_path):
    numbers = [0, 1, 0]
    for kind in ("csv", "jsonl", "parquet", "dicts"):
        Coercion.objects.all().delete()
        load(Coercion, as_source(kind, numbers, tmp_path), layout=LAYOUT, true="0", false="1")
        got = Coercion.objects.order_by("pk").values_list("is_true", flat=True)
        assert list(got) == [True, False, True], kind


def test_an_unknown_word_is_rejected_with_its_own_text(tmp_path):
    source = as_source("csv", ["ja", "Vielleicht"], tmp_path)
    result = load(Coercion, source, layout=LAYOUT, true="ja", on_error="reject")
    [reject] = result.rejects
    assert (reject.record, reject.field, reject.value) == (2, "is_true", "Vielleicht")
    assert reject.reason == f"“Vielleicht” value must be either True or False. {WORDS}"


@pytest.mark.parametrize(
    ("true", "false", "null", "message"),
    [
        (["ja"], ["nein", "JA "], (), "'ja' means both true and false in the field is_true"),
        (["ja"], ["-"], ("-",), "'-' means both an empty cell and false in the field is_true"),
        (["0"], None, (), "'0' means True in the field is_true, where it means False by itself"),
        (None, ["TRUE"], (), "'true' means False in the field is_true, where it means True"),
    ],
)
def test_words_with_two_meanings(true, false, null, message):
    layout = Layout(others="match", fields=OTHERS, read=Reading(null=null))
    options = {"layout": layout, "true": true, "false": false}
    for function in (load, preview):
        with pytest.raises(LayoutError, match=message):
            function(Coercion, [{"is_true": "ja"}], **options)


@pytest.mark.parametrize("words", [[], [1], [""] * 0])
def test_words_that_are_none(words):
    with pytest.raises(ConfigurationError, match="must be one text or several"):
        load(Coercion, [{"is_true": "ja"}], layout=LAYOUT, true=words)


@pytest.mark.parametrize("option", ["true", "false"])
def test_words_where_nothing_is_boolean(option, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("user,number,name\n1,A1,x\n")
    message = rf"{option} \(--{option}\) has no effect: .* feeds no field that is a boolean"
    for function in (load, preview):
        with pytest.raises(ConfigurationError, match=message):
            function(Account, path, **{option: ["ja"]})
    with pytest.raises(CommandError, match=message):
        call_command("bulk_load", "finance.Account", str(path), f"--{option}", "ja")


def test_the_command_takes_words(tmp_path):
    path = as_source("csv", ["Ja", "nein", "o"], tmp_path)
    layout = tmp_path / "l.toml"
    layout.write_text(LAYOUT.to_toml())
    call_command(
        *("bulk_load", "contract.Coercion", str(path), "--layout", str(layout), "--true", "ja"),
        *("o", "--false", "NEIN"),
        verbosity=0,
    )
    got = Coercion.objects.order_by("pk").values_list("is_true", flat=True)
    assert list(got) == [True, False, True]


def test_the_callers_words_come_before_the_layouts():
    fields = {**OTHERS, "is_true": FieldLayout(column="is_true", true=("x",))}
    rows = [{"is_true": "x"}]
    result = load(Coercion, rows, layout=Layout(fields=fields), true="y", on_error="reject")
    assert result.rejected == 1


def test_what_is_detected_loads(tmp_path):
    path = as_source("csv", ["JA", "Nein", "ja", "NEIN", "nein"], tmp_path)
    drafted = draft(detect(path), Coercion).layout
    assert drafted.fields["is_true"].true is not None
    fields = {**OTHERS, "is_true": drafted.fields["is_true"]}
    load(Coercion, path, layout=Layout(fields=fields))
    got = Coercion.objects.order_by("pk").values_list("is_true", flat=True)
    assert list(got) == [True, False, True, False, False]


def test_all_that_the_field_reads_by_itself_is_known():
    own = {"True", "t", "1", "False", "f", "0"}
    for word in ("True", "t", "1", "False", "f", "0"):
        means = models.BooleanField().to_python(word)
        said = FieldLayout(column="c", **{"false" if means else "true": (word,)})
        with pytest.raises(LayoutError, match="by itself"):
            TruthWords.of(Layout(), "flag", said)
        own.remove(word)
    assert own == set()
