"""What makes `direct` step back, in which words, and that the outcome is that of `copy`."""

import asyncpg
import pytest

from ingest.benchmark.methods.copying import CopyMethod, DirectMethod
from ingest.exceptions import ConstraintRefused
from tests.writing.direct.tables import both, make_model, run, target_of, write

GOOD = [(1, "a"), (None, "b"), (9, "c"), (1, "d")]
ORPHAN = [(1, "a"), (77, "b")]
TABLE = '"direct_test"."child"'
PARENT = '"direct_test"."parent"'

SET = "References: 1 foreign key checked as a set."
BUILT = "Indexes: 2 built after the rows."
ROW_BY_ROW = "References: checked row by row by PostgreSQL, because "
KEPT = "Indexes: maintained row by row, because "
FUNCTION = """
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.note := NEW.note || '!'; RETURN NEW; END $$;
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
"""
ROW_TRIGGER = (
    f"{FUNCTION} CREATE TRIGGER t BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION fill();"
)
FIRES = "the trigger 't' must fire."


# What is done to the tables, and the reason that both the references and the indexes then have.
STEPS_BACK = {
    "BEFORE trigger": (ROW_TRIGGER, FIRES),
    "AFTER trigger": (
        f"{FUNCTION} CREATE TRIGGER t AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION look();",
        FIRES,
    ),
    "statement trigger": (
        f"{FUNCTION} CREATE TRIGGER t AFTER INSERT ON child EXECUTE FUNCTION look();",
        FIRES,
    ),
    "constraint trigger": (
        (
            f"{FUNCTION} CREATE CONSTRAINT TRIGGER t AFTER INSERT ON child DEFERRABLE "
            "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();"
        ),
        FIRES,
    ),
    "ALWAYS trigger": (f"{ROW_TRIGGER} ALTER TABLE child ENABLE ALWAYS TRIGGER t;", FIRES),
    "REPLICA trigger": (
        f"{ROW_TRIGGER} ALTER TABLE child ENABLE REPLICA TRIGGER t;",
        (
            "the trigger 't' must not fire: it is enabled for session_replication_role = replica "
            "alone."
        ),
    ),
    "two columns": (
        (
            "ALTER TABLE parent ADD UNIQUE (id, name); "
            "ALTER TABLE child ADD name text DEFAULT 'n', "
            "ADD CONSTRAINT pair FOREIGN KEY (parent_id, name) REFERENCES parent (id, name);"
        ),
        "the foreign key 'pair' has more than one column.",
    ),
    "two columns, MATCH FULL": (
        (
            "ALTER TABLE parent ADD UNIQUE (id, name); "
            "ALTER TABLE child ADD name text DEFAULT 'n', "
            "ADD CONSTRAINT pair FOREIGN KEY (parent_id, name) "
            "REFERENCES parent (id, name) MATCH FULL;"
        ),
        "the foreign key 'pair' has more than one column.",
    ),
    "self-reference": (
        "ALTER TABLE child ADD CONSTRAINT self FOREIGN KEY (parent_id) REFERENCES child;",
        "the foreign key 'self' refers to the table itself.",
    ),
    "default on the key": (
        "ALTER TABLE child ADD second_id bigint DEFAULT 1 CONSTRAINT second REFERENCES parent;",
        "PostgreSQL itself gives 'second_id' of the foreign key 'second' its value.",
    ),
    "bad default on the key": (
        "ALTER TABLE child ADD second_id bigint DEFAULT 88 CONSTRAINT second REFERENCES parent;",
        "PostgreSQL itself gives 'second_id' of the foreign key 'second' its value.",
    ),
    "generated key": (
        (
            "ALTER TABLE child ADD second_id bigint GENERATED ALWAYS AS (parent_id * 2) STORED "
            "CONSTRAINT second REFERENCES parent;"
        ),
        "PostgreSQL itself gives 'second_id' of the foreign key 'second' its value.",
    ),
    "key of another type": (
        (
            "ALTER TABLE parent ADD day date UNIQUE; ALTER TABLE child ADD day date "
            "CONSTRAINT dated REFERENCES parent (day);"
        ),
        "the foreign key 'dated' is of the type date.",
    ),
    "partition": (
        (
            "DROP TABLE child; CREATE TABLE whole (id bigserial, parent_id bigint "
            "REFERENCES parent, note text) PARTITION BY LIST (note); "
            "CREATE TABLE child PARTITION OF whole DEFAULT; CREATE INDEX ON child (note);"
        ),
        f"{TABLE} is not an ordinary table.",
    ),
    "partitioned": (
        (
            "DROP TABLE child; CREATE TABLE child (id bigserial, parent_id bigint "
            "REFERENCES parent, note text) PARTITION BY LIST (note); "
            "CREATE TABLE part PARTITION OF child DEFAULT; CREATE INDEX ON child (note);"
        ),
        f"{TABLE} is not an ordinary table.",
    ),
    "partitioned parent": (
        (
            "DROP TABLE child, parent; CREATE TABLE parent (id bigint PRIMARY KEY) "
            "PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parent DEFAULT; "
            "INSERT INTO parent SELECT generate_series(1, 9); "
            "CREATE TABLE child (id bigserial, parent_id bigint REFERENCES parent, note text); "
            "CREATE INDEX ON child (note);"
        ),
        f"{PARENT} is not an ordinary table.",
    ),
    "function that may write": (
        (
            "CREATE FUNCTION writes() RETURNS text LANGUAGE sql VOLATILE AS 'SELECT 1::text'; "
            "ALTER TABLE child ADD more text DEFAULT writes();"
        ),
        "PostgreSQL calls writes() for each row, which may change other tables.",
    ),
    "check that may write": (
        (
            "CREATE FUNCTION writes() RETURNS bool LANGUAGE plpgsql VOLATILE AS "
            "'BEGIN RETURN true; END'; ALTER TABLE child ADD CHECK (writes());"
        ),
        "PostgreSQL calls writes() for each row, which may change other tables.",
    ),
    "domain that may write": (
        (
            "CREATE FUNCTION writes(text) RETURNS bool LANGUAGE plpgsql VOLATILE AS "
            "'BEGIN RETURN true; END'; CREATE DOMAIN d AS text CHECK (writes(VALUE)); "
            "ALTER TABLE child ADD more d;"
        ),
        "PostgreSQL calls writes(text) for each row, which may change other tables.",
    ),
}


@pytest.mark.parametrize("rows", [GOOD, ORPHAN], ids=["good", "orphan"])
@pytest.mark.parametrize("case", STEPS_BACK)
def test_steps_back(tables, case, rows):
    sql, reason = STEPS_BACK[case]
    run(sql)
    want, got, decisions = both(make_model(), rows)
    reason = reason.replace("calls writes", "calls direct_test.writes")
    assert decisions == [KEPT + reason, ROW_BY_ROW + reason]
    assert got == want


FOREIGN = """
DROP TABLE child; CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;
"""
COLUMNS = "(id bigint DEFAULT 7, parent_id bigint, note text)"
NO_HANDLER = 'foreign-data wrapper "far" has no handler'


@pytest.mark.parametrize(
    "sql",
    [
        f"CREATE FOREIGN TABLE child {COLUMNS} SERVER far;",
        (
            f"CREATE TABLE child {COLUMNS} PARTITION BY LIST (note); "
            "CREATE TABLE near PARTITION OF child DEFAULT; "
            "CREATE FOREIGN TABLE part PARTITION OF child FOR VALUES IN ('c') SERVER far;"
        ),
    ],
    ids=["table", "partition"],
)
def test_foreign_tables(database_wide, sql):
    """Without a handler PostgreSQL says so at the first row that is meant for it."""
    run(FOREIGN + sql)
    target = target_of(make_model())
    with pytest.raises((asyncpg.PostgresError, ConstraintRefused), match=NO_HANDLER):
        write(CopyMethod(target), GOOD)
    method = DirectMethod(target)
    with pytest.raises((asyncpg.PostgresError, ConstraintRefused), match=NO_HANDLER):
        write(method, GOOD)
    reason = f"{TABLE} is not an ordinary table."
    assert method.decisions == [KEPT + reason, "References: the table has no foreign key."]


OTHER_TRIGGERS = (
    "PostgreSQL checks the constraint {!r} by a trigger too: it is deferrable, "
    "or its trigger is not as PostgreSQL made it."
)


@pytest.mark.parametrize(
    ("sql", "name", "built"),
    [
        ("ALTER TABLE child ADD CONSTRAINT once UNIQUE (note) DEFERRABLE", "once", 2),
        (
            "ALTER TABLE child ADD CONSTRAINT once UNIQUE (note) DEFERRABLE INITIALLY DEFERRED",
            "once",
            2,
        ),
        ("ALTER TABLE child ADD CONSTRAINT apart EXCLUDE (note WITH =) DEFERRABLE", "apart", 2),
        ("ALTER TABLE child DISABLE TRIGGER ALL", "child_parent", 2),
    ],
)
@pytest.mark.parametrize(
    "rows", [GOOD, ORPHAN, [(1, "x"), (2, "x")]], ids=["ok", "orphan", "twice"]
)
def test_constraints_that_a_trigger_checks(tables, sql, name, built, rows):
    run(sql)
    want, got, decisions = both(make_model(), rows)
    assert decisions == [
        f"Indexes: {built} built after the rows.",
        ROW_BY_ROW + OTHER_TRIGGERS.format(name),
    ]
    assert got == want


def test_triggers_made_to_fire_always(tables):
    run("""DO $$ DECLARE name text; BEGIN
        SELECT tgname INTO name FROM pg_trigger WHERE tgrelid = 'child'::regclass LIMIT 1;
        EXECUTE format('ALTER TABLE child ENABLE ALWAYS TRIGGER %I', name); END $$""")
    want, got, decisions = both(make_model(), ORPHAN)
    assert decisions[1] == ROW_BY_ROW + OTHER_TRIGGERS.format("child_parent")
    assert got == want
    assert not got.rows
