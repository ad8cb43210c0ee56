"""Generates statements like those that banks export; none of them is real."""

import csv
import dataclasses
import datetime as dt
import io
import random

WORDS = {
    "cp1252": (
        ["Übertrag", "Gebühr für März", "Straße", "Müller"],
        ["Buchung", "Empfänger", "Betrag"],
    ),
    "cp1250": (
        ["převod", "platba kartou žižkov", "účet č. 3", "dům"],
        ["Datum", "Částka", "Měna účtu"],
    ),
    "iso8859-2": (
        ["przelew własny", "opłata za kartę", "zakupy łódź"],
        ["Kwota", "Tytuł", "Księgowanie"],
    ),
    "cp1251": (["перевод средств", "оплата картой", "зарплата"], ["Дата", "Сумма", "Назначение"]),
    "gb18030": (["转账给朋友", "餐饮美食", "退款成功", "交通出行"], ["交易时间", "金额", "备注"]),
    "cp932": (["振込入金", "ｶｰﾄﾞ 支払い", "給与", "お預り"], ["取引日", "金額", "摘要"]),
    "cp949": (["급여 이체", "카드 결제", "현금 인출"], ["거래일", "금액", "적요"]),
    "utf-8": (["Übertrag", "płaca", "зарплата", "退款"], ["Datum", "Währung", "Betrag"]),
    "utf-16": (["plain", "Übertrag"], ["Date", "Amount", "Text"]),
    "utf-16-le": (["plain", "words only"], ["Date", "Amount", "Text"]),
}  # fmt: skip
DATE_FORMATS = [
    "%d.%m.%Y", "%d.%m.%y", "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%b-%y",
    "%d %b %Y", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%Y%m%d",
]  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement and its properties; ``content`` is the file."""

    encoding: str
    delimiter: str
    line_end: str
    decimal: str
    thousands: str
    date_format: str
    header: bool
    preamble: int
    trailer: bool
    quoting: int
    rows: int
    seed: int

    def table(self):
        chance = random.Random(self.seed)
        words, names = WORDS[self.encoding]
        day = dt.datetime(2014, 1, 5, 9, 30)  # noqa: DTZ001 - as a statement has it
        rows = []
        for number in range(self.rows):
            day += dt.timedelta(days=chance.choice([0, 0, 1, 3]), minutes=chance.randint(0, 500))
            text = f"{chance.choice(words)} {chance.choice(['', 'GmbH', 'no 4', 'a, b; c'])}"
            if not number % 5:
                text += self.line_end + "second line"
            rows.append(
                [
                    day.strftime(self.date_format),
                    text,
                    self.amount(chance.choice([1, -1]) * chance.randint(1, 9_999_999)),
                    "EUR",
                    chance.choice(["", "x"]),
                ]
            )
        return [*names, "Code", "Note"], rows

    def amount(self, cents):
        whole, rest = divmod(abs(cents), 100)
        grouped = f"{whole:,}".replace(",", self.thousands)
        return f"{'-' if cents < 0 else ''}{grouped}{self.decimal}{rest:02}"

    def content(self):
        names, rows = self.table()
        before = [[WORDS[self.encoding][0][0]], ["Account", "DE 12 3456"], ["Period"], [], ["*"]]
        records = before[: self.preamble]
        records += [names] * self.header + rows
        if self.trailer:
            records += [[], [WORDS[self.encoding][0][1], "", self.amount(123456789)]]
        file = io.StringIO(newline="")
        writer = csv.writer(
            file, delimiter=self.delimiter, lineterminator=self.line_end, quoting=self.quoting
        )
        writer.writerows(records)
        return file.getvalue().encode(self.encoding)


def statements(count, seed):
    """Yield ``count`` statements of all families, the same ones for the same seed."""
    chance = random.Random(seed)
    for number in range(count):
        decimal = chance.choice(",.")
        yield Statement(
            encoding=chance.choice(list(WORDS)),
            delimiter=chance.choice([",", ";", ";", "\t", "|"]),
            line_end=chance.choice(["\n", "\r\n", "\r"]),
            decimal=decimal,
            thousands=chance.choice(["", "'", " ", "." if decimal == "," else ","]),
            date_format=chance.choice(DATE_FORMATS),
            header=chance.random() < 0.8,
            preamble=chance.choice([0, 0, 1, 3, 5]),
            trailer=chance.random() < 0.4,
            quoting=chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
            rows=chance.choice([3, 8, 40, 300, 6000]),
            seed=seed * 1000 + number,
        )
