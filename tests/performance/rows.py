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
import xlsxwriter

ACCOUNTS = 10_000
USERS = 1_000
FIRST_DAY = dt.date(2015, 1, 1)
DAYS = 4_000
CHUNK_ROWS = 100_000
FORBIDDEN_AMOUNT = 666
"""An amount that a CHECK of the scratch table refuses, and no field of the model."""
COLUMNS = ("user", "account", "amount", "description", "tx_date", "reference")
LAYOUT_COLUMNS = ("Konto", "Betrag", "Text", "Tag", "Beleg")
PLAIN_NAMES = {
    "Konto": "account",
    "Betrag": "amount",
    "Text": "description",
    "Tag": "tx_date",
    "Beleg": "reference",
}
LAYOUT = Path(__file__).with_name("bank.toml")
_DATES = [FIRST_DAY + dt.timedelta(days=day) for day in range(DAYS)]


def number_of(account):
    return f"DE{account:020d}"


def user_of(account):
    return account % USERS + 1


def facts(place):
    """Return account, cents, text, day and reference of the row at this place, from 0."""
    account = place * 7_919 % ACCOUNTS + 1
    cents = place * 104_729 % 2_000_001 - 1_000_000
    cents += cents == FORBIDDEN_AMOUNT * 100
    return account, cents, f"Payment {place % 50_021}", _DATES[place * 31 % DAYS], f"R{place:09d}"


def records(rows):
    """Yield the rows as dicts of Python values."""
    for place in range(rows):
        account, cents, text, day, reference = facts(place)
        values = (user_of(account), account, Decimal(cents).scaleb(-2), text, day, reference)
        yield dict(zip(COLUMNS, values, strict=True))


def write_plain(path, rows):
    _write(path, ",", COLUMNS, rows, _plain_cells)


def write_json_lines(path, rows):
    with path.open("w", encoding="utf-8") as file:
        for record in records(rows):
            # The amount as a number with its two places, not as text.
            shown = record | {"amount": "@", "tx_date": record["tx_date"].isoformat()}
            line = json.dumps(shown).replace('"@"', f"{record['amount']:.2f}")
            file.write(line + "\n")


def write_workbook(path, rows):
    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        sheet, day = book.add_worksheet(), book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, COLUMNS)
        for at, record in enumerate(records(rows), 1):
            for place, value in enumerate(record.values()):
                sheet.write(at, place, value, day if isinstance(value, dt.date) else None)


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
    _write(path, ";", LAYOUT_COLUMNS, rows, _layout_cells)


def write_bad(path, rows):
    """Write one bad record in a hundred, of each kind in turn."""
    _write(path, ";", LAYOUT_COLUMNS, rows, _spoilt(_layout_cells, LAYOUT_COLUMNS))


def write_plain_bad(path, rows):
    """Do the same for those that know no layout."""
    _write(path, ",", COLUMNS, rows, _spoilt(_plain_cells, COLUMNS))


def write_repeated(path, rows):
    """Write one record in a hundred with the account and the reference of one before it."""
    _write(path, ";", LAYOUT_COLUMNS, rows, _repeating)


def _write(path, delimiter, header, rows, cells_of):
    # A byte that is no UTF-8 is written as it is.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        for cells in itertools.chain([header], map(cells_of, range(rows))):
            file.write(delimiter.join(cells) + "\n")


def _plain_cells(place):
    account, cents, text, day, reference = facts(place)
    amount = f"{Decimal(cents).scaleb(-2):.2f}"
    return [str(user_of(account)), str(account), amount, text, str(day), reference]


def _layout_cells(place):
    account, cents, text, day, reference = facts(place)
    amount = f"{Decimal(cents).scaleb(-2):.2f}".replace(".", ",")
    return [number_of(account), amount, text, f"{day:%d.%m.%Y}", reference]


def _repeating(place):
    cells = _layout_cells(place)
    if place % 100 == 99:
        before = _layout_cells(place - 50)
        cells[0], cells[4] = before[0], before[4]
    return cells


def _spoilt(cells_of, columns):
    names = [PLAIN_NAMES.get(column, column) for column in columns]

    def spoil(place):
        cells = cells_of(place)
        if place % 100 != 99:
            return cells
        kind = BAD_KINDS[place // 100 % len(BAD_KINDS)]
        if kind == "a cell too few":
            return cells[:-1]
        if kind == "repeated in the source":
            before = cells_of(place - 50)
            changed = {name: before[names.index(name)] for name in ("account", "reference")}
        else:
            name, text = _BAD_CELLS[kind]
            changed = {name: text}
        return [changed.get(name, cell) for name, cell in zip(names, cells, strict=True)]

    return spoil


_BAD_CELLS = {
    "no number": ("amount", "12.50 or so"),
    "too many digits": ("amount", "12345678901"),
    "no such day": ("tx_date", "31.02.2024"),
    "no date": ("tx_date", "soon"),
    "too long": ("reference", "R" * 65),
    "no such account": ("account", "99999999"),
    "no account": ("account", ""),
    "refused by a CHECK": ("amount", str(FORBIDDEN_AMOUNT)),
    "no UTF-8": ("description", "Caf\udce9"),
}
BAD_KINDS = (*_BAD_CELLS, "a cell too few", "repeated in the source")
