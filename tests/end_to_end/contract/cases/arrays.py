import datetime as dt
import math
from decimal import Decimal

from django.db.backends.postgresql.psycopg_any import DateRange

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.cases.moments import DAYS, MOMENTS
from tests.end_to_end.contract.cases.numbers import BIG, NORMAL
from tests.end_to_end.contract.cases.structures import BLOBS, DOCUMENTS, UUIDS
from tests.end_to_end.contract.cases.texts import TEXTS
from tests.end_to_end.contract.fields import Money
from tests.end_to_end.contract.models import arrays

CASES = [
    Case(
        model=arrays.Array,
        values={
            "integers": [[1, 2], [], [-NORMAL, NORMAL - 1], list(range(1_000))],
            "integers_or_null": [[1, None], [], [None], None],
            "bigs": [[-BIG, BIG - 1], [], [1]],
            "floats": [[1.5, -0.0], [], [math.nan, math.inf, -math.inf]],
            "flags": [[True, False, None], []],
            "texts": [[*TEXTS, None], [], [""], ["null", "NULL", ",", "{}", " "]],
            "labels": [["a", "bcdef", ""], [], ["🎉" * 5]],
            "prices": [[Decimal("1.50"), Decimal("-0.01")], [], [Decimal("9999999999.99")]],
            "days": [[*DAYS, None], []],
            "moments": [MOMENTS, []],
            "lengths": [[dt.timedelta(1, 2, 3), dt.timedelta(-1)], []],
            "numbers": [UUIDS, []],
            "contents": [BLOBS, []],
            "addresses": [["192.0.2.1", "2001:db8::1"], []],
            "documents": [DOCUMENTS, []],
            "spans": [[DateRange(dt.date(2026, 1, 1), dt.date(2026, 2, 1))], [], [DateRange()]],
            "amounts": [[Money(Decimal("1.50"), "EUR")], []],
            "board": [[[1, 2], [3, None]], [], [[None]], [[1], [2], [3]]],
            "cube": [[[["a"], ["b"]], [["c"], ["NULL"]]], [], [[["\\"]]]],
        },
    ),
]
