"""The audit finds what PostgreSQL takes for granted."""

import pytest

from ingest.loading.verify import verify_table
from ingest.postgres.catalog import find_table, read_table
from ingest.postgres.session import DjangoSession, open_asyncpg_session
from tests.writing.direct.tables import ask, run

CHILD = '"direct_test"."child"'


def audit(name="child"):
    with open_asyncpg_session("default") as session, session.transaction():
        oid = find_table(session, f'"direct_test"."{name}"')
        return verify_table(session, read_table(session, oid))


def problems(name="child"):
    return {(item.kind, item.name): item.problem for item in audit(name).problems}


def break_it(sql, table="child"):
    """Write without PostgreSQL's triggers, which leaves the constraint marked as valid."""
    run(f"ALTER TABLE {table} DISABLE TRIGGER ALL; {sql}; ALTER TABLE {table} ENABLE TRIGGER ALL")


def test_a_sound_table(tables):
    run("ALTER TABLE child ADD CHECK (note <> ''), ADD UNIQUE (note); "
        "INSERT INTO child (parent_id, note) VALUES (1, 'a'), (NULL, NULL), (2, NULL)")  # fmt: skip
    got = audit()
    assert not got.problems
    assert str(got) == (
        '"direct_test"."child": 10 of 10 constraints and indexes hold.\n'
        "  not null 'id': holds.\n"
        "  check 'child_note_check': holds.\n"
        "  foreign key 'child_parent': holds.\n"
        "  constraint 'child_pkey': see its unique index.\n"
        "  constraint 'child_note_key': see its unique index.\n"
        "  unique 'child_pkey': holds.\n"
        "  unique 'child_note_key': holds.\n"
        "  index 'child_note_key': is valid; its pages were not read: no amcheck for it.\n"
        "  index 'child_parent_id': is valid; its pages were not read: no amcheck for it.\n"
        "  index 'child_pkey': is valid; its pages were not read: no amcheck for it."
    )


def test_orphans_of_disabled_triggers(tables):
    break_it("INSERT INTO child (parent_id) VALUES (1), (77), (78), (NULL)")
    assert ask("SELECT convalidated FROM pg_constraint WHERE conname = 'child_parent'") == [(True,)]
    assert problems() == {
        ("foreign key", "child_parent"): '2 rows have no row in "direct_test"."parent".'
    }


def test_orphans_of_a_deleted_parent(tables):
    run("INSERT INTO child (parent_id) VALUES (1)")
    break_it("DELETE FROM parent WHERE id = 1", "parent")
    assert ("foreign key", "child_parent") in problems()


def test_an_heir_is_no_parent(tables):
    run("CREATE TABLE heir () INHERITS (parent); INSERT INTO heir VALUES (77)")
    break_it("INSERT INTO child (parent_id) VALUES (77)")
    assert ("foreign key", "child_parent") in problems()


@pytest.mark.parametrize(("match", "count"), [("SIMPLE", "1 row has"), ("FULL", "2 rows have")])
def test_keys_of_two_columns(tables, match, count):
    run("ALTER TABLE parent ADD UNIQUE (id, name); ALTER TABLE child ADD name text, "
        f"ADD CONSTRAINT pair FOREIGN KEY (parent_id, name) REFERENCES parent (id, name) "
        f"MATCH {match}")  # fmt: skip
    break_it("INSERT INTO child (parent_id, name) "
             "VALUES (1, 'n'), (1, 'lost'), (2, NULL), (NULL, NULL)")  # fmt: skip
    assert problems() == {("foreign key", "pair"): f'{count} no row in "direct_test"."parent".'}


def test_a_self_reference_and_a_partitioned_parent(schema):
    run("CREATE TABLE parent (id bigint PRIMARY KEY) PARTITION BY RANGE (id); "
        "CREATE TABLE part PARTITION OF parent DEFAULT; INSERT INTO parent VALUES (1); "
        "CREATE TABLE child (id bigint PRIMARY KEY, "
        "self_id bigint CONSTRAINT self REFERENCES child, "
        "parent_id bigint CONSTRAINT far REFERENCES parent)")  # fmt: skip
    run("INSERT INTO child VALUES (1, 1, 1)")
    assert not problems()
    break_it("INSERT INTO child VALUES (2, 9, 9)")
    assert problems() == {
        ("foreign key", "far"): '1 row has no row in "direct_test"."parent".',
        ("foreign key", "self"): '1 row has no row in "direct_test"."child".',
    }


def test_a_check_that_was_never_validated(tables):
    run("INSERT INTO child (note) VALUES (''), ('a'), (NULL)")
    run("ALTER TABLE child ADD CONSTRAINT filled CHECK (note <> '') NOT VALID")
    assert problems() == {("check", "filled"): "1 row has values that it refuses."}


def test_a_check_whose_function_has_changed(tables):
    run("CREATE FUNCTION fits(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'; "
        "ALTER TABLE child ADD CONSTRAINT fits CHECK (fits(note)); "
        "INSERT INTO child (note) VALUES ('a'); "
        "CREATE OR REPLACE FUNCTION fits(text) RETURNS bool LANGUAGE sql IMMUTABLE "
        "AS 'SELECT false'")  # fmt: skip
    assert problems() == {("check", "fits"): "1 row has values that it refuses."}


def test_duplicates_under_the_replication_role(tables):
    """A deferrable constraint is checked again by a trigger, which does not fire then."""
    run("ALTER TABLE child ADD CONSTRAINT once UNIQUE (note) DEFERRABLE; "
        "SET session_replication_role = replica; "
        "INSERT INTO child (note) VALUES ('a'), ('a'), ('a'), (NULL), (NULL); "
        "RESET session_replication_role")  # fmt: skip
    assert problems() == {("unique", "once"): "2 rows have a key that another row has."}


def test_an_invalid_index(tables):
    run("INSERT INTO child (note) VALUES ('x'), ('x')")
    with pytest.raises(Exception, match="once"):
        ask("CREATE UNIQUE INDEX CONCURRENTLY once ON direct_test.child (note)")
    assert problems() == {
        ("index", "once"): "is not valid: REINDEX it.",
        ("unique", "once"): "1 row has a key that another row has.",
    }


def test_a_damaged_null(tables):
    """By the catalog's own means: PostgreSQL then plans as if there could be none."""
    run("INSERT INTO child (note) VALUES (NULL), ('a'); "
        "UPDATE pg_attribute SET attnotnull = true "
        "WHERE attrelid = 'child'::regclass AND attname = 'note'")  # fmt: skip
    assert problems() == {("not null", "note"): "1 row has no value."}


def test_indexes_are_read_where_amcheck_is_installed(tables):
    if not ask("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"):
        pytest.skip("this PostgreSQL comes without amcheck")
    run("CREATE EXTENSION amcheck SCHEMA direct_test; "
        "CREATE INDEX h ON child USING hash (note); "
        "CREATE INDEX more ON child (note); "
        "INSERT INTO child (note) VALUES ('a'), ('b')")  # fmt: skip
    try:
        assert not audit().problems
        notes = {item.name: item.note for item in audit().findings if item.kind == "index"}
        assert notes["more"] is None
        assert notes["h"] == "is valid; its pages were not read: no amcheck for it."
        # Its rows are there, and the index does not know: as after a change of a collation.
        run("UPDATE pg_index SET indisready = false, indisvalid = false "
            "WHERE indexrelid = 'more'::regclass")  # fmt: skip
        run("INSERT INTO child (note) VALUES ('c')")
        run("UPDATE pg_index SET indisready = true, indisvalid = true "
            "WHERE indexrelid = 'more'::regclass")  # fmt: skip
        [(name, problem)] = problems().items()
        assert name == ("index", "more")
        assert "lacks matching index tuple" in problem
    finally:
        run("DROP EXTENSION amcheck")


def test_names_that_need_quotes_and_the_callers_own_session(schema):
    run('CREATE TABLE "a ""b""" ("Key, (x)" bigint CONSTRAINT "it\'s" UNIQUE); '
        'CREATE TABLE "C %s" ("Ref" bigint CONSTRAINT far '
        'REFERENCES "a ""b""" ("Key, (x)"))')  # fmt: skip
    break_it('INSERT INTO "C %s" VALUES (7)', '"C %s"')
    session = DjangoSession("default")
    with session.transaction():
        got = verify_table(
            session, read_table(session, find_table(session, '"direct_test"."C %s"'))
        )
    assert [str(item) for item in got.problems] == [
        """foreign key 'far': 1 row has no row in "direct_test"."a ""b""\"."""
    ]


def test_what_may_not_be_asked_is_a_problem(role):
    run(f"ALTER TABLE child OWNER TO {role}")
    with open_asyncpg_session("default") as session, session.transaction():
        session.execute(f"SET ROLE {role}")
        got = verify_table(session, read_table(session, find_table(session, CHILD)))
    [problem] = got.problems
    assert str(problem) == (
        "foreign key 'child_parent': could not be checked: permission denied for table parent. "
        f"The role lacks a right: GRANT SELECT ON direct_test.parent TO {role}."
    )


def test_rows_that_a_policy_hides_are_not_passed_over(role):
    run(f"ALTER TABLE child OWNER TO {role}; GRANT SELECT ON parent TO {role}; "
        "ALTER TABLE child ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")  # fmt: skip
    with open_asyncpg_session("default") as session, session.transaction():
        session.execute(f"SET ROLE {role}")
        got = verify_table(session, read_table(session, find_table(session, CHILD)))
        assert session.fetch("SHOW row_security") == [("on",)]
    assert {str(item).partition("could not")[2] for item in got.problems} == {
        ' be checked: query would be affected by row-level security policy for table "child".'
    }
    assert len(got.problems) == 3


def test_a_check_that_fails_to_answer(tables):
    run("INSERT INTO child (note) VALUES ('')")
    run("ALTER TABLE child ADD CONSTRAINT odd CHECK (1 / length(note) > 0) NOT VALID")
    assert problems() == {("check", "odd"): "could not be checked: division by zero."}


def test_a_check_that_writes_leaves_no_trace(tables):
    run("CREATE TABLE seen (at int); CREATE FUNCTION writes() RETURNS bool LANGUAGE sql VOLATILE "
        "AS 'INSERT INTO direct_test.seen VALUES (1); SELECT true'; "
        "INSERT INTO child (note) VALUES ('a')")  # fmt: skip
    run("ALTER TABLE child ADD CONSTRAINT wrote CHECK (writes()) NOT VALID")
    assert not problems()
    assert not ask("SELECT * FROM direct_test.seen")
