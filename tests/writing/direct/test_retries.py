"""What `direct` may do all the same, though it looks unusual: the outcome is that of `copy`."""

import pytest
from django.db import connection

from tests.writing.direct.tables import both, make_model, run
from tests.writing.direct.test_preconditions import (
    BUILT,
    FUNCTION,
    GOOD,
    KEPT,
    ORPHAN,
    ROW_BY_ROW,
    ROW_TRIGGER,
    SET,
)


def is_18():
    return connection.pg_version >= 180000


GOES_ON = {
    "nothing special": ("", [BUILT, SET]),
    "disabled trigger": (f"{ROW_TRIGGER} ALTER TABLE child DISABLE TRIGGER t;", [BUILT, SET]),
    "trigger on UPDATE": (
        (f"{FUNCTION} CREATE TRIGGER t BEFORE UPDATE OR DELETE ON child FOR EACH ROW "
        "EXECUTE FUNCTION look();"),
        [BUILT, SET],
    ),
    "NOT VALID": (
        ("ALTER TABLE child DROP CONSTRAINT child_parent, ADD CONSTRAINT child_parent "
        "FOREIGN KEY (parent_id) REFERENCES parent NOT VALID;"),
        [BUILT, SET],
    ),
    "MATCH FULL of one column": (
        ("ALTER TABLE child DROP CONSTRAINT child_parent, ADD CONSTRAINT child_parent "
        "FOREIGN KEY (parent_id) REFERENCES parent MATCH FULL;"),
        [BUILT, SET],
    ),
    "no default": ("ALTER TABLE child ADD second_id bigint REFERENCES parent;",
                   [BUILT, "References: 1 foreign key checked as a set."]),
    "int4 to int8": ("ALTER TABLE child ALTER parent_id TYPE int;", [BUILT, SET]),
    "int8 to int2": (("DROP TABLE child; ALTER TABLE parent ALTER id TYPE smallint; CREATE TABLE "
                     "child (id bigserial, parent_id bigint REFERENCES parent, note text);"),
                     [KEPT + "the table has no index that is its own definition and no more.",
                      SET]),
    "domain": (("CREATE DOMAIN key AS bigint CHECK (VALUE > 0); "
               "ALTER TABLE child ALTER parent_id TYPE key;"), [BUILT, SET]),
    "domain on both sides": (("CREATE DOMAIN key AS bigint; ALTER TABLE parent ALTER id TYPE key; "
                             "ALTER TABLE child ALTER parent_id TYPE key;"), [BUILT, SET]),
    "child that others refer to": (
        "CREATE TABLE grandchild (child_id bigint REFERENCES child);",
        ["Indexes: 1 built after the rows.", SET],
    ),
    "parent under row security, its owner is not": (
        ("ALTER TABLE parent ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY none ON parent USING (false);"),
        [BUILT, SET],
    ),
    "inherited parent": (
        "CREATE TABLE heir () INHERITS (parent); INSERT INTO heir VALUES (77);", [BUILT, SET]
    ),
    "inherited child": (("CREATE TABLE heir () INHERITS (child); "
                        "INSERT INTO heir VALUES (1, 77);"), [BUILT, SET]),
    "rule": ("CREATE RULE r AS ON INSERT TO child DO INSTEAD NOTHING;", [BUILT, SET]),
    "hostile operator": (
        ("CREATE FUNCTION never(int8, int8) RETURNS bool LANGUAGE sql AS 'SELECT true'; "
        "CREATE OPERATOR = (LEFTARG = int8, RIGHTARG = int8, FUNCTION = never);"),
        [BUILT, SET],
    ),
    "generated column": (
        "ALTER TABLE child ADD twice bigint GENERATED ALWAYS AS (parent_id * 2) STORED;",
        [BUILT, SET],
    ),
    "C function in a default": (
        ("ALTER TABLE child ADD at timestamptz DEFAULT clock_timestamp(), "
        "ADD token uuid DEFAULT gen_random_uuid();"),
        [BUILT, SET],
    ),
    "unlogged": ("ALTER TABLE child SET UNLOGGED;", [BUILT, SET]),
    "trigger on TRUNCATE": (
        f"{FUNCTION} CREATE TRIGGER t BEFORE TRUNCATE ON child EXECUTE FUNCTION look();",
        [BUILT, SET],
    ),
    "triggers on the parent": (
        (f"{FUNCTION} CREATE TRIGGER t BEFORE UPDATE ON parent FOR EACH ROW "
        "EXECUTE FUNCTION look(); CREATE RULE r AS ON UPDATE TO parent DO INSTEAD NOTHING;"),
        [BUILT, SET],
    ),
    "replica identity of every column": (
        "ALTER TABLE child REPLICA IDENTITY FULL;", [BUILT, SET]
    ),
    "published": (
        # Under session_replication_role = replica the rows are still logged for subscribers.
        "CREATE PUBLICATION direct_test FOR TABLE child;", [BUILT, SET]
    ),
    "two keys on one column": (
        ("CREATE TABLE few (id bigint PRIMARY KEY); INSERT INTO few SELECT generate_series(1, 9); "
        "ALTER TABLE child ADD CONSTRAINT second FOREIGN KEY (parent_id) REFERENCES few;"),
        [BUILT, "References: 2 foreign keys checked as a set."],
    ),
    "one parent for two keys": (
        ("ALTER TABLE child ADD CONSTRAINT again FOREIGN KEY (parent_id) REFERENCES parent "
        "ON DELETE CASCADE ON UPDATE SET NULL NOT DEFERRABLE;"),
        [BUILT, "References: 2 foreign keys checked as a set."],
    ),
    "exclusion at once": (
        "ALTER TABLE child ADD CONSTRAINT apart EXCLUDE (note WITH =);", [BUILT, SET]
    ),
    "check that is NOT VALID": (
        "ALTER TABLE child ADD CONSTRAINT filled CHECK (note <> '') NOT VALID;", [BUILT, SET]
    ),
    "statistics of several columns": (
        "CREATE STATISTICS both_columns ON parent_id, note FROM child;", [BUILT, SET]
    ),
    "parent's key is a unique index alone": (
        ("ALTER TABLE parent ADD other bigint; UPDATE parent SET other = id; "
        "CREATE UNIQUE INDEX others ON parent (other) INCLUDE (name); "
        "ALTER TABLE child DROP CONSTRAINT child_parent, ADD CONSTRAINT child_parent "
        "FOREIGN KEY (parent_id) REFERENCES parent (other);"),
        [BUILT, SET],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rows", [GOOD, ORPHAN], ids=["good", "orphan"])
@pytest.mark.parametrize("case", GOES_ON)
def test_goes_on(database_wide, case, rows):
    sql, want_decisions = GOES_ON[case]
    run(sql)
    want, got, decisions = both(make_model(), rows)
    assert decisions == want_decisions
    assert got == want


def test_not_enforced_keys_are_not_checked(tables):
    if not is_18():
        pytest.skip("NOT ENFORCED came with PostgreSQL 18")
    run("ALTER TABLE child ALTER CONSTRAINT child_parent NOT ENFORCED")
    want, got, decisions = both(make_model(), ORPHAN)
    assert decisions == [BUILT, "References: 0 foreign keys checked as a set."]
    assert got == want
    assert len(got.rows) == 2


# What only PostgreSQL 18 and later know.
SINCE_18 = {
    "virtual column": (
        "ALTER TABLE child ADD twice bigint GENERATED ALWAYS AS (parent_id * 2) VIRTUAL;",
        [BUILT, SET],
    ),
    "NOT NULL that is NOT VALID": (
        "ALTER TABLE child ADD CONSTRAINT noted NOT NULL note NOT VALID;",
        [BUILT, SET],
    ),
    "check that is NOT ENFORCED": (
        "ALTER TABLE child ADD CONSTRAINT filled CHECK (note <> 'a') NOT ENFORCED;",
        [BUILT, SET],
    ),
    "key without overlaps": (
        (
            "ALTER TABLE child ADD valid daterange NOT NULL DEFAULT 'empty'; "
            "ALTER TABLE child ALTER valid SET DEFAULT '[2026-01-01,)', "
            "ADD span int4range DEFAULT NULL, ADD UNIQUE (span, valid WITHOUT OVERLAPS);"
        ),
        [BUILT, SET],
    ),
    "key that covers a period": (
        (
            "CREATE TABLE spans (span int4range, valid daterange, "
            "PRIMARY KEY (span, valid WITHOUT OVERLAPS)); "
            "ALTER TABLE child ADD span int4range, ADD valid daterange, ADD CONSTRAINT period "
            "FOREIGN KEY (span, PERIOD valid) REFERENCES spans (span, PERIOD valid);"
        ),
        [
            f"{KEPT}the foreign key 'period' has more than one column.",
            f"{ROW_BY_ROW}the foreign key 'period' has more than one column.",
        ],
    ),
}


@pytest.mark.parametrize("rows", [GOOD, ORPHAN], ids=["good", "orphan"])
@pytest.mark.parametrize("case", SINCE_18)
def test_what_came_with_18(tables, case, rows):
    if not is_18():
        pytest.skip("it came with PostgreSQL 18")
    sql, want_decisions = SINCE_18[case]
    run(sql)
    want, got, decisions = both(make_model(), rows)
    assert decisions == want_decisions
    assert got == want
    assert len(got.rows) == (0 if rows == ORPHAN else len(GOOD))
