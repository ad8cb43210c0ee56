"""The models that a method cannot write, and what it says of them."""

from ingest.benchmark.methods import method_names

MANY_TABLES = (
    "The method {name!r} writes one table, but contract.Restaurant also has fields in the table "
    "of contract.Place: make its rows with save() of the ORM."
)
SQL_AROUND = (
    "The method {name!r} sends values as they are, but contract.Shout has SQL around those of "
    "word: make its rows with bulk_create() of the ORM."
)
ORDER_LEFT_EMPTY = (
    "The method {name!r} leaves the column '_order' of contract.Station empty, which only save() "
    "fills: use 'save'."
)
ORDER_NOT_GIVEN = (
    "No source column feeds contract.Station._order, which has no default and may not be NULL: "
    "add a column '_order' to the source, or give all records one value with "
    "--set _order=VALUE (set={{'_order': …}})."
)
REFUSED = {
    label: {name: told.get(name, told["*"]) for name in method_names() if name not in able}
    for label, able, told in (
        ("Restaurant", {"save"}, {"*": MANY_TABLES}),
        ("Shout", {"save", "bulk_create"}, {"*": SQL_AROUND}),
        ("Station", {"save"}, {"bulk_create": ORDER_LEFT_EMPTY, "*": ORDER_NOT_GIVEN}),
    )
}
"""What a method cannot write: model -> method -> what it says before the first row."""
