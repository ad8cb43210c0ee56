from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.models import relations

CODES = ["one", "two", "größe 3", "it's"]


def owners():
    return [relations.Owner.objects.create(pk=pk, code=code) for pk, code in enumerate(CODES, 1)]


CASES = [
    Case(
        model=relations.Link,
        values={
            "owner": [1, 2, 3, 4],
            "owner_or_null": [1, None],
            "by_code": CODES,
            "only": [4, 3, 2, 1],
            "loose": [None, 404],
        },
        parents=owners,
    ),
    Case(model=relations.Owner, values={"code": CODES}),
    Case(model=relations.Branch, values={"number": [3, 1, 2], "parent": [1, None, 3]}),
    Case(
        model=relations.Station,
        values={"owner": [1, 2, 1, 3], "name": ["a", "b", "c", "d"]},
        parents=owners,
    ),
]
