import pytest
from _pytest.outcomes import Failed, Skipped

from tests.postgres.connection.servers.programs import find_program

REASON = "no-such-program is not installed: apt install postgresql pgbouncer"


@pytest.mark.parametrize(("value", "outcome"), [("", Skipped), ("true", Failed)])
def test_a_missing_package_skips_but_fails_in_ci(monkeypatch, value, outcome):
    monkeypatch.setenv("CI", value)
    with pytest.raises(outcome, match=REASON):
        find_program("no-such-program")
