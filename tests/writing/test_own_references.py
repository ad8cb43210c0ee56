"""A record that refers to a later one of its table is not refused because of a third one."""

import random

import pytest
from django.db import transaction

from ingest import load
from tests.end_to_end.contract.models.relations import Branch

pytestmark = pytest.mark.django_db(transaction=True)


def records(pairs):
    return [{"number": key, "parent_id": parent} for key, parent in pairs]


def outcome(pairs, **options):
    """Return the stored pairs, and the numbers of the refused records."""
    result = load(Branch, records(pairs), on_error="reject", **options)
    stored = list(Branch.objects.order_by("pk").values_list("pk", "parent_id"))
    assert result.rows == len(stored)
    return stored, [reject.record for reject in result.rejects]


@pytest.mark.parametrize(
    ("pairs", "refused"),
    [
        ([(1, 2), (2, None), (3, 9)], [3]),
        ([(1, 2), (2, 1), (3, 9)], [3]),
        ([(1, 1), (2, 9), (3, 3)], [2]),
        ([(1, 2), (2, 9), (3, None)], [1, 2]),
        ([(1, 2), (2, 3), (3, 9), (5, 6), (6, 5), (7, 1)], [1, 2, 3, 6]),
        ([(1, 2), (1, None), (2, None), (4, 9)], [1, 4]),
        ([*((key, key + 1) for key in range(1, 40)), (40, None), (50, 99)], [41]),
    ],
)
@pytest.mark.parametrize("is_callers", [False, True], ids=["own", "caller's"])
def test_a_parent_may_come_later(pairs, refused, is_callers):
    if is_callers:
        with transaction.atomic():
            stored, rejects = outcome(pairs)
    else:
        stored, rejects = outcome(pairs)
    assert rejects == refused
    kept = [pair for number, pair in enumerate(pairs, 1) if number not in refused]
    assert stored == sorted(kept)


@pytest.mark.parametrize("seed", range(3))
def test_trees_in_any_order(seed):
    chance = random.Random(seed)
    pairs = [(key, chance.randrange(1, key) if key > 3 else None) for key in range(1, 120)]
    pairs = [(key, 999 if key % 20 == 0 else parent) for key, parent in pairs]
    chance.shuffle(pairs)
    parents = dict(pairs)

    def is_lost(key):
        return key == 999 or (parents[key] is not None and is_lost(parents[key]))

    stored, rejects = outcome(pairs)
    assert rejects == [number for number, (key, _) in enumerate(pairs, 1) if is_lost(key)]
    assert stored == sorted(pair for pair in pairs if not is_lost(pair[0]))
