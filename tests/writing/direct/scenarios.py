"""What other sessions do beside a load, step by step, and what must hold afterwards."""

from tests.writing.direct.interleaving import Load, Other, interleave
from tests.writing.direct.tables import ask, make_model, run

ROWS = [(1, "a"), (3, "b"), (5, "c")]
PLACES = range(len(ROWS) + 1)

SCENARIOS = {
    "the parent is deleted": ["BEGIN; DELETE FROM parent WHERE id = 3", "COMMIT"],
    "the parent is deleted after all not": ["BEGIN; DELETE FROM parent WHERE id = 5", "ROLLBACK"],
    "two parents are deleted": [
        "BEGIN; DELETE FROM parent WHERE id = 5",
        "DELETE FROM parent WHERE id = 1",
        "COMMIT",
    ],
    "the parent's key is changed": ["BEGIN; UPDATE parent SET id = 33 WHERE id = 3", "COMMIT"],
    "another column is changed": ["BEGIN; UPDATE parent SET name = 'x' WHERE id = 3", "COMMIT"],
    "the parent comes": [
        "DELETE FROM parent WHERE id = 5",
        "BEGIN; INSERT INTO parent VALUES (5)",
        "COMMIT",
    ],
    "a writer": ["BEGIN; INSERT INTO child (parent_id) VALUES (3)", "COMMIT"],
    "a writer that locks the parent first": [
        "BEGIN; SELECT FROM parent WHERE id = 3 FOR UPDATE",
        "INSERT INTO child (parent_id) VALUES (3)",
        "COMMIT",
    ],
    "a reader that locks the parent first": [
        "BEGIN; SELECT FROM parent WHERE id = 5 FOR UPDATE",
        "SELECT count(*) FROM child",
        "COMMIT",
    ],
    "a reader": ["BEGIN; SELECT count(*) FROM child", "SELECT count(*) FROM child; COMMIT"],
    "vacuum": ["VACUUM child", "VACUUM parent"],
    "a second key": [
        (
            "BEGIN; ALTER TABLE child ADD CONSTRAINT second FOREIGN KEY (parent_id) "
            "REFERENCES few (id)"
        ),
        "COMMIT",
    ],
    "a trigger": [
        "BEGIN; CREATE TRIGGER t BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION refuse()",
        "COMMIT",
    ],
}
MORE = """
CREATE TABLE few (id bigint PRIMARY KEY); INSERT INTO few VALUES (1), (3);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
"""


def reset(*, is_empty):
    run("DROP TRIGGER IF EXISTS t ON child; ALTER TABLE child DROP CONSTRAINT IF EXISTS second")
    run("TRUNCATE parent, child; INSERT INTO parent SELECT generate_series(1, 9)")
    if not is_empty:
        run("INSERT INTO child (parent_id, note) VALUES (1, 'old')")


def check(running):
    orphans = ask("""SELECT c.* FROM direct_test.child c WHERE parent_id IS NOT NULL AND NOT EXISTS
                     (SELECT FROM direct_test.parent p WHERE p.id = c.parent_id)""")
    assert not orphans
    second = ask("SELECT 1 FROM pg_constraint WHERE conname = 'second'")
    if second:
        assert not ask("""SELECT * FROM direct_test.child c WHERE NOT EXISTS
                          (SELECT FROM direct_test.few p WHERE p.id = c.parent_id)""")
    [(loaded,)] = ask("SELECT count(*) FROM direct_test.child WHERE note IN ('a', 'b', 'c')")
    assert loaded == (0 if running.error else len(running.rows))
    assert ask("SELECT count(*) FROM pg_indexes WHERE schemaname = 'direct_test' "
               "AND tablename = 'child'") == [(2,)]  # fmt: skip


def has_deadlock(running, *others):
    errors = [running.error, *(error for other in others for error in other.errors)]
    return any("deadlock detected" in str(error) for error in errors)


def has_deadlock_row_by_row(steps, places):
    """Return whether PostgreSQL's own checks, statement by statement, end in one too."""
    reset(is_empty=False)
    run("ALTER TABLE child ALTER CONSTRAINT child_parent NOT DEFERRABLE")
    running, other = Load(make_model(), ROWS, method="copy"), Other()
    interleave(running, other, steps, places)
    other.close()
    run("ALTER TABLE child ALTER CONSTRAINT child_parent DEFERRABLE INITIALLY DEFERRED")
    return has_deadlock(running, other)
