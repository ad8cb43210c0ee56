from uuid import UUID

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.cases.numbers import BIG, NORMAL, SMALL
from tests.end_to_end.contract.cases.texts import TEXTS
from tests.end_to_end.contract.models import keys

CASES = [
    Case(model=keys.NormalKey, values={"name": ["a", "b"]}),
    Case(model=keys.NormalKey, values={"id": [5, -1, NORMAL - 1], "name": ["a", "b"]}),
    Case(model=keys.SmallKey, values={"id": [5, SMALL - 1], "name": ["a"]}),
    Case(model=keys.BigKey, values={"name": ["a"], "id": [BIG - 1, -BIG, 0]}),
    Case(model=keys.KeyOnly, values={"id": [7, 8]}),
    Case(
        model=keys.UniversalKey,
        values={"id": [UUID(int=2), UUID(int=1)], "name": ["a", "b"]},
    ),
    Case(model=keys.NaturalKey, values={"code": [text for text in TEXTS if text], "name": ["a"]}),
    Case(
        model=keys.CompositeKey,
        values={
            "tenant": [1, 1, 2],
            "number": [UUID(int=1), UUID(int=2), UUID(int=1)],
            "name": ["a"],
        },
    ),
]
