"""The rows of every figure, and the files that hold them: the same bytes in every run.

The plain file has what the table has, the layout's file what a bank would write of the same rows.
"""

import datetime as dt
import itertools
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ACCOUNTS = 10_000
USERS = 1_000
FIRST_DAY = dt.date(2015, 1, 1)
DAYS = 4_000
CHUNK_ROWS = 100_000
FORBIDDEN_CENTS = 66_666
"""An amount that a CHECK of the scratch table refuses, and no field of the model."""
COLUMNS = ("user", "account", "amount", "description", "tx_date", "reference")
LAYOUT = Path(__file__).with_name("bank.toml")
_DATES = [FIRST_DAY + dt.timedelta(days=day) for day in range(DAYS)]


def number_of(account):
    return f"DE{account:020d}"


def user_of(account):
    return account % USERS + 1


def facts(place):
    """Give account, cents, text, day and reference of the row at this place, from 0."""
    account = place * 7_919 % ACCOUNTS + 1
    cents = place * 104_729 % 2_000_001 - 1_000_000
    cents += cents == FORBIDDEN_CENTS
    return account, cents, f"Payment {place % 50_021}", _DATES[place * 31 % DAYS], f"R{place:09d}"


def records(rows):
    """Give the rows as dicts of Python values."""
    for place in range(rows):
        account, cents, text, day, reference = facts(place)
        values = (user_of(account), account, Decimal(cents).scaleb(-2), text, day, reference)
        yield dict(zip(COLUMNS, values, strict=True))


def write_plain(path, rows):
    _write(path, ",".join(COLUMNS), rows, _plain_line)


def write_json_lines(path, rows):
    with path.open("w", encoding="utf-8") as file:
        for record in records(rows):
            # The amount as a number with its two places, not as text.
            shown = record | {"amount": "@", "tx_date": record["tx_date"].isoformat()}
            line = json.dumps(shown).replace('"@"', f"{record['amount']:.2f}")
            file.write(line + "\n")


def write_parquet(path, rows):
    schema = pa.schema(
        [
            *(("user", pa.int64()), ("account", pa.int64()), ("amount", pa.decimal128(12, 2))),
            *(("description", pa.string()), ("tx_date", pa.date32()), ("reference", pa.string())),
        ]
    )
    given = records(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while chunk := list(itertools.islice(given, CHUNK_ROWS)):
            writer.write_table(pa.Table.from_pylist(chunk, schema))


def write_layout(path, rows):
    _write(path, "Konto;Betrag;Text;Tag;Beleg", rows, _layout_line)


def write_bad(path, rows):
    """Write one bad record in a hundred, of each kind in turn."""
    _write(path, "Konto;Betrag;Text;Tag;Beleg", rows, _bad_line)


def write_repeated(path, rows):
    """Write one record in a hundred with the account and the reference of one before it."""
    _write(path, "Konto;Betrag;Text;Tag;Beleg", rows, _repeating_line)


def _write(path, header, rows, line_of):
    with path.open("wb") as file:
        file.write(f"{header}\n".encode())
        for start in range(0, rows, CHUNK_ROWS):
            lines = map(line_of, range(start, min(start + CHUNK_ROWS, rows)))
            file.write(b"\n".join(lines) + b"\n")


def _plain_line(place):
    account, cents, text, day, reference = facts(place)
    amount = f"{cents // 100}.{cents % 100:02d}" if cents >= 0 else _negative(cents, ".")
    return f"{user_of(account)},{account},{amount},{text},{day},{reference}".encode()


def _layout_cells(place):
    account, cents, text, day, reference = facts(place)
    amount = f"{cents // 100},{cents % 100:02d}" if cents >= 0 else _negative(cents, ",")
    return [number_of(account), amount, text, f"{day:%d.%m.%Y}", reference]


def _layout_line(place):
    return ";".join(_layout_cells(place)).encode()


def _negative(cents, mark):
    return f"-{-cents // 100}{mark}{-cents % 100:02d}"


def _repeating_line(place):
    cells = _layout_cells(place)
    if place % 100 == 99:
        before = _layout_cells(place - 50)
        cells[0], cells[4] = before[0], before[4]
    return ";".join(cells).encode()


def _bad_line(place):
    if place % 100 != 99:
        return _layout_line(place)
    cells = _layout_cells(place)
    kind = BAD_KINDS[place // 100 % len(BAD_KINDS)]
    if kind == "repeated in the source":
        return _repeating_line(place)
    if kind == "a cell too few":
        return ";".join(cells[:4]).encode()
    at, text = _BAD_CELLS[kind]
    cells[at] = text
    line = ";".join(cells).encode()
    return line.replace(b"#", b"\xe9") if kind == "no UTF-8" else line


_BAD_CELLS = {
    "no number": (1, "12.50 or so"),
    "too many digits": (1, "12345678901,00"),
    "no such day": (3, "31.02.2024"),
    "no date": (3, "soon"),
    "too long": (4, "R" * 65),
    "no such account": (0, "DE99"),
    "no account": (0, ""),
    "refused by a CHECK": (1, f"{FORBIDDEN_CENTS // 100},{FORBIDDEN_CENTS % 100:02d}"),
    "no UTF-8": (2, "Caf#"),
}
BAD_KINDS = (*_BAD_CELLS, "a cell too few", "repeated in the source")
