"""The command's options for records whose row the table already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

OPTIONS = (
    *("on_conflict", "key", "update_fields", "keep_if_null", "newest", "duplicates"),
    *("scope", "max_deletes", "keep_old"),
)
"""Options that ``load`` takes by the same name."""


def add_arguments(parser: CommandParser) -> None:
    """Add the options to the command's parser."""
    group = parser.add_argument_group("records whose row the table already has")
    group.add_argument(
        "--on-conflict",
        choices=("error", "ignore", "update", "upsert", "sync"),
        help="refuse such a record (default), keep the table's row, update rows that exist, "
        "update or insert, or also delete the rows of --scope that the source does not have",
    )
    group.add_argument(
        "--key",
        nargs="+",
        metavar="FIELD",
        help="the fields of the unique key by which rows are found (default: the only one that "
        "the source feeds)",
    )
    group.add_argument(
        "--update-fields",
        nargs="+",
        metavar="FIELD",
        help="the fields that are updated (default: all that the source gives, but the key)",
    )
    group.add_argument(
        "--keep-if-null",
        nargs="+",
        metavar="FIELD",
        help="fields whose value stays where the source has none",
    )
    group.add_argument(
        "--newest",
        metavar="FIELD",
        help="update a row only where the source's value of this field is greater",
    )
    group.add_argument(
        "--duplicates",
        choices=("reject", "first", "last"),
        help="refuse records that repeat a key of the source (default), or let the first or the "
        "last one count",
    )
    group.add_argument(
        "--scope",
        nargs="+",
        metavar="FIELD=VALUE",
        help="the rows that --on-conflict sync may delete; all for the whole table",
    )
    group.add_argument(
        "--keep-old",
        action="store_true",
        help="keep what the changed and deleted rows were, so that --undo can restore them",
    )
    group.add_argument(
        "--max-deletes",
        metavar="N|N%",
        help="load nothing if sync would delete more rows, or a larger share of the scope "
        "(default: 10%%)",
    )


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, by the names that ``load`` has for them."""
    return {name: options[name] for name in OPTIONS if options.get(name) is not None}
