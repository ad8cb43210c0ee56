"""``sync``: rows of the scope that the source does not have are deleted, or nothing is loaded."""

import pytest
from django.contrib.postgres.fields import ArrayField, IntegerRangeField
from django.db import connection, models, transaction

from finance.models import Account, Transaction
from ingest import ConfigurationError, DeletesRefused, RecordsRefused, load
from tests.factories import AccountFactory, TransactionFactory
from tests.writing.conflicts.tables import ask, counts, make_model, run

FEW = {"on_conflict": "sync", "scope": "all", "max_deletes": "100%", "analyze": False}
NO_LIMITS = [
    *(
        "x",
        "",
        "%",
        "nan",
        "snan",
        "inf",
        "-1",
        "-1%",
        "nan%",
        "inf%",
        "101%",
        "1e400",
        "1e999999999",
    ),
    *("1.5", "1e-400", 2**63, True, float("nan"), float("inf"), "1e-400%x"),
]


@pytest.fixture
def scoped(schema):
    run("""
        CREATE TABLE item (number text UNIQUE, area text, note text);
        INSERT INTO item VALUES
            ('a', 'x', '1'), ('b', 'x', '1'), ('c', 'y', '1'), (NULL, 'x', '1'), ('d', NULL, '1');
    """)
    return make_model(
        number=models.TextField(primary_key=True),
        area=models.TextField(null=True, blank=True),
        note=models.TextField(null=True, blank=True),
    )


def numbers():
    return [number for (number,) in ask("SELECT number FROM item ORDER BY number")]


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        (["area=x", "area=y"], ["a", "d", "n", None]),
        ({"area": ["y", None]}, ["a", "b", "n", None]),
        ({"area__in": ("x", "y"), "note": "1"}, ["a", "d", "n", None]),
        ("area__isnull=true", ["a", "b", "c", "n", None]),
        ("area__isnull=False", ["a", "d", "n", None]),
        ({"pk__gte": "b", "pk__lt": "d"}, ["a", "d", "n", None]),
        (["number__gt=b"], ["a", "b", "n", None]),
        ({"area": "x"}, ["a", "c", "d", "n", None]),
        ("area=x", ["a", "c", "d", "n", None]),
        (["area=x", "note=1"], ["a", "c", "d", "n", None]),
        ({"area": None}, ["a", "b", "c", "n", None]),
        ("all", ["a", "n", None]),
        (["all"], ["a", "n", None]),
    ],
)
@pytest.mark.parametrize("rows", [1, 100])
def test_what_is_deleted(scoped, scope, left, rows, monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", rows)
    records = [{"number": "n", "area": "x", "note": "2"}, {"number": "a", "area": "x", "note": "2"}]
    result = load(scoped, records, **{**FEW, "scope": scope})
    assert counts(result) == {"inserted": 1, "updated": 1}
    assert numbers() == left
    assert result.deleted == 6 - len(left)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_deletes": 2}, "would delete 3 of the 5 rows of the scope, and max_deletes allows 2"),
        ({"max_deletes": "50%"}, "max_deletes allows 50%"),
        ({"max_deletes": None}, "max_deletes allows 10%"),
        ({"scope": {"nothing": 1}}, "'nothing', and conflicts_test.Row does not have 'nothing'"),
        ({"scope": "x"}, "use FIELD=VALUE, or all"),
        ({"scope": {}}, "scope is empty"),
        ({"scope": {"area__contains": 1}}, "area has no 'contains' here: use area=VALUE, or put"),
        ({"scope": {"area__lower__x": 1}}, "area has no 'lower__x' here"),
        ({"scope": {"area": []}}, "gives 'area' no value"),
        ({"scope": "area__in=x,y"}, r"takes a list .* repeat the field: area=VALUE area=VALUE"),
        ({"scope": {"area__in": [None]}}, "takes a list without NULL"),
        ({"scope": {"area__gt": None}}, "give one value"),
        ({"scope": {"area__isnull": "no"}}, "use true or false"),
        ({"scope": {"area": "a\0"}}, "which no row has"),
        ({"scope": ["all", "area=x"]}, "use FIELD=VALUE, or all"),
        ({"scope": None}, r"specify which ones may be deleted, with scope="),
        *(
            (
                {"max_deletes": it},
                "max_deletes is .*: give a number of rows, such as 100, or a share",
            )
            for it in NO_LIMITS
        ),
        ({"on_error": "reject"}, "leave out on_error='reject'"),
        ({"chunk_rows": 2}, "one transaction"),
        ({"on_conflict": "upsert"}, "scope .* has no effect with on_conflict='upsert'"),
    ],
)
def test_what_is_refused(scoped, options, match):
    before = numbers()
    with pytest.raises((ConfigurationError, DeletesRefused), match=match):
        load(scoped, [{"number": "a", "note": "2"}], **{**FEW, **options})
    assert numbers() == before


def test_a_scope_by_fields_of_parents(db):
    kept = TransactionFactory(reference="r1")
    near = TransactionFactory(account=kept.account, reference="r2")
    other = TransactionFactory(reference="r2")
    record = {
        "account_id": kept.account_id,
        "user_id": kept.user_id,
        "reference": "r1",
        "amount": "1",
        "tx_date": "2025-01-01",
    }
    scopes = [
        {"account__number": kept.account.number},
        f"account={kept.account_id}",
        {"account_id": kept.account_id},
        {"account": kept.account},
        {"account__user__username": kept.account.user.username, "tx_date": near.tx_date},
        {"account__in": [kept.account], "amount__lte": near.amount},
    ]
    for scope in scopes:
        rows = set(Transaction.objects.filter(pk__in=[near.pk, other.pk]))
        with transaction.atomic():
            assert load(Transaction, [record], **{**FEW, "scope": scope}).deleted == 1
            left = set(Transaction.objects.filter(pk__in=[near.pk, other.pk]))
            transaction.set_rollback(True)
        assert rows - left == {near}
    for scope, match in [
        ({"account": Account()}, "for NULL, use account__isnull=true"),
        ({"account": kept}, "It is no finance.Account"),
        ({"account__nothing": 1}, "finance.Account does not have 'nothing'"),
        ({"account": "x"}, "which it refuses: .x. value must be an integer"),
        ({"account": ""}, "account__isnull=true"),
        ({"account__transactions__amount": 1}, "does not have 'transactions' as a column"),
        ({"amount": "1e999999"}, "refuses"),
    ]:
        with pytest.raises(ConfigurationError, match=match):
            load(Transaction, [record], **{**FEW, "scope": scope})


@pytest.mark.parametrize(
    ("sql_type", "field", "value"),
    [
        ("boolean", models.BooleanField(null=True), "True"),
        ("timestamptz", models.DateTimeField(null=True), "2025-01-31 10:00"),
        ("integer[]", ArrayField(models.IntegerField(), null=True), [1, 2]),
        ("jsonb", models.JSONField(null=True), {"a": [1]}),
        ("bytea", models.BinaryField(null=True), b"\0'\\"),
        ("int4range", IntegerRangeField(null=True), (1, 5)),
        ("interval", models.DurationField(null=True), "1 02:00:00"),
        ("char(4)", models.CharField(max_length=4, null=True), "x"),
        ("uuid", models.UUIDField(null=True), "1" * 32),
    ],
)
def test_a_scope_of_any_type(schema, sql_type, field, value):
    run(f"CREATE TABLE item (number text PRIMARY KEY, area {sql_type})")
    model = make_model(number=models.TextField(primary_key=True), area=field.clone())
    model._meta.get_field("area").blank = True
    load(model, [("a", value), ("b", None)], columns=["number", "area"])
    result = load(model, [{"number": "n"}], **{**FEW, "scope": {"area": value}})
    assert (result.deleted, numbers()) == (1, ["b", "n"])


def test_a_type_without_order_is_no_scope(schema):
    run("CREATE TABLE item (number text PRIMARY KEY, area json)")
    model = make_model(number=models.TextField(primary_key=True), area=models.JSONField(null=True))
    with pytest.raises(ConfigurationError, match="type json cannot be compared"):
        load(model, [{"number": "n"}], **{**FEW, "scope": {"area": 1}})


def test_an_empty_source_deletes_nothing(scoped, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("number,note\n", encoding="utf-8")
    for source in ([], str(path)):
        with pytest.raises(DeletesRefused, match="The source has no records"):
            load(scoped, source, **FEW)
    assert len(numbers()) == 5


def test_a_refused_record_deletes_nothing(scoped):
    with pytest.raises(RecordsRefused):
        load(scoped, [{"number": "a"}, {"number": "a"}], **FEW)
    assert len(numbers()) == 5


def test_a_dry_run_deletes_nothing(scoped):
    result = load(scoped, [{"number": "a", "note": "2"}], dry_run=True, **FEW)
    assert (result.updated, result.deleted) == (1, 3)
    assert len(numbers()) == 5


def test_rows_that_others_refer_to_are_not_deleted(db):
    parent = TransactionFactory().account
    lonely = AccountFactory()
    kept = AccountFactory()
    record = {"number": kept.number, "name": "new", "user_id": kept.user_id}
    with pytest.raises(DeletesRefused, match=f"key '{parent.number}', but rows of .*transaction"):
        load(Account, [record], key=["number"], **FEW)
    assert Account.objects.count() == 3
    scope = {"user": lonely.user_id}
    result = load(Account, [record], key=["number"], **{**FEW, "scope": scope})
    assert (result.updated, result.deleted) == (1, 1)
    assert not Account.objects.filter(pk=lonely.pk).exists()


def test_rows_that_a_cascade_would_take_are_not_deleted(schema):
    run("""
        CREATE TABLE item (number text PRIMARY KEY, note text);
        CREATE TABLE child (of text REFERENCES item ON DELETE CASCADE);
        INSERT INTO item VALUES ('a'), ('b'); INSERT INTO child VALUES ('b');
    """)
    model = make_model(number=models.TextField(primary_key=True), note=models.TextField(null=True))
    with pytest.raises(DeletesRefused, match="child"):
        load(model, [{"number": "a", "note": "x"}], **FEW)
    run("DELETE FROM child")
    assert load(model, [{"number": "a", "note": "x"}], **FEW).deleted == 1


def test_sync_inside_atomic_rolls_back_with_the_caller(db):
    kept, gone = TransactionFactory(reference="r1"), TransactionFactory(reference="r2")
    record = {
        "account_id": kept.account_id,
        "user_id": kept.user_id,
        "reference": "r1",
        "amount": "1",
        "tx_date": "2025-01-01",
    }
    with transaction.atomic():
        assert load(Transaction, [record], **FEW).deleted == 1
        assert not Transaction.objects.filter(pk=gone.pk).exists()
        transaction.set_rollback(True)
    assert Transaction.objects.filter(pk=gone.pk).exists()
    assert connection.is_usable()
