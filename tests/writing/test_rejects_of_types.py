"""A record that a type, a raising check or a limit of PostgreSQL refuses is refused alone."""

import datetime as dt
import json
import random
import string
from decimal import Decimal

import pytest
from django.db import connection, models, transaction
from django.test.utils import isolate_apps

from finance.models import Account
from ingest import load
from ingest.models import Reject
from ingest.results.rejects import KEPT_CHARACTERS
from ingest.sources import records
from tests.factories import UserFactory
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def typed():
    """Return a function that makes a table with a key `n` and this column, and its model."""

    def make(column, *, field=None):
        run(f"CREATE TABLE typed_row (n integer PRIMARY KEY, v {column})")
        with isolate_apps("tests.end_to_end.contract"):

            class TypedRow(models.Model):
                n = models.IntegerField(primary_key=True)
                v = field or models.TextField()

                class Meta:
                    app_label = "contract"
                    db_table = "typed_row"
                    managed = False

                def __str__(self):
                    return str(self.n)

        return TypedRow

    run("CREATE TYPE typed_mood AS ENUM ('happy', 'sad')")
    run("CREATE DOMAIN typed_code AS text CHECK (VALUE ~ '^[a-z]+$')")
    yield make
    run(
        "DROP TABLE IF EXISTS typed_row; DROP TYPE typed_mood; DROP DOMAIN typed_code; "
        "DROP FUNCTION IF EXISTS typed_trap"
    )


def noise(length):
    chance = random.Random(1)
    return "".join(chance.choice(string.ascii_letters) for _ in range(length))


@pytest.mark.parametrize(
    ("column", "good", "bad", "reason"),
    [
        ("typed_mood", "happy", "angry", "invalid input value for enum typed_mood"),
        ("typed_code", "fine", "N0", "violates check constraint"),
        ("jsonb", '{"k": 1}', "plain", "invalid input syntax for type json"),
        ("json", '{"k": 1}', "plain", "invalid input syntax for type json"),
        ("text UNIQUE", "short", noise(9_000), "index row"),
        ("text CHECK (v::integer > 0)", "1", "x", "invalid input syntax for type integer"),
        ("text CHECK (1 / length(v) >= 0)", "1", "", "division by zero"),
        (
            "text, t tsvector GENERATED ALWAYS AS (to_tsvector('simple', v)) STORED",
            "short",
            " ".join(f"{number:x}{number * 7919:x}" for number in range(130_000)),
            "too long for tsvector",
        ),
    ],
    ids=["enum", "domain", "jsonb", "json", "index", "check", "division", "tsvector"],
)
@pytest.mark.parametrize("is_callers", [False, True])
def test_the_record_is_refused_alone(  # noqa: PLR0913, PLR0917 - what the cases are made of
    typed, method, is_callers, column, good, bad, reason
):
    model = typed(column, field=models.TextField(blank=True))
    unique = "UNIQUE" in column
    rows = [(at, bad if at % 3 == 0 else f"{good}{at}" if unique else good) for at in range(1, 9)]

    def work():
        got = load(model, rows, columns=["n", "v"], method=method, on_error="reject")
        assert [reject.record for reject in got.rejects] == [3, 6]
        for reject in got.rejects:
            assert reason in reject.reason
        stored = model.objects.order_by("n").values_list("n", flat=True)
        assert list(stored) == [1, 2, 4, 5, 7, 8]
        return got

    if is_callers:
        with transaction.atomic():
            work()
    else:
        assert work().load.rejects.count() == 2


def test_the_refused_value_is_named(typed, method):
    model = typed("typed_mood")
    got = load(
        model, [(1, "sad"), (2, "angry")], columns=["n", "v"], method=method, on_error="reject"
    )
    [reject] = got.rejects
    assert (reject.record, reject.column, reject.field, reject.value) == (2, "v", "v", "angry")


@pytest.mark.parametrize("batch", [3, 7, 100])
def test_types_constraints_and_repeated_keys_together(typed, method, batch, monkeypatch):
    monkeypatch.setattr(records, "BATCH_ROWS", batch)
    model = typed("typed_mood")
    run("CREATE UNIQUE INDEX ON typed_row (v) WHERE n < 0")
    run("ALTER TABLE typed_row ADD CHECK (100 / (n - 7) < 1000)")
    chance = random.Random(batch)
    rows = [
        (chance.randrange(-20, 40), chance.choice(["happy", "sad", "angry"])) for _ in range(120)
    ]
    want = {}
    with transaction.atomic():
        for number, row in enumerate(rows, 1):
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("INSERT INTO typed_row VALUES (%s, %s::typed_mood)", row)
            except Exception as error:  # noqa: BLE001 - whatever PostgreSQL says
                want[number] = (error.__cause__ or error).diag.message_primary
        stored = list(model.objects.order_by("n").values_list("n", "v"))
        transaction.set_rollback(True)
    got = load(model, rows, columns=["n", "v"], method=method, on_error="reject")
    assert {reject.record for reject in got.rejects} == set(want)
    assert list(model.objects.order_by("n").values_list("n", "v")) == stored
    for reject in got.rejects:
        if "duplicate" not in want[reject.record]:
            assert reject.reason.startswith(want[reject.record].rstrip("."))


@pytest.mark.parametrize(
    "statement",
    [
        "ASSERT NEW.n <> 2, 'an assertion'",
        "IF NEW.n = 2 THEN PERFORM no_such_function(); END IF",
        "IF NEW.n = 2 THEN RAISE EXCEPTION 'no' USING ERRCODE = '42501'; END IF",
        "IF NEW.n = 2 THEN RAISE EXCEPTION 'no' USING ERRCODE = '54000'; END IF",
    ],
)
def test_whatever_a_trigger_raises(typed, method, statement):
    model = typed("text")
    run(
        "CREATE FUNCTION typed_trap() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {statement}; RETURN NEW; END $$; CREATE TRIGGER typed_trap BEFORE INSERT "
        "ON typed_row FOR EACH ROW EXECUTE FUNCTION typed_trap()"
    )
    rows = [(n, "x") for n in (1, 2, 3)]
    try:
        got = load(model, rows, columns=["n", "v"], method=method, on_error="reject")
    finally:
        run("DROP TRIGGER typed_trap ON typed_row")
    assert [reject.record for reject in got.rejects] == [2]
    assert got.rows == 2


ODD = [
    float("nan"),
    float("inf"),
    b"\xff\x00",
    dt.date(2025, 1, 5),
    {1, 2},
    {"k": Decimal("1.5"), ("t",): [float("nan"), "\0"]},
    "half \ud800 a pair",
    "\0",
    "\x1b[31m",
    10**5_000,
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_a_refused_value_that_json_does_not_have(odd, tmp_path):
    user = UserFactory()
    rows = [
        {"user_id": user.pk, "number": "1", "name": "a", "opened_on": None},
        {"user_id": user.pk, "number": "2", "name": "b", "opened_on": odd, "extra": odd},
        {"user_id": user.pk, "number": "3", "name": "c", "opened_on": "?"},
    ]
    log, file = tmp_path / "log.jsonl", tmp_path / "rejects.jsonl"
    got = load(Account, rows, on_error="reject", reject_log=log, reject_file=file)
    assert (got.rows, got.rejected) == (1, 2)
    told = [json.loads(line, parse_constant=pytest.fail) for line in log.read_text().splitlines()]
    assert [line["record"] for line in told] == [2, 3]
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == ["2", "3"]
    assert [reject.record for reject in got.rejects] == [2, 3]
    assert list(Reject.objects.order_by("record").values_list("record", flat=True)) == [2, 3]
    assert all(map(str, got.rejects))


def test_the_ledger_keeps_the_beginning_of_a_long_value():
    user = UserFactory()
    rows = [
        (user.pk, "1", "x" * 1_000_000),
        (user.pk, "2", "short"),
        (user.pk, "3", ["y" * 1_000_000]),
    ]
    got = load(Account, rows, columns=["user_id", "number", "name"], on_error="reject")
    assert got.rejected == 2
    for kept in Reject.objects.all():
        assert len(kept.value) == KEPT_CHARACTERS
        assert len(kept.reason) <= KEPT_CHARACTERS
    assert all(len(str(reject)) < 2_000 for reject in got.rejects)


def test_two_such_loads_in_one_transaction(typed, method):
    model = typed("typed_mood")
    with transaction.atomic():
        for rows in ([(1, "sad"), (2, "no")], [(1, "sad"), (3, "happy")]):
            got = load(model, rows, columns=["n", "v"], method=method, on_error="reject")
            assert (got.rows, got.rejected) == (1, 1)
    assert model.objects.count() == 2
