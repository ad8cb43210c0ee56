import datetime as dt
from decimal import Decimal
from uuid import UUID

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.models import defaults

MOMENT = dt.datetime(2020, 2, 3, 4, 5, 6, 7, tzinfo=dt.UTC)

CASES = [
    # Given values beat every default; `auto_now` beats given values, so those fields have none.
    Case(
        model=defaults.Preset,
        values={
            "name": ["Ä", "b"],
            "constant": [1],
            "false_constant": [True],
            "amount": [Decimal("2.00")],
            "ticket": [-1],
            "token": [UUID(int=1)],
            "items": [[1]],
            "document": [{"a": 1}],
            "empty_text": ["x"],
            "empty_file": ["files/x"],
            "nothing": [1],
            "no_text": ["x"],
            "from_database": [1],
            "text_from_database": ["x"],
            "moment_from_database": [MOMENT],
            "both": [3],
            "zero_length": [dt.timedelta(1)],
        },
    ),
]
