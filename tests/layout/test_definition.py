from pathlib import Path

import pytest

from ingest import LayoutError
from ingest.layout import Condition, Continuation, FieldLayout, Layout, Reading, Sign, layout_names

FULL = Layout(
    model="finance.Transaction",
    source={"delimiter": ";", "header": False, "skip_records": 2},
    read=Reading(decimal=",", thousands=(".", " "), strip=True, null=("NULL", "-")),
    fields={
        "amount": FieldLayout(column="Betrag", sign=Sign(column=3, negative=("S",))),
        "account": FieldLayout(column="Konto", lookup=("number",), create={}),
        "user": FieldLayout(copy="account.user"),
        "description": FieldLayout(columns=("a", 'b "c"'), join=", ", default="x\ty"),
        "reference": FieldLayout(column=7, values={"ä b": "1"}, otherwise=""),
    },
    skip=(Condition(column=1, equals=("Total",)), Condition(column=2, empty=True)),
    continuation=Continuation(when=(Condition(column=1, empty=True),), append=(2,)),
)


def test_what_is_written_is_read(tmp_path):
    (tmp_path / "x.toml").write_text(FULL.to_toml())
    assert Layout.from_toml(tmp_path / "x.toml") == FULL


@pytest.mark.parametrize("name", layout_names())
def test_every_layout_that_ships_survives_a_round_trip(tmp_path, name):
    layout = Layout.from_toml(layout_names()[name])
    assert layout.about
    (tmp_path / "x.toml").write_text(layout.to_toml())
    assert Layout.from_toml(tmp_path / "x.toml") == layout


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            '[fields]\ntx_date = "d"\namount = {column = "b", decimel = ","}\n',
            "line 3: there is no key 'decimel' in fields.amount. "  # noqa: ISC004
            "Did you mean 'decimal' or 'debit'?",
        ),
        (
            "model = 'x'\n[fields.amount]\ncolumn = true\n",
            "line 3: fields.amount.column must be a column's name or its position from 1, "  # noqa: ISC004
            "not True.",
        ),
        ("[feilds]\n", "line 1: there is no key 'feilds'. Did you mean 'fields'?"),
        ("[[skip]]\nempty = true\n", "line 1: skip lacks the key 'column'."),
        ("others = 'x'", "line 1: 'others' is 'x': use 'ignore' or 'match'."),
    ],
)
def test_errors_name_the_line_and_the_key(tmp_path, text, want):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(LayoutError) as caught:
        Layout.from_toml(tmp_path / "x.toml")
    assert str(caught.value).removeprefix(f"{tmp_path / 'x.toml'}, ") == want


def test_no_toml_and_no_file(tmp_path):
    (tmp_path / "x.toml").write_text("a = \n")
    with pytest.raises(LayoutError, match=r"x\.toml is not valid TOML: .*line 1"):
        Layout.from_toml(tmp_path / "x.toml")
    with pytest.raises(LayoutError, match="cannot be read"):
        Layout.from_toml(Path("nowhere.toml"))
