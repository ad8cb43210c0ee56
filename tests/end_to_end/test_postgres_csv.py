"""What PostgreSQL's COPY … TO … (FORMAT csv) writes is loaded as the same rows."""

import pytest
from django.contrib.postgres import fields
from django.db import connection, models
from django.db.backends.postgresql.psycopg_any import NumericRange

from ingest import load
from ingest.conversion.postgres_text import find_reader
from ingest.sources import SourceOptions, open_source
from tests.end_to_end.contract.cases import CASES
from tests.end_to_end.contract.writing import has_table, rows_removed, saved

pytestmark = pytest.mark.django_db(transaction=True)
LEFT_OUT = {"Branch", "Shout", "Custom", "CompositeKey"}
"""Rows that refer to each other; fields that change what they are given when it is saved again; a
key that is no column."""


def copied(model, columns):
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    table, key = quote(model._meta.db_table), quote(model._meta.pk.column)
    query = f"SELECT {names} FROM {table} ORDER BY {key}"
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)") as copy,
    ):
        return b"".join(map(bytes, copy))


@pytest.mark.parametrize("case", [it for it in CASES if str(it) not in LEFT_OUT], ids=str)
def test_rows_come_back_as_they_were(case, tmp_path):
    if not has_table(case.model):
        pytest.skip("This PostgreSQL has no hstore.")
    model = case.model
    written = [it for it in model._meta.concrete_fields if not it.generated]
    if model._meta.parents:
        pytest.skip("Its rows are in several tables.")
    path = tmp_path / "rows.csv"
    columns = [field.column for field in written]
    parents = case.parents()
    with rows_removed(model, *{type(parent) for parent in parents}):
        saved(model, case.fields, case.rows)
        want = copied(model, columns)
        path.write_bytes(
            b",".join(it.attname.encode() for it in written) + want[want.index(b"\n") :]
        )
        model._base_manager.all()._raw_delete("default")
        got = load(model, path, format="postgres-csv")
        assert got.rejected == 0
        assert copied(model, columns) == want


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (
            fields.ArrayField(models.TextField()),
            r'{a,"b,\"\\",NULL,"NULL",""}',
            ["a", 'b,"\\', None, "NULL", ""],
        ),
        (
            fields.ArrayField(fields.ArrayField(models.IntegerField())),
            "{{1,2},{3,4}}",
            [[1, 2], [3, 4]],
        ),
        (fields.ArrayField(models.IntegerField()), "[0:1]={1,2}", [1, 2]),
        (fields.ArrayField(models.IntegerField()), "{}", []),
        (fields.ArrayField(models.BinaryField()), r'{"\\xdead"}', [b"\xde\xad"]),
        (fields.ArrayField(models.JSONField()), r'{"{\"a\": 1}"}', [{"a": 1}]),
        (
            fields.HStoreField(),
            r'"a"=>"1", "b"=>NULL, "c\""=>"\\"',
            {"a": "1", "b": None, 'c"': "\\"},
        ),
        (fields.HStoreField(), "", {}),
        (fields.IntegerRangeField(), "[1,5)", NumericRange(1, 5)),
        (fields.IntegerRangeField(), "(,5)", NumericRange(None, 5, "()")),
        (fields.IntegerRangeField(), "empty", NumericRange(empty=True)),
        (models.BinaryField(), r"\x00ff", b"\x00\xff"),
    ],
)
def test_texts_of_postgresql(field, text, value):
    assert find_reader(field)(text) == value


@pytest.mark.parametrize("text", ["{1", "1}", "1", "{1}{2}", "{{1}"])
def test_no_array(text):
    with pytest.raises(ValueError, match=r"."):
        find_reader(fields.ArrayField(models.IntegerField()))(text)


def test_null_and_empty_text_are_told_apart_also_in_a_reject_file(tmp_path):
    path, rejected = tmp_path / "rows.csv", tmp_path / "rejected.csv"
    path.write_text('whole,text_or_null,text\n,"",x\n')
    with open_source(path, SourceOptions(format="postgres-csv")) as source:
        [batch] = source.batches()
        writer = source.writer()
        rejected.write_bytes(writer.head() + writer.record([it[0] for it in batch.columns], "why"))
    with open_source(rejected, SourceOptions(format="postgres-csv")) as source:
        [again] = source.batches()
    assert [it.to_pylist() for it in again.columns] == [[None], [b""], [b"x"]]
