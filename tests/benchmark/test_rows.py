import dataclasses
import datetime as dt
import subprocess
import sys
import time
import uuid
from collections import Counter
from decimal import Decimal

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import (
    MaxValueValidator,
    MinLengthValidator,
    MinValueValidator,
    RegexValidator,
)
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.test.utils import isolate_apps

from finance.models import Account, Transaction
from ingest.benchmark.data import Keys, RowMaker, made_fields
from ingest.exceptions import BenchmarkError
from ingest.postgres.catalog import Table
from tests.end_to_end.contract.models.base import Sample

pytestmark = pytest.mark.django_db

# Only what a table's constraints say matters here, whatever else a table comes to have.
NO_TABLE = Table(**{item.name: () for item in dataclasses.fields(Table)})
# Their Python values are of a kind that only their authors know.
STRANGE = {"Custom", "Typed", "Exotic", "Array"}


def keys_for(fields, rows):
    keys = []
    for field in fields:
        if field.is_relation:
            kind = field.target_field
            values = [(f"key {n}",) if isinstance(kind, models.CharField) else (n,) for n in rows]
            keys.append(Keys(fields=(field.attname,), values=values))
    return keys


def make(model, count, *, seed=1, parents=50):
    fields, _ = made_fields(model)
    maker = RowMaker(
        model=model,
        fields=fields,
        table=NO_TABLE,
        alias="default",
        seed=seed,
        keys=keys_for(fields, range(1, parents + 1)),
    )
    return fields, maker.make(count)


def column(model, name, count=200, **options):
    fields, rows = make(model, count, **options)
    [place] = [n for n, field in enumerate(fields) if field.attname == name]
    return [row[place] for row in rows]


@pytest.mark.parametrize(
    "model",
    [
        model
        for label in ("contract", "finance", "auth")
        for model in apps.get_app_config(label).get_models()
        if model.__name__ not in STRANGE
    ],
    ids=lambda model: model.__name__,
)
def test_every_value_passes_the_fields_own_clean(model):
    fields, rows = make(model, 60, parents=100)
    assert len(rows) == 60
    for place, field in enumerate(fields):
        values = [row[place] for row in rows]
        for value in values:
            if not field.is_relation:
                assert field.clean(value, None) == value
        if field.unique:
            assert len(set(values)) == 60


def test_an_unknown_kind_of_field_asks_for_a_file():
    with pytest.raises(BenchmarkError) as caught:
        make(apps.get_model("contract.Exotic"), 1)
    assert str(caught.value) == (
        "Rows cannot be made for contract.Exotic: the field 'single' is of an unknown kind, "
        "TypedField. Give a file of rows with --source FILE."
    )


def test_a_field_that_refuses_every_value_asks_for_a_file():
    with pytest.raises(
        BenchmarkError, match=r"contract\.Custom\.money accepts: .*--source FILE\.$"
    ):
        make(apps.get_model("contract.Custom"), 1)


def test_the_same_seed_makes_the_same_rows_in_another_process():
    code = (
        "import django; django.setup();"
        "from tests.benchmark.test_rows import make, Transaction;"
        "import hashlib; rows = make(Transaction, 500)[1];"
        "print(hashlib.sha256(repr(rows).encode()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                "PYTHONHASHSEED": seed,
                "DJANGO_SETTINGS_MODULE": "settings.testing",
                "DATABASE_URL": "postgresql://nobody@nowhere/nothing",
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert make(Transaction, 50)[1] == make(Transaction, 50)[1]
    assert make(Transaction, 50)[1] != make(Transaction, 50, seed=2)[1]


def test_more_rows_begin_with_the_same_rows():
    assert make(Transaction, 400)[1][:100] == make(Transaction, 100)[1]


def test_what_the_orm_or_postgresql_fills_is_not_made():
    got = [field.name for field in made_fields(Transaction)[0]]
    assert got == ["user", "account", "amount", "description", "tx_date", "reference"]


def test_finance_rows_look_like_real_ones():
    fields, rows = make(Transaction, 10_000)
    by_name = {field.name: [row[place] for row in rows] for place, field in enumerate(fields)}
    assert len(set(by_name["user"])) == 50
    digits = Counter(len(str(abs(amount)).split(".")[0]) for amount in by_name["amount"])
    assert len(digits) == 10
    assert {amount.as_tuple().exponent for amount in by_name["amount"]} == {-2}
    assert min(by_name["amount"]) < 0 < max(by_name["amount"])
    assert len(set(by_name["tx_date"])) > 1_000
    references = [reference for reference in by_name["reference"] if reference]
    assert 6_000 < len(references) < 9_000
    assert len(set(references)) == len(references)


def test_a_hundred_thousand_rows_are_made_in_seconds():
    started = time.process_time()
    make(Transaction, 100_000)
    assert time.process_time() - started < 10  # about 1 s; a bound against another order


def odd(value):
    if value % 2 == 0:
        raise ValidationError("even")


@pytest.fixture
def isolated():
    with isolate_apps("tests.end_to_end.contract"):
        yield


def test_validators_and_bounds_are_honoured(isolated):
    class Bounded(Sample):
        plate = models.CharField(max_length=8, validators=[RegexValidator(r"^[A-Z]{2}-\d{3,4}$")])
        age = models.IntegerField(validators=[MinValueValidator(18), MaxValueValidator(20)])
        price = models.DecimalField(
            max_digits=6, decimal_places=3, validators=[MinValueValidator(Decimal("0.5"))]
        )
        code = models.CharField(max_length=6, validators=[MinLengthValidator(5)])
        letter = models.CharField(max_length=1)

        number = models.IntegerField(validators=[odd])

        class Meta:
            app_label = "contract"

    assert set(column(Bounded, "age")) == {18, 19, 20}
    assert min(column(Bounded, "price")) >= Decimal("0.5")
    assert {len(code) for code in column(Bounded, "code")} == {5, 6}
    assert all(number % 2 for number in column(Bounded, "number"))
    assert len(set(column(Bounded, "plate"))) > 100


def test_unique_constraints_of_every_kind_are_kept(isolated):
    class Owner(Sample):
        class Meta:
            app_label = "contract"

    class Many(Sample):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        owner = models.OneToOneField(Owner, models.CASCADE)
        a = models.ForeignKey(Owner, models.CASCADE, related_name="+")
        b = models.ForeignKey(Owner, models.CASCADE, related_name="+")
        kind = models.CharField(max_length=1, choices=[("x", "X"), ("y", "Y")])
        name = models.CharField(max_length=30)
        number = models.IntegerField(null=True, blank=True)
        start = models.IntegerField()
        end = models.IntegerField()

        class Meta:
            app_label = "contract"
            unique_together = (("a", "b"),)
            constraints = (
                models.UniqueConstraint(Lower("name"), name="lower_name"),
                models.UniqueConstraint(
                    fields=["number"], condition=Q(kind="x"), name="number_of_x"
                ),
                models.CheckConstraint(condition=Q(end__gt=F("start")), name="forward"),
                models.CheckConstraint(condition=Q(start__gte=0) | Q(kind="y"), name="positive"),
            )

    fields, rows = make(Many, 300, parents=300)
    names = [field.attname for field in fields]
    rows = [dict(zip(names, row, strict=True)) for row in rows]
    assert len({row["owner_id"] for row in rows}) == 300
    assert len({row["id"] for row in rows}) == 300
    assert len({(row["a_id"], row["b_id"]) for row in rows}) == 300
    assert len({row["name"].lower() for row in rows}) == 300
    numbers = [row["number"] for row in rows if row["number"] is not None]
    assert len(set(numbers)) == len(numbers) < 300
    assert all(row["end"] > row["start"] for row in rows)
    assert all(row["start"] >= 0 or row["kind"] == "y" for row in rows)


def test_too_few_different_values_are_told(isolated):
    class Small(Sample):
        letter = models.CharField(max_length=1, unique=True)

        class Meta:
            app_label = "contract"

    with pytest.raises(BenchmarkError) as caught:
        make(Small, 100)
    assert str(caught.value) == (
        "contract.Small.letter has room for about 36 different values only: ask for fewer --rows."
    )


def test_a_missing_parent_is_told():
    fields, _ = made_fields(Account)
    maker = RowMaker(model=Account, fields=fields, table=NO_TABLE, alias="default", seed=1)
    with pytest.raises(BenchmarkError) as caught:
        maker.make(1)
    assert str(caught.value) == (
        "Rows cannot be made for finance.Account: 'user' refers to rows that are not there. "
        "Give a file with --source FILE."
    )


def test_dates_lie_between_their_bounds():
    days = column(Transaction, "tx_date")
    assert dt.date(2015, 1, 1) <= min(days) < max(days) <= dt.date(2025, 12, 31)
