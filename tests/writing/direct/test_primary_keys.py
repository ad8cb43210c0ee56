"""Foreign keys of every type that is looked up as a set, and of some that are not."""

import uuid

import pytest
from django.db import NotSupportedError, connection, models

from tests.writing.direct.tables import both, make_model, run

SET = "References: 1 foreign key checked as a set."
FIRST, LAST, LOST = (uuid.UUID(int=number) for number in (1, 2**128 - 1, 7))
TEXTS = ["", "ž", 'a"b{},\\N', "NULL", "x" * 300]

TYPES = {
    "smallint": ("smallint", "smallint", [-(2**15), 0, 2**15 - 1], 7),
    "integer": ("integer", "integer", [-(2**31), 0, 2**31 - 1], 7),
    "bigint": ("bigint", "bigint", [-(2**63), 0, 2**63 - 1], 7),
    "int to bigint": ("bigint", "integer", [-(2**31), 0, 2**31 - 1], 7),
    "bigint to int": ("integer", "bigint", [0, 2**31 - 1], 2**40),
    "text": ("text", "text", TEXTS, "lost"),
    "varchar": ("varchar(300)", "varchar(300)", TEXTS, "lost"),
    "varchar to text": ("text", "varchar(300)", TEXTS, "lost"),
    "text to varchar": ("varchar(300)", "text", TEXTS, "lost"),
    "text, other collations": ('text COLLATE "C"', 'text COLLATE "POSIX"', TEXTS, "lost"),
    "uuid": ("uuid", "uuid", [FIRST, LAST], LOST),
}


def field_for(value):
    if isinstance(value, int):
        return models.BigIntegerField(null=True, blank=True)
    if isinstance(value, str):
        return models.TextField(null=True, blank=True)
    return models.UUIDField(null=True, blank=True)


def make_tables(parent_type, child_type, keys, more=""):
    run(f"CREATE TABLE parent (id bigserial PRIMARY KEY, code {parent_type} UNIQUE)")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO direct_test.parent (code) VALUES (%s)", [[k] for k in keys])
    run(
        f"CREATE TABLE child (id bigserial PRIMARY KEY, code {child_type} "
        f"CONSTRAINT coded REFERENCES parent (code) {more})"
    )


@pytest.mark.parametrize("is_found", [True, False])
@pytest.mark.parametrize("case", TYPES)
def test_types_that_are_looked_up(schema, case, is_found):
    parent_type, child_type, keys, lost = TYPES[case]
    make_tables(parent_type, child_type, keys)
    model = make_model(code=field_for(lost))
    rows = [(key,) for key in [*keys, None, *keys, *([] if is_found else [lost])]]
    want, got, decisions = both(model, rows)
    assert decisions[1] == SET
    assert got.rows == want.rows
    assert len(got.rows) == (len(rows) if is_found else 0)
    assert bool(got.refused) is not is_found
    assert got.refused == want.refused


def test_keys_beside_a_column_that_only_text_can_carry(schema):
    make_tables("uuid", "uuid", [FIRST, LAST], ", words tsvector")
    model = make_model(code=field_for(LOST), words=models.TextField())
    want, got, decisions = both(model, [(FIRST, "a"), (LAST, "b")])
    assert decisions[1] == SET
    assert got == want
    assert len(got.rows) == 2
    want, got, decisions = both(model, [(FIRST, "a"), (LOST, "b")])
    assert "record 2, column 'code': UUID(" in got.message
    assert f"Key (code)=({LOST}) is not present" in got.message
    assert got == want


REFUSED = {
    "char": ("char(3)", "char(3)", "is of the type character(3)."),
    "char to text": ("text", "char(3)", "is of the type character(3)."),
    "date": ("date", "date", "is of the type date."),
    "numeric": ("numeric", "numeric", "is of the type numeric."),
    "bigint to numeric": ("numeric", "bigint", "is of the type bigint."),
    "no case": (
        "text COLLATE direct_test.no_case",
        "text COLLATE direct_test.no_case",
        "has a collation that takes different texts for equal.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_types_that_postgresql_checks_itself(schema, case):
    if case == "no case":
        try:
            run(
                "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', "
                "deterministic = false)"
            )
        except NotSupportedError:
            pytest.skip("this PostgreSQL was built without ICU")
    parent_type, child_type, reason = REFUSED[case]
    make_tables(parent_type, child_type, [])
    value = {"date": "2025-01-01", "numeric": "12", "bigint to numeric": 12}.get(case, "abc")
    field = field_for(value)
    if case == "date":
        field = models.DateField()
    if case == "numeric":
        field = models.DecimalField(max_digits=5, decimal_places=0)
    run(f"INSERT INTO parent (code) VALUES ('{value}')")
    rows = [(value,), ("ABC",)] if case == "no case" else [(value,)]
    want, got, decisions = both(make_model(code=field), rows)
    reason = f"because the foreign key 'coded' {reason}"
    assert [each for each in decisions if not each.startswith("One value at a time: ")] == [
        f"Indexes: maintained row by row, {reason}",
        f"References: checked row by row by PostgreSQL, {reason}",
    ]
    assert got == want
    assert len(got.rows) == len(rows)


def test_names_that_need_quotes(schema):
    run(
        'CREATE TABLE "the ""parent""" ("Key, (x)" bigint PRIMARY KEY); '
        'INSERT INTO "the ""parent""" VALUES (1); '
        'CREATE TABLE "Child ON x" (id bigserial PRIMARY KEY, "Parent %s" bigint '
        'CONSTRAINT "it\'s" REFERENCES "the ""parent"""); '
        'CREATE INDEX "on ON ""x""" ON "Child ON x" ("Parent %s"); '
        'COMMENT ON INDEX "on ON ""x""" IS \'it\'\'s \\ "a" $1\''
    )
    model = make_model("Child ON x", parent=models.BigIntegerField(db_column="Parent %s"))
    want, got, decisions = both(model, [(1,), (1,)])
    assert decisions == ["Indexes: 2 built after the rows.", SET]
    assert got == want
    want, got, _ = both(model, [(1,), (2,)])
    assert got.rows == want.rows == ()
    assert "record 2, column 'parent': 2: Key (Parent %s)=(2)" in got.message


def test_a_parent_in_another_schema(schema):
    run(
        "CREATE SCHEMA direct_other; CREATE TABLE direct_other.child (id bigint PRIMARY KEY); "
        "INSERT INTO direct_other.child VALUES (1); "
        "CREATE TABLE child (id bigserial PRIMARY KEY, "
        "parent_id bigint CONSTRAINT far REFERENCES direct_other.child, note text)"
    )
    try:
        want, got, decisions = both(make_model(), [(1, "a")])
        assert decisions[1] == SET
        assert got == want
        want, got, _ = both(make_model(), [(1, "a"), (2, "b")])
        assert got == want
        assert not got.rows
    finally:
        run("DROP SCHEMA direct_other CASCADE")
