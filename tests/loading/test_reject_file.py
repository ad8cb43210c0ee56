"""Refused records come back as a file that is mended and loaded by the same options."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from finance.models import Account, Transaction
from ingest import ConfigurationError, load
from ingest.layout import Condition, Continuation, FieldLayout, Layout, Reading
from ingest.loading.output_files import OutputFiles
from ingest.loading.reject_file import open_reject_file
from ingest.results.rejects import Reject
from ingest.sources import Batch, SourceOptions
from ingest.sources.delimited_writer import DelimitedWriter
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


def bank(**changes):
    return Layout(
        **{
            "source": {
                "delimiter": ";",
                "encoding": "cp1252",
                "skip_records": 1,
                "trailer_records": 1,
            },
            "read": Reading(decimal=",", formats=("%d.%m.%Y",)),
            "fields": {
                "account": FieldLayout(column="Konto", lookup=("number",)),
                "user": FieldLayout(copy="account.user"),
                "tx_date": FieldLayout(column="Tag"),
                "amount": FieldLayout(column="Betrag"),
                "description": FieldLayout(column="Text"),
                "reference": FieldLayout(column="Beleg"),
            },
            **changes,
        }
    )


def test_the_whole_round_of_a_bank_s_file(method, tmp_path):
    AccountFactory(number="DE1")
    path, rejects, again = (tmp_path / name for name in ("bank.csv", "rejects.csv", "again.csv"))
    lines = [
        "Umsätze;vom Januar",
        "Konto;Tag;Betrag;Text;Beleg",
        'DE1;01.01.2026;1,50;"Über; weisung";A',
        'DE1;32.01.2026;x;"Über; weisung";B',
        "DE1;02.01.2026;2,50;zu kurz",
        "DE1;03.01.2026;3,50;zu; lang;C",
        "DE1;04.01.2026;4,50;kaputt \x81;D",
        "DE2;05.01.2026;5,50;kein Konto;E",
        "DE1;06.01.2026;6,50;doppelt;A",
        "Summe;;;;",
    ]
    path.write_bytes("\r\n".join(lines).encode("latin-1"))
    got = load(
        Transaction,
        path,
        layout=bank(),
        method=method,
        on_error="reject",
        reject_file=rejects,
    )
    assert (got.read, got.rows, got.rejected, got.skipped) == (8, 1, 6, 1)
    written = rejects.read_bytes().decode("latin-1").splitlines()
    assert written == [
        "Umsätze;vom Januar",
        "Konto;Tag;Betrag;Text;Beleg;ingest_reasons",
        (
            "DE1;32.01.2026;x;\"Über; weisung\";B;ingest: Tag: '32.01.2026' cannot be read as "
            "'%d.%m.%Y': it is written in another way, or there is no such date or time. Betrag: "
            "'x' value must be a decimal number. The layout reads numbers with the decimal mark "
            "','."
        ),
        *written[3:8],
        "end of the rejects",
    ]
    assert written[3].startswith('DE1;02.01.2026;2,50;zu kurz;"ingest: it has 4 cells, fewer than')
    assert written[4].startswith('DE1;03.01.2026;3,50;zu; lang;C;"ingest: it has 6 cells, more')
    assert written[5].startswith("DE1;04.01.2026;4,50;kaputt \x81;D;ingest: Text: ")
    assert written[6].startswith("DE2;05.01.2026;5,50;kein Konto;E;ingest: Konto: ")
    assert written[7].startswith("DE1;06.01.2026;6,50;doppelt;A;ingest: duplicate key value")

    # Nothing mended: the same records are refused, and written in the same way.
    got = load(
        Transaction, rejects, layout=bank(), method=method, on_error="reject", reject_file=again
    )
    assert (got.read, got.rows, got.rejected, got.skipped) == (7, 0, 6, 1)
    cells = [line.partition("ingest: ")[0] for line in written]
    assert [
        line.partition("ingest: ")[0] for line in again.read_bytes().decode("latin-1").splitlines()
    ] == cells

    mended = (
        rejects.read_bytes()
        .replace(b"32.01.2026;x", b"31.01.2026;7,50")
        .replace(b"zu kurz;", b"zu kurz;F;", 1)
        .replace(b"zu; lang;C", b'"zu; lang";C', 1)
        .replace(b"\x81", b"\xfc")
        .replace(b"DE2", b"DE1")
        .replace(b"doppelt;A", b"doppelt;G")
    )
    rejects.write_bytes(mended)
    got = load(Transaction, rejects, layout=bank(), method=method)
    assert (got.rows, got.skipped) == (6, 1)
    rows = Transaction.objects.order_by("reference").values_list("reference", "description")
    assert list(rows) == [
        ("A", "Über; weisung"),
        ("B", "Über; weisung"),
        ("C", "zu; lang"),
        ("D", "kaputt ü"),
        ("E", "kein Konto"),
        ("F", "zu kurz"),
        ("G", "doppelt"),
    ]


def test_without_a_layout_and_with_rejects_of_a_large_file(tmp_path):
    account = AccountFactory()
    path, rejects = tmp_path / "rows.csv", tmp_path / "rejects.csv"
    lines = [
        f"{account.user_id},{account.pk},{'bad' if number % 1000 == 7 else number}.5,2026-01-01,"
        f"{'x' * 50}\n"
        for number in range(90_000)
    ]
    header = "user,account,amount,tx_date,description\n"
    path.write_text(header + "".join(lines))
    got = load(Transaction, path, on_error="reject", reject_file=rejects)
    assert got.rejected == 90
    written = rejects.read_text().splitlines()
    assert written[0] == "user,account,amount,tx_date,description,ingest_reasons"
    reason = "ingest: amount: 'bad.5' value must be a decimal number."
    assert written[1:] == [
        lines[number].strip() + f",{reason}" for number in range(7, 90_000, 1000)
    ]
    rejects.write_text(rejects.read_text().replace("bad", "1"))
    assert load(Transaction, rejects).rows == 90
    assert Transaction.objects.count() == 90_000


def test_rows_without_a_header(tmp_path):
    user = UserFactory()
    path, rejects = tmp_path / "rows.csv", tmp_path / "rejects.csv"
    path.write_text(f"{user.pk},A,first\n{user.pk},{'B' * 40},second\n")
    options = {"columns": ("user", "number", "name")}
    load(Account, path, **options, on_error="reject", reject_file=rejects)
    rejects.write_text(rejects.read_text().replace("B" * 40, "B"))
    assert load(Account, rejects, **options).rows == 1
    assert set(Account.objects.values_list("number", "name")) == {("A", "first"), ("B", "second")}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "dicts", "tuples", "generator"])
def test_sources_whose_rejects_are_json_lines(kind, tmp_path):
    user = UserFactory()
    records = [{"user": user.pk, "number": number, "name": "é"} for number in ("A", "B", "A")]
    source = {
        "jsonl": tmp_path / "rows.jsonl",
        "parquet": tmp_path / "rows.parquet",
        "arrow": pa.Table.from_pylist(records),
        "dicts": records,
        "tuples": [tuple(record.values()) for record in records],
        "generator": (record for record in records),
    }[kind]
    if kind == "jsonl":
        source.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif kind == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(records), source)
    rejects = tmp_path / "rejects.jsonl"
    options = {"columns": tuple(records[0])} if kind == "tuples" else {}
    got = load(Account, source, **options, on_error="reject", reject_file=rejects)
    assert got.rows == 2
    [written] = map(json.loads, rejects.read_text().splitlines())
    assert written.pop("ingest_reasons").startswith("number: duplicate key value violates unique")
    assert written == records[2]
    rejects.write_text(rejects.read_text().replace('"A"', '"C"'))
    assert load(Account, rejects).rows == 1
    assert Account.objects.count() == 3


def test_several_files(tmp_path):
    user = UserFactory()
    rejects = tmp_path / "rejects.csv"
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    first.write_text(f"user,number,name\n{user.pk},A,x\n{user.pk},A,y\n{user.pk}\n")
    second.write_text(f"name,user,number\nz,{user.pk},A\nw,{user.pk},B\n")
    load(Account, [first, second], on_error="reject", reject_file=rejects)
    lines = rejects.read_text().splitlines()
    assert [line.partition(",ingest")[0].partition(',"ingest')[0] for line in lines] == [
        *("user,number,name", f"{user.pk},A,y", f"{user.pk}", f"{user.pk},A,z")
    ]


def test_records_that_others_go_on_with_are_written_whole_and_a_hook_s_as_the_file_has_them(
    tmp_path,
):
    AccountFactory(number="DE1")
    path, rejects = tmp_path / "bank.csv", tmp_path / "rejects.csv"
    path.write_text(
        "Konto;Tag;Betrag;Text;Beleg\nDE1;01.01.2026;1,50;eins;A\n;;;und;\n;;;weiter;\n"
        "DE1;02.01.2026;x;zwei;B\n;;;und;\n;;;weiter;\nDE1;;y;drei;C\n"
    )
    layout = bank(
        source={"delimiter": ";"},
        continuation=Continuation(when=(Condition(column="Konto", empty=True),), append=("Text",)),
    )
    load(Transaction, path, layout=layout, on_error="reject", reject_file=rejects)
    lines = rejects.read_text().splitlines()
    assert lines[1].startswith("DE1;02.01.2026;x;zwei und weiter;B;")
    assert lines[2].startswith("DE1;;y;drei;C;")

    layout = bank(source={"delimiter": ";"}, hook=f"{__name__}.without_texts")
    path.write_text("Konto;Tag;Betrag;Text;Beleg\nDE1;02.01.2026;x;zwei;B\n")
    load(Transaction, path, layout=layout, on_error="reject", reject_file=rejects, overwrite=True)
    assert rejects.read_text().splitlines()[1].startswith("DE1;02.01.2026;x;zwei;B;")


def without_texts(batch):
    place = batch.schema.get_field_index("Text")
    return batch.set_column(place, "Text", pa.array(["-"] * batch.num_rows))


def test_no_reject_leaves_a_file_that_loads_nothing(tmp_path):
    user = UserFactory()
    path, rejects = tmp_path / "rows.csv", tmp_path / "rejects.csv"
    path.write_text(f"user,number,name\n{user.pk},A,x\n")
    rejects.write_text("of another time")
    load(Account, path, on_error="reject", reject_file=rejects, overwrite=True)
    assert rejects.read_text() == "user,number,name,ingest_reasons\n"
    assert load(Account, rejects).read == 0


@pytest.mark.parametrize(
    ("name", "options", "want"),
    [
        ("r.csv", {"on_error": "abort"}, "reject_file (--reject-file) has no effect without"),
        ("rows.csv", {}, "rows.csv' is the source '{source}' itself: give it another name."),
        ("r.csv.gz", {}, "r.csv.gz' is not compressed: leave out .gz."),
        (
            "r.jsonl",
            {},
            (
                "The rejects are written as delimited text, and the name '{path}' would be taken "
                "for another format: call the file 'r.csv'."
            ),
        ),
        ("none/r.csv", {}, "none/r.csv' cannot be written: No such file or directory."),
    ],
)
def test_a_file_that_could_not_be_loaded_again(tmp_path, name, options, want):
    path = tmp_path / "rows.csv"
    path.write_text("user,number,name\n")
    with pytest.raises(ConfigurationError) as caught:
        load(Account, path, **{"on_error": "reject", **options}, reject_file=tmp_path / name)
    assert want.format(path=tmp_path / name, source=path) in str(caught.value)
    assert path.read_text() == "user,number,name\n"


def test_a_pattern_that_takes_the_reject_file_in(tmp_path):
    (tmp_path / "1.csv").write_text("user,number,name\n")
    (tmp_path / "2.csv").write_text("user,number,name\n")
    with pytest.raises(ConfigurationError, match=r"2.csv' is the source '.*2.csv' itself"):
        load(Account, str(tmp_path / "*.csv"), on_error="reject", reject_file=tmp_path / "2.csv")


def test_a_file_is_gone_on_with_where_it_was_marked(tmp_path):
    path, options = tmp_path / "r.csv", SourceOptions(encoding="utf-16", trailer_records=1)
    reject = Reject(source="s", record=1, column="a", field="a", value="", reason="r", kind="value")

    def add(file, cell):
        file.add([reject], Batch(source="x", records=[1], columns=(pa.array([cell], pa.binary()),)))

    with open_reject_file(
        path, DelimitedWriter(options, b"a\n", None), OutputFiles(), None
    ) as file:
        add(file, b"1")
        mark = file.mark()
        add(file, b"2")
        file.rewind(mark)
        add(file, b"3")
    assert path.read_text("utf-16") == (
        "a,ingest_reasons\n1,ingest: a: r.\n3,ingest: a: r.\nend of the rejects\n"
    )
    with open_reject_file(
        path, DelimitedWriter(options, b"a\n", None), OutputFiles(), None, mark
    ) as file:
        add(file, b"4")
    assert path.read_text("utf-16") == (
        "a,ingest_reasons\n1,ingest: a: r.\n4,ingest: a: r.\nend of the rejects\n"
    )
