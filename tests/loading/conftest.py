import pytest

from tests.factories import AccountFactory

HEADER = "user,account,amount,tx_date,reference,description\n"


@pytest.fixture
def account(db):
    return AccountFactory()


@pytest.fixture
def lines(account):
    """Return a function that writes transactions R1, R2 … as CSV; ``bad`` ones are refused."""

    def write(first, last, *, bad=(), text="x"):
        out = [HEADER]
        for number in range(first, last + 1):
            amount = "x" if number in bad else number
            out.append(f'{account.user_id},{account.pk},{amount},2025-01-01,R{number},"{text}"\n')
        return "".join(out)

    return write


@pytest.fixture
def file(tmp_path, lines):
    def write(count, **what):
        path = tmp_path / "rows.csv"
        path.write_text(lines(1, count, **what))
        return path

    return write
