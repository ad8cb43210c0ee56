"""How often a load waits for the server, and what a load of few rows must not miss for that."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction

from finance.models import Transaction
from ingest import ConstraintRefused, IngestError, load
from ingest.ledger.locks import is_alive
from ingest.ledger.models import Load
from ingest.ledger.undo import plan_undo, undo
from ingest.postgres.asyncpg_session import AsyncpgSession
from tests.factories import AccountFactory
from tests.patience import wait_until
from tests.performance.round_trips import counting_proxy

pytestmark = pytest.mark.django_db(transaction=True)


def row(account):
    return {
        "user": account.user_id,
        "account": account.pk,
        "amount": "1.50",
        "tx_date": "2024-01-01",
    }


def run(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def own_connections():
    """Return the processes of the server that wait for a load of this test."""
    return ask(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE '%COMMIT%' AND query NOT LIKE '%pg_stat_activity%' AND state = 'idle'"
    )


def test_a_small_load_takes_few_round_trips():
    rows = [row(AccountFactory())] * 10
    with counting_proxy(connections["default"]) as proxy:
        run("SELECT 1")
        proxy.reset()
        assert load(Transaction, rows).rows == 10
        first = proxy.round_trips
        proxy.reset()
        assert load(Transaction, rows).rows == 10
        kept = proxy.round_trips
    assert first <= 14
    assert kept <= 8
    assert Transaction.objects.count() == 20


def test_a_small_load_inside_atomic_takes_fewer():
    rows = [row(AccountFactory())] * 10
    with counting_proxy(connections["default"]) as proxy, transaction.atomic():
        run("SELECT 1")
        proxy.reset()
        assert load(Transaction, rows).rows == 10
        assert proxy.round_trips <= 5
    assert Transaction.objects.count() == 10


@pytest.mark.parametrize("is_atomic", [True, False])
def test_the_ledger_has_a_small_load_and_can_undo_it(is_atomic):
    account = AccountFactory()
    load(Transaction, [row(account)])
    if is_atomic:
        with transaction.atomic():
            found = load(Transaction, [row(account), row(account)], who="Ada").load
    else:
        found = load(Transaction, [row(account), row(account)], who="Ada").load
    found = Load.objects.get(pk=found.pk)
    assert (found.status, found.who, found.inserted, found.read) == ("loaded", "Ada", 2, 2)
    assert (found.table, found.schema) == ('"public"."finance_transaction"', "public")
    assert [(it.ordinal, it.first_record, it.last_record) for it in found.chunks.all()] == [
        (1, 1, 2)
    ]
    assert found.rows().count() == 2
    undo(found.pk)
    assert Transaction.objects.count() == 1


def test_a_small_load_that_fails_leaves_no_row_and_says_in_the_ledger_why():
    account = AccountFactory()
    with pytest.raises(ConstraintRefused, match="record 2, column 'account'"):
        load(Transaction, [row(account), row(account) | {"account": 0}])
    [found] = Load.objects.all()
    assert (found.status, found.inserted) == ("failed", 0)
    assert "record 2" in found.error
    assert not Transaction.objects.exists()


def test_a_small_load_that_fails_inside_atomic_leaves_the_transaction_usable():
    account = AccountFactory()
    with transaction.atomic():
        with pytest.raises(ConstraintRefused, match="record 2, column 'account'"):
            load(Transaction, [row(account), row(account) | {"account": 0}])
        assert load(Transaction, [row(account)]).rows == 1
    assert Transaction.objects.count() == 1
    assert sorted(Load.objects.values_list("status", flat=True)) == ["failed", "loaded"]


def test_rows_of_the_caller_without_parents_do_not_end_a_small_load():
    account = AccountFactory()
    orphan = Transaction(user_id=account.user_id, account_id=0, amount=1, tx_date="2024-01-01")
    with pytest.raises(Exception, match="foreign key"), transaction.atomic():  # noqa: PT012
        orphan.save()
        result = load(Transaction, [row(account)])
    assert any("left to PostgreSQL" in decision for decision in result.decisions)
    assert result.rows == 1
    assert not Transaction.objects.exists()


@pytest.mark.parametrize(("setting", "recorded"), [("all", 2), ("files", 1), ("never", 0)])
def test_the_setting_says_which_loads_are_recorded(settings, tmp_path, setting, recorded):
    settings.INGEST = {**settings.INGEST, "RECORD": setting}
    file = tmp_path / "groups.csv"
    file.write_text("name\na\n")
    results = [load(Group, [{"name": "b"}]), load(Group, file)]
    assert Group.objects.count() == 2
    assert Load.objects.count() == recorded
    for result in results:
        told = "Not recorded: the setting INGEST['RECORD'] leaves this load out."
        assert (told in result.decisions) == (result.load is None)


CHANGES = {
    "a column": (
        (
            "ALTER TABLE auth_group ADD extra text NOT NULL DEFAULT ''; "
            "ALTER TABLE auth_group ALTER extra DROP DEFAULT"
        ),
        "extra",
    ),
    "a type": ("ALTER TABLE auth_group ALTER name TYPE varchar(3)", "too long"),
    "a check": ("ALTER TABLE auth_group ADD CONSTRAINT short CHECK (length(name) < 4)", "short"),
    "a trigger": (
        (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'never again'; END$$; "
            "CREATE TRIGGER refuse BEFORE INSERT ON auth_group FOR EACH ROW "
            "EXECUTE FUNCTION refuse()"
        ),
        "never again",
    ),
    "no table": ("ALTER TABLE auth_group RENAME TO elsewhere", "does not exist"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_table_between_two_loads_is_noticed(change):
    sql, message = CHANGES[change]
    assert load(Group, [{"name": "a"}]).rows == 1
    back = {
        "a column": "ALTER TABLE auth_group DROP extra",
        "a type": "ALTER TABLE auth_group ALTER name TYPE varchar(150)",
        "a check": "ALTER TABLE auth_group DROP CONSTRAINT short",
        "a trigger": "DROP FUNCTION refuse CASCADE",
        "no table": "ALTER TABLE elsewhere RENAME TO auth_group",
    }[change]
    run(sql)
    try:
        with pytest.raises(IngestError, match=message):
            load(Group, [{"name": "long name"}])
    finally:
        run(back)
    assert load(Group, [{"name": "long name"}]).rows == 1


def test_an_index_that_is_dropped_between_two_loads_holds_no_longer():
    load(Group, [{"name": "a"}])
    with pytest.raises(ConstraintRefused):
        load(Group, [{"name": "a"}])
    run("ALTER TABLE auth_group DROP CONSTRAINT auth_group_name_key")
    try:
        assert load(Group, [{"name": "a"}]).rows == 1
    finally:
        run(
            "TRUNCATE auth_group CASCADE",
            "ALTER TABLE auth_group ADD CONSTRAINT auth_group_name_key UNIQUE (name)",
        )


def test_rights_role_and_search_path_are_those_of_each_load():
    run(
        "CREATE ROLE loads_few",
        "GRANT INSERT ON auth_group TO loads_few",
        "GRANT USAGE ON SEQUENCE auth_group_id_seq TO loads_few",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO loads_few",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO loads_few",
        "CREATE SCHEMA second",
        "CREATE TABLE second.auth_group (LIKE public.auth_group INCLUDING ALL)",
    )
    try:
        load(Group, [{"name": "as the owner"}])
        run("SET ROLE loads_few")
        assert load(Group, [{"name": "as a guest"}]).load.role == "loads_few"
        run("RESET ROLE", "REVOKE INSERT ON auth_group FROM loads_few", "SET ROLE loads_few")
        with pytest.raises(IngestError, match="permission denied"):
            load(Group, [{"name": "refused"}])
        run("RESET ROLE", "SET search_path = second, public")
        load(Group, [{"name": "elsewhere"}])
        assert ask("SELECT name FROM second.auth_group") == [("elsewhere",)]
        run("RESET search_path")
        assert sorted(Group.objects.values_list("name", flat=True)) == [
            "as a guest",
            "as the owner",
        ]
    finally:
        run(
            "RESET ROLE",
            "RESET search_path",
            "DROP SCHEMA second CASCADE",
            "DROP OWNED BY loads_few",
            "DROP ROLE loads_few",
        )


def test_a_policy_between_two_loads_is_obeyed():
    run(
        "CREATE ROLE under_policy",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO under_policy",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO under_policy",
        "SET ROLE under_policy",
    )
    try:
        assert load(Group, [{"name": "seen"}]).rows == 1
        run(
            "RESET ROLE",
            "ALTER TABLE auth_group ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY short ON auth_group USING (length(name) < 5)",
            "SET ROLE under_policy",
        )
        with pytest.raises(IngestError, match="row-level security"):
            load(Group, [{"name": "too long"}])
        assert load(Group, [{"name": "fits"}]).rows == 1
    finally:
        run(
            "RESET ROLE",
            "DROP POLICY IF EXISTS short ON auth_group",
            "ALTER TABLE auth_group DISABLE ROW LEVEL SECURITY",
            "DROP OWNED BY under_policy",
            "DROP ROLE under_policy",
        )


def test_the_next_load_uses_the_same_connection_until_django_closes_its_own():
    load(Group, [{"name": "a"}])
    [first] = own_connections()
    load(Group, [{"name": "b"}])
    assert own_connections() == [first]
    connection.close()
    assert own_connections() == []


def test_a_load_that_has_returned_is_not_at_work_any_more(monkeypatch):
    clear = AsyncpgSession._clear

    async def clear_slowly(self):
        await asyncio.sleep(0.2)
        await clear(self)

    monkeypatch.setattr(AsyncpgSession, "_clear", clear_slowly)
    got = load(Group, ({"name": name} for name in "ab"))
    assert not is_alive(got.load)
    assert plan_undo(got.load.pk).deletable == 2


def test_a_kept_connection_that_was_lost_is_replaced():
    load(Group, [{"name": "a"}])
    [(pid,)] = own_connections()
    assert ask(f"SELECT pg_terminate_backend({pid}, 5000)") == [(True,)]
    assert load(Group, [{"name": "b"}]).rows == 1


def test_a_setting_that_a_trigger_leaves_behind_does_not_meet_the_next_load():
    run(
        "CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "PERFORM set_config('statement_timeout', '7s', false); RETURN NEW; END$$",
        "CREATE TRIGGER leave BEFORE INSERT ON auth_group FOR EACH ROW EXECUTE FUNCTION leave()",
    )
    try:
        load(Group, [{"name": "a"}])
        run(
            "CREATE OR REPLACE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
            "NEW.name := current_setting('statement_timeout'); RETURN NEW; END$$"
        )
        load(Group, [{"name": "b"}])
        assert "7s" not in Group.objects.values_list("name", flat=True)
    finally:
        run("DROP FUNCTION leave CASCADE")


def test_a_forked_process_leaves_the_connection_to_its_parent():
    load(Group, [{"name": "a"}])
    [(first,)] = own_connections()
    child = os.fork()
    if not child:
        try:
            inherited, connection.connection = connection.connection, None
            load(Group, [{"name": "b"}])
            pids = {pid for (pid,) in own_connections()}
            os._exit(0 if len(pids) == 2 and first in pids and inherited else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    load(Group, [{"name": "c"}])
    assert (first,) in own_connections()
    assert sorted(Group.objects.values_list("name", flat=True)) == ["a", "b", "c"]


@pytest.mark.parametrize("is_shared", [False, True])
def test_each_thread_has_a_connection_of_its_own(is_shared):
    """Not even where the threads share Django's connection."""
    load(Group, [{"name": "a"}])
    [first] = own_connections()
    shared, seen = connections["default"], []

    def work():
        if is_shared:
            connections["default"] = shared
        load(Group, [{"name": "b"}])
        load(Group, [{"name": "c"}])
        seen.extend(own_connections())
        if not is_shared:
            connection.close()

    shared.inc_thread_sharing()
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
    finally:
        shared.dec_thread_sharing()
    assert len(seen) == 2
    assert first in seen
    load(Group, [{"name": "d"}])
    assert first in own_connections()
    assert Group.objects.count() == 4


def test_a_connection_is_kept_for_a_while_only(monkeypatch):
    monkeypatch.setattr("ingest.postgres.kept_connections.KEPT_SECONDS", 0.05)
    load(Group, [{"name": "a"}])
    wait_until(lambda: not own_connections())
    assert load(Group, [{"name": "b"}]).rows == 1


def test_no_connection_is_kept_behind_a_pooler(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    assert load(Group, [{"name": "a"}]).rows == 1
    assert own_connections() == []


def test_a_right_that_is_granted_between_two_loads():
    run("CREATE ROLE newcomer", "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO newcomer")
    run("GRANT ALL ON ALL TABLES IN SCHEMA public TO newcomer", "SET ROLE newcomer")
    try:
        load(Group, [{"name": "a"}])
        run("RESET ROLE", "REVOKE ALL ON auth_group FROM newcomer", "SET ROLE newcomer")
        with pytest.raises(IngestError, match="permission denied for table auth_group"):
            load(Group, [{"name": "b"}])
        run("RESET ROLE", "GRANT SELECT, INSERT ON auth_group TO newcomer", "SET ROLE newcomer")
        assert load(Group, [{"name": "c"}]).rows == 1
    finally:
        run("RESET ROLE", "DROP OWNED BY newcomer", "DROP ROLE newcomer")
    assert sorted(Group.objects.values_list("name", flat=True)) == ["a", "c"]


@pytest.mark.parametrize("is_atomic", [False, True])
def test_what_a_row_is_refused_for_does_not_begin_the_load_anew(is_atomic):
    """Whatever its class: a CHECK may call a function that may not read a table."""
    run(
        "CREATE SEQUENCE tries",
        "CREATE FUNCTION deny(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN "
        "PERFORM nextval('tries'); RAISE 'not for you' USING ERRCODE = '42501'; END$$",
        "ALTER TABLE auth_group ADD CONSTRAINT denied CHECK (deny(name))",
    )
    try:
        with (
            transaction.atomic() if is_atomic else nullcontext(),
            pytest.raises(IngestError, match="not for you"),
        ):
            load(Group, [{"name": "a"}])
        assert ask("SELECT last_value FROM tries") == [(1,)]
    finally:
        run("ALTER TABLE auth_group DROP CONSTRAINT denied", "DROP FUNCTION deny")
        run("DROP SEQUENCE tries")
