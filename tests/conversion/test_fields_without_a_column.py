"""Fields that the source does not have get what `Model()` gives, if `clean_fields()` takes it."""

import csv
import datetime as dt
import itertools
import uuid

import pytest
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.core.validators import MinValueValidator
from django.db import connection, models
from django.db.models.functions import Now
from django.test.utils import isolate_apps
from django.utils import timezone

from finance.models import Account
from ingest import ConfigurationError, LayoutError, RecordsRefused, load, preview
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

numbers = itertools.count()


@pytest.fixture
def made():
    """Return a function that makes a model with `name` and these fields, and its table."""

    def make(*bases, **members):
        meta = type("Meta", (), {"app_label": "contract", "db_table": "unfed_made"})
        model = type(
            "Made",
            (*bases, models.Model),
            {
                "__module__": __name__,
                "Meta": meta,
                "name": models.CharField(max_length=20),
                **members,
            },
        )
        with connection.schema_editor() as editor:
            editor.create_model(model)
        return model

    with isolate_apps("tests.end_to_end.contract"):
        yield make


ROWS = [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (models.CharField(max_length=5), "This field cannot be blank."),
        (models.TextField(), "This field cannot be blank."),
        (models.FileField(), "This field cannot be blank."),
        (models.IntegerField(null=True), "This field cannot be blank."),
        (models.CharField(max_length=5, default=""), "This field cannot be blank."),
        (models.JSONField(default=dict), "This field cannot be blank."),
        (models.CharField(max_length=5, default="too long"), "at most 5 characters"),
        (models.IntegerField(default=0, validators=[MinValueValidator(1)]), "greater than"),
        (models.CharField(max_length=5, default="x", choices=[("a", "A")]), "not a valid choice"),
        (models.DateField(default="2025-02-30"), "invalid date"),
    ],
)
def test_what_the_model_would_refuse_of_its_own_value(made, field, reason):
    model = made(extra=field)
    with pytest.raises(ValidationError) as orm:
        model(name="a").clean_fields()
    assert set(orm.value.message_dict) == {"extra"}
    read = []
    with pytest.raises(LayoutError) as refused:
        load(model, (read.append(row) or row for row in ROWS), on_error="reject")
    assert len(read) == 1  # the first, for its columns
    assert "contract.Made.extra" in str(refused.value)
    assert reason in str(refused.value)
    assert "--set extra=VALUE" in str(refused.value)
    with pytest.raises(LayoutError):
        preview(model, ROWS)


@pytest.mark.parametrize(
    "field",
    [
        models.CharField(max_length=5, blank=True),
        models.CharField(max_length=5, editable=False),
        models.IntegerField(null=True, blank=True),
        models.IntegerField(null=True, editable=False),
        models.CharField(max_length=5, db_default="new"),
        models.CharField(max_length=5, default="", blank=True),
        models.DateTimeField(db_default=Now()),
        models.DateTimeField(auto_now=True),
        models.DateField(auto_now_add=True),
        models.UUIDField(default=uuid.uuid4),
        models.DateTimeField(default=timezone.now),
        models.JSONField(default=dict, blank=True),
        ArrayField(models.IntegerField(), default=list, blank=True),
        models.BinaryField(default=b"none"),
        models.CharField(max_length=5, default="a", choices=[("a", "A")]),
    ],
)
def test_what_the_model_takes_of_its_own_value(made, field):
    model = made(extra=field)
    model(name="a").clean_fields()
    assert load(model, ROWS, on_error="reject").rows == 2
    fresh = model.objects.create(name="c")
    for row in model.objects.exclude(pk=fresh.pk):
        assert type(row.extra) is type(fresh.extra)
        if not isinstance(row.extra, dt.date | uuid.UUID):
            assert row.extra == model.objects.get(pk=fresh.pk).extra


def test_all_fields_are_named_at_once(made):
    model = made(first=models.TextField(), second=models.CharField(max_length=5, default="123456"))
    with pytest.raises(LayoutError) as refused:
        load(model, ROWS)
    assert "contract.Made.first" in str(refused.value)
    assert "contract.Made.second is refused, '123456'" in str(refused.value)


def test_a_callable_is_called_once_for_each_record_and_judged(made):
    start = next(numbers)
    field = models.IntegerField(
        default=lambda: next(numbers), validators=[MinValueValidator(start + 2)]
    )
    model = made(extra=field)
    got = load(model, [{"name": str(place)} for place in range(3)], on_error="reject")
    [reject] = got.rejects
    assert (reject.record, reject.field, reject.kind) == (1, "extra", "value")
    assert f"(The field's default gave {start + 1}.)" in reject.reason
    assert list(model.objects.order_by("pk").values_list("name", "extra")) == [
        ("1", start + 2),
        ("2", start + 3),
    ]


def test_a_callable_that_gives_what_the_field_refuses(made):
    model = made(extra=models.IntegerField(default=lambda: "x"))
    with pytest.raises(RecordsRefused, match=r"record 1 .*must be an integer"):
        load(model, ROWS)


def test_instances_have_all_attributes(made):
    model = made(extra=models.CharField(max_length=5))
    rows = [model(name="a"), model(name="b", extra="x")]
    got = load(model, rows, on_error="reject")
    assert [(reject.record, reject.field) for reject in got.rejects] == [(1, "extra")]


@pytest.mark.parametrize("form", ["dicts", "csv"])
def test_set_gives_all_records_one_value(made, form, tmp_path):
    model = made(
        day=models.DateField(),
        price=models.DecimalField(max_digits=5, decimal_places=2),
        data=models.JSONField(),
        is_new=models.BooleanField(),
    )
    source = ROWS
    if form == "csv":
        source = tmp_path / "rows.csv"
        source.write_text("name\na\nb\n")
    values = {"day": dt.date(2025, 1, 31), "price": 1.5, "data": {"k": [1]}, "is_new": False}
    assert load(model, source, set=values).rows == 2
    for row in model.objects.all():
        assert (row.day, str(row.price), row.data, row.is_new) == (
            dt.date(2025, 1, 31),
            "1.50",
            {"k": [1]},
            False,
        )


def test_set_takes_an_instance_and_is_judged_before_the_first_row():
    user = UserFactory()
    rows = [{"number": "1", "name": "n"}]
    assert load(Account, rows, set={"user": user}).rows == 1
    assert Account.objects.get().user == user
    with pytest.raises(LayoutError, match="currency refuses the value that all records get"):
        load(Account, rows, set={"user_id": user.pk, "currency": "EURO"}, on_error="reject")


def test_set_on_the_command_line(tmp_path):
    path = tmp_path / "accounts.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("number", "user"), ("1", UserFactory().pk)])
    with pytest.raises(CommandError, match=r"--set name=VALUE") as refused:
        call_command("bulk_load", "finance.Account", str(path))
    assert refused.value.returncode == 2
    call_command("bulk_load", "finance.Account", str(path), "--set", "name=Mine", verbosity=0)
    assert Account.objects.get().name == "Mine"


class Checked:
    """A model with a `clean()` that refuses, and one that changes."""

    def clean(self):
        if self.least > self.most:
            raise ValidationError({"most": "It is less than the least."})
        if self.name == "no":
            raise ValidationError("This name will not do.")
        self.name = self.name.upper()
        self.stamp = f"{self.least}-{self.most}"


def _checked(made):
    return made(
        Checked,
        least=models.IntegerField(),
        most=models.IntegerField(default=5),
        stamp=models.CharField(max_length=10, blank=True),
    )


RANGES = [("a", 1), ("b", 9), ("no", 2), ("d", 3)]


def test_clean_runs_record_by_record(made):
    model = _checked(made)
    got = load(model, RANGES, columns=["name", "least"], clean=True, on_error="reject")
    assert [(reject.record, reject.field, reject.reason) for reject in got.rejects] == [
        (2, "most", "It is less than the least."),
        (3, None, "This name will not do."),
    ]
    stored = model.objects.order_by("pk").values_list("name", "least", "most", "stamp")
    assert list(stored) == [("A", 1, 5, "1-5"), ("D", 3, 5, "3-5")]
    assert not [text for text in got.decisions if "clean()" in text]


def test_a_load_without_clean_says_so(made):
    model = _checked(made)
    got = load(model, RANGES, columns=["name", "least"])
    assert got.rows == 4
    assert (
        "Not checked: contract.Made has a clean() of its own, which is not run (--clean runs it "
        "for each record)." in got.decisions
    )
    with pytest.raises(ConfigurationError, match="clean has nothing to run"):
        load(Account, [{"number": "1", "name": "n", "user": 1}], clean=True)


class Choosy(models.IntegerField):
    """Its `validate()` looks at the whole instance."""

    def validate(self, value, model_instance):
        super().validate(value, model_instance)
        if model_instance.name == str(value):
            raise ValidationError("It is the name again.")


class Living(models.Manager):
    def get_queryset(self):
        return super().get_queryset().exclude(name="gone")


def test_rules_that_are_not_asked_are_told(made):
    class Parent(models.Model):
        name = models.CharField(max_length=5)
        objects = Living()

        class Meta:
            app_label = "contract"
            base_manager_name = "objects"

        def __str__(self):
            return self.name

    with connection.schema_editor() as editor:
        editor.create_model(Parent)
    model = made(
        number=Choosy(),
        day=models.DateField(unique_for_month="number", default=dt.date(2025, 1, 1)),
        parent=models.ForeignKey(
            Parent, models.CASCADE, null=True, blank=True, limit_choices_to={"name": "x"}
        ),
    )
    rows = [{"name": "1", "number": 1}, {"name": "2", "number": 1}]
    got = load(model, rows)
    told = "\n".join(got.decisions)
    for rule in ("clean() or validate()", "unique_for_month", "limit_choices_to", "base manager"):
        assert rule in told
    got = load(model, rows, clean=True, on_error="reject")
    assert [(reject.record, reject.reason) for reject in got.rejects] == [
        (1, "It is the name again.")
    ]
    assert "clean() or validate()" not in "\n".join(got.decisions)
