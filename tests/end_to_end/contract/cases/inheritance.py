import datetime as dt

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.models import inheritance

CASES = [
    Case(model=inheritance.Place, values={"name": ["a"]}),
    Case(model=inheritance.Restaurant, values={"name": ["a", "b"], "stars": [1, 5]}),
    Case(model=inheritance.PlaceProxy, values={"name": ["a", "b"]}),
    Case(model=inheritance.Visit, values={"name": ["a", "b"], "day": [dt.date(2026, 1, 1), None]}),
    Case(model=inheritance.Unmanaged, values={"name": ["a", None], "position": [1, 2]}),
    Case(model=inheritance.Partitioned, values={"year": [1999, 2000], "name": ["old", "new"]}),
]
