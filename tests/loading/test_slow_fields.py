"""A load says which fields judged values one at a time, and why."""

import csv
from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.validators import RegexValidator

from ingest import load
from tests.performance.customers.models import Customer, Segment
from tests.performance.customers.rows import HEADER, SEGMENTS, write_file

pytestmark = pytest.mark.django_db(transaction=True)
RECORDS = 40


def check_name(value):
    if value == "Nobody":
        raise ValidationError("Nobody is no name.")


@pytest.fixture
def file(tmp_path):
    Segment.objects.bulk_create(Segment(code=code) for code in SEGMENTS)
    write_file(tmp_path / "customers.csv", RECORDS)
    return tmp_path / "customers.csv"


@pytest.fixture
def validate(monkeypatch):
    def add(name, *validators):
        field = Customer._meta.get_field(name)
        monkeypatch.setattr(field, "validators", [*field.validators, *validators])

    return add


def slow(result):
    return [text for text in result.decisions if text.startswith("One value at a time: ")]


def test_a_model_as_people_have_it_is_judged_a_column_at_a_time(file):
    result = load(Customer, file)
    assert slow(result) == []
    assert Customer.objects.count() == RECORDS


def test_a_custom_validator_is_named_with_the_distinct_values_that_it_judged(file, validate):
    validate("name", check_name)
    result = load(Customer, file)
    names = Customer.objects.values("name").distinct().count()
    assert names < RECORDS
    sentence = f"name: validator {__name__}.check_name, {names} distinct values."
    assert slow(result) == [f"One value at a time: {sentence}"]


def test_every_record_of_a_refused_value_is_refused(file, validate):
    validate("name", check_name)
    text = file.read_text().splitlines()
    for line in (3, 7, 9):
        cells = text[line].split(",", 2)
        text[line] = f"{cells[0]},Nobody,{cells[2]}"
    file.write_text("\n".join(text) + "\n")
    result = load(Customer, file, on_error="reject")
    assert [(reject.record, reject.value, reject.reason) for reject in result.rejects] == [
        (record, "Nobody", "Nobody is no name.") for record in (3, 7, 9)
    ]
    assert result.rows == RECORDS - 3


def test_a_pattern_that_only_python_can_judge_is_shown(file, validate):
    validate("email", RegexValidator("^(?!root)"))
    reason = "validator django.core.validators.RegexValidator with the pattern '^(?!root)'"
    sentence = f"One value at a time: email: {reason}, {RECORDS} distinct values."
    assert slow(load(Customer, file)) == [sentence]


def test_typed_values_are_counted_each(file, validate):
    validate("name", check_name)
    row = dict(zip(HEADER, file.read_text().splitlines()[1].split(","), strict=False))
    given = {
        **{name: row[name] for name in ("number", "name", "email", "website", "country")},
        "balance": 1,
        "created_at": "2025-01-01T00:00:00Z",
        "segment__code": "retail",
    }
    rows = [{**given, "number": f"C{number:07}"} for number in range(2)]
    assert slow(load(Customer, rows)) == [
        f"One value at a time: name: validator {__name__}.check_name, 2 values."
    ]


def test_the_command_shows_it_when_asked_for_more(file, validate):
    validate("name", check_name)
    out = StringIO()
    call_command("bulk_load", "customers.Customer", str(file), verbosity=2, stdout=out)
    assert f"name: validator {__name__}.check_name, " in out.getvalue()


def test_many_unusual_values_of_a_fast_field_are_told(file):
    write_with_quoted_names(file, 1_000)
    [sentence] = slow(load(Customer, file))
    assert sentence.startswith("One value at a time: email: values such as '\"a0\"@example.com', ")
    assert sentence.endswith(", 1,000 distinct values.")


def test_several_workers_add_up(file):
    write_with_quoted_names(file, 2_000)
    [sentence] = slow(load(Customer, file, workers=2, chunk_rows=1_000))
    assert sentence.endswith(", 2,000 distinct values.")


def write_with_quoted_names(file, rows):
    write_file(file, rows)
    with file.open(encoding="utf-8", newline="") as opened:
        head, *records = csv.reader(opened)
    place = head.index("email")
    for number, record in enumerate(records):
        record[place] = f'"a{number}"@example.com'
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([head, *records])
