"""What a role may do decides what `direct` does; a sentence names the GRANT that would help."""

import pytest
from django.db import connection, transaction

from ingest import load
from ingest.benchmark.methods.copying import DirectMethod
from tests.writing.direct.tables import ask, both, make_model, outcome, run, target_of

GOOD, ORPHAN = [(1, "a"), (2, "b")], [(1, "a"), (77, "b")]
TABLE, PARENT = '"direct_test"."child"', '"direct_test"."parent"'
ROW_BY_ROW = "References: checked row by row by PostgreSQL, because "
KEPT = "Indexes: maintained row by row, because "
SET = "References: 1 foreign key checked as a set."
BUILT = "Indexes: 2 built after the rows."

needs_parameter_grants = pytest.mark.usefixtures("parameter_grants")


@pytest.fixture
def parameter_grants(db):
    if connection.pg_version < 150000:
        pytest.skip("GRANT ON PARAMETER came with PostgreSQL 15")


@pytest.fixture
def own(role):
    """Return the role the tables, as a Django project's own role has them."""
    run(f"ALTER TABLE child OWNER TO {role}; ALTER TABLE parent OWNER TO {role}")
    return role


@pytest.mark.parametrize("rows", [GOOD, ORPHAN])
def test_without_a_right_to_the_parameter(own, rows):
    want, got, decisions = both(make_model(), rows, own)
    if connection.pg_version < 150000:
        reason = "only a superuser may set session_replication_role before PostgreSQL 15."
    else:
        reason = (
            "the role may not set session_replication_role: "
            f'GRANT SET ON PARAMETER session_replication_role TO "{own}".'
        )
    assert decisions == [BUILT, ROW_BY_ROW + reason]
    assert got == want


@pytest.mark.parametrize("rows", [GOOD, ORPHAN])
@pytest.mark.parametrize("grantee", ["role", "group"])
@needs_parameter_grants
def test_the_named_grant_helps(own, rows, grantee):
    to = {"role": own, "group": f"{own}_group"}[grantee]
    if grantee == "group":
        run(f"CREATE ROLE {to}; GRANT {to} TO {own}")
    run(f"GRANT SET ON PARAMETER session_replication_role TO {to}")
    try:
        want, got, decisions = both(make_model(), rows, own)
        assert decisions == [BUILT, SET]
        assert got == want
    finally:
        run(f"REVOKE SET ON PARAMETER session_replication_role FROM {to}")
        if grantee == "group":
            run(f"DROP ROLE {to}")


@needs_parameter_grants
def test_a_grant_to_everybody_helps(own):
    """It is rolled back: the other tests that run on this server have nothing of it."""
    with transaction.atomic():
        run(
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {own}; "
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {own}; SET LOCAL ROLE {own}"
        )
        assert SET not in load(make_model(), GOOD, columns=["parent_id", "note"]).decisions
        run("RESET ROLE; GRANT SET ON PARAMETER session_replication_role TO PUBLIC")
        run(f"SET LOCAL ROLE {own}")
        assert SET in load(make_model(), GOOD, columns=["parent_id", "note"]).decisions
        transaction.set_rollback(True)


@needs_parameter_grants
def test_a_group_whose_rights_are_not_inherited(own):
    run(
        f"ALTER ROLE {own} NOINHERIT; CREATE ROLE {own}_group; GRANT {own}_group TO {own}; "
        f"GRANT SET ON PARAMETER session_replication_role TO {own}_group"
    )
    try:
        _, got, decisions = both(make_model(), GOOD, own)
        assert decisions[1].startswith(f"{ROW_BY_ROW}the role may not set")
        assert len(got.rows) == 2
    finally:
        run(f"DROP OWNED BY {own}_group; DROP ROLE {own}_group")


PARENT_RIGHTS = ["", "SELECT", "UPDATE", "SELECT, UPDATE", "SELECT, UPDATE (name)"]


@pytest.mark.parametrize("rights", PARENT_RIGHTS)
@needs_parameter_grants
def test_rights_on_the_parent(role, rights):
    run(f"ALTER TABLE child OWNER TO {role}")
    run(f"GRANT SET ON PARAMETER session_replication_role TO {role}")
    if rights:
        run(f"GRANT {rights} ON parent TO {role}")
    for rows in (GOOD, ORPHAN):
        want, got, decisions = both(make_model(), rows, role)
        if rights.startswith("SELECT, UPDATE"):
            assert decisions == [BUILT, SET]
        else:
            reason = (
                f"the role may not lock rows of {PARENT}: "
                f"GRANT SELECT, UPDATE ON direct_test.parent TO {role}."
            )
            assert decisions == [KEPT + reason, ROW_BY_ROW + reason]
        assert got == want


@needs_parameter_grants
def test_no_way_into_the_parents_schema(role):
    run(f"CREATE SCHEMA direct_closed; ALTER TABLE parent SET SCHEMA direct_closed; "
        f"ALTER TABLE child OWNER TO {role}; "
 f"GRANT SELECT, UPDATE ON direct_closed.parent TO {role}")  # fmt: skip
    try:
        want, got, decisions = both(make_model(), GOOD, role)
        reason = (
            'the role may not lock rows of "direct_closed"."parent": '
            f"GRANT USAGE ON SCHEMA direct_closed TO {role}."
        )
        assert decisions == [KEPT + reason, ROW_BY_ROW + reason]
        assert got == want
    finally:
        run("DROP SCHEMA direct_closed CASCADE")


@needs_parameter_grants
def test_a_role_that_does_not_own_the_table(role):
    run(f"GRANT SET ON PARAMETER session_replication_role TO {role}; "
        f"GRANT SELECT, INSERT ON child TO {role}; GRANT SELECT, UPDATE ON parent TO {role}; "
        f"GRANT USAGE ON SEQUENCE child_id_seq TO {role}")  # fmt: skip
    want, got, decisions = both(make_model(), GOOD, role)
    [[owner]] = ask("SELECT current_user")
    reason = f"the role may not build the indexes of {TABLE}: GRANT {owner} TO {role}."
    assert decisions == [KEPT + reason, SET]
    assert got == want


def test_an_owner_who_may_not_create_in_the_schema(own):
    run(f"REVOKE CREATE ON SCHEMA direct_test FROM {own}")
    want, got, decisions = both(make_model(), GOOD, own)
    assert decisions[0] == (
        f"{KEPT}the role may not build the indexes of {TABLE}: "
        f"GRANT CREATE ON SCHEMA direct_test TO {own}."
    )
    assert got == want


def test_a_role_that_may_insert_some_columns_only(role):
    run(f"GRANT INSERT (parent_id, note) ON child TO {role}; "
        f"GRANT SELECT, UPDATE ON parent TO {role}; GRANT SELECT ON child TO {role}")  # fmt: skip
    want, got, decisions = both(make_model(), GOOD, role)
    reason = f"the role may not lock {TABLE}: GRANT INSERT ON direct_test.child TO {role}."
    assert decisions == [KEPT + reason, ROW_BY_ROW + reason]
    assert got == want


@pytest.mark.parametrize("rows", [GOOD, ORPHAN])
@pytest.mark.parametrize("is_forced", [False, True])
def test_row_security_on_the_parent(own, rows, is_forced):
    run("ALTER TABLE parent ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON parent USING (id = 1)")
    if is_forced:
        run("ALTER TABLE parent FORCE ROW LEVEL SECURITY")
    want, got, decisions = both(make_model(), rows, own)
    reason = f"{PARENT} is under row security."
    if is_forced:
        assert decisions == [KEPT + reason, ROW_BY_ROW + reason]
    else:
        assert decisions[0] == BUILT
    assert got == want


def test_row_security_on_the_child_is_postgresqls_matter(own):
    run("ALTER TABLE child ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
        "CREATE POLICY every ON child USING (true)")  # fmt: skip
    method = DirectMethod(target_of(make_model()))
    assert outcome(method, GOOD, own).refused is None
    reason = f"{TABLE} is under row security."
    inserted = (
        "Rows: inserted from a temporary table, because COPY is not possible under row security."
    )
    assert method.decisions == [KEPT + reason, ROW_BY_ROW + reason, inserted]


def test_an_event_trigger_keeps_the_indexes(tables):
    run("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no DDL'; END $$; "
        "CREATE EVENT TRIGGER direct_watch ON ddl_command_start "
        "EXECUTE FUNCTION watch();")  # fmt: skip
    try:
        want, got, decisions = both(make_model(), GOOD)
    finally:
        run("ALTER EVENT TRIGGER direct_watch DISABLE; DROP EVENT TRIGGER direct_watch")
    assert decisions == [f"{KEPT}an event trigger watches what is created or dropped.", SET]
    assert got == want


@pytest.mark.parametrize("setting", ["replica", "local"])
def test_a_replication_role_that_is_set_already(tables, setting):
    method = DirectMethod(target_of(make_model()))
    with method:
        method._session.execute(f"SET session_replication_role = {setting}")
        method.write(GOOD)
        [(after,)] = method._session.fetch("SHOW session_replication_role")
    assert after == setting
    if setting == "replica":
        assert method.decisions[1] == f"{ROW_BY_ROW}session_replication_role is 'replica' already."
    else:
        assert method.decisions[1] == SET


@pytest.mark.parametrize(
    "name", ["maintenance_work_mem", "lock_timeout", "session_replication_role"]
)
def test_settings_are_as_before(tables, name):
    method = DirectMethod(target_of(make_model()))
    with method:
        method._session.execute("SET maintenance_work_mem = '5MB'; SET lock_timeout = '7s'")
        [(before,)] = method._session.fetch(f"SHOW {name}")
        method.write(GOOD)
        [(after,)] = method._session.fetch(f"SHOW {name}")
    assert after == before
