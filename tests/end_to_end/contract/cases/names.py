from itertools import count

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.cases.texts import TEXTS
from tests.end_to_end.contract.models import names

ODD_COLUMNS = [field.name for field in names.Oddity._meta.fields if not field.primary_key]


def reserved():
    return [names.Reserved.objects.create(pk=1, order=1, group=2, name="a")]


CASES = [
    Case(
        model=names.Oddity,
        # Every column has numbers of its own: one that lands in another's place is found out.
        values={name: [place, -place] for name, place in zip(ODD_COLUMNS, count(1))},
    ),
    Case(model=names.Reserved, values={"order": [1], "group": [2], "name": TEXTS}),
    Case(model=names.Longest, values={"name": TEXTS}),
    Case(model=names.Foreign, values={"name": TEXTS, "reserved": [1, None]}, parents=reserved),
    Case(model=names.Quoted, values={"name": TEXTS, "title": ["a", "b"]}),
]
