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
    group = parser.add_argument_group("records whose key is already in the table")
    group.add_argument(
        "--on-conflict",
        choices=("error", "ignore", "update", "upsert", "sync"),
        help="error: refuse the record (default). ignore: leave it out. update: update the "
        "row, and refuse records that have none. upsert: update the row, or insert one. sync: as "
        "upsert, and delete the rows of --scope that the file does not have.",
    )
    group.add_argument(
        "--key",
        nargs="+",
        metavar="FIELD",
        help="Fields of the unique key that identifies a row (default: the only one in the file).",
    )
    group.add_argument(
        "--update-fields",
        nargs="+",
        metavar="FIELD",
        help="Fields to update (default: all fields in the file, except the key).",
    )
    group.add_argument(
        "--keep-if-null",
        nargs="+",
        metavar="FIELD",
        help="Fields that keep their value if the one in the file is empty.",
    )
    group.add_argument(
        "--newest",
        metavar="FIELD",
        help="Update a row only if the file has a greater value in this field, such as a "
        "modification date.",
    )
    group.add_argument(
        "--duplicates",
        choices=("reject", "first", "last"),
        help="Records with the same key in the file: refuse all but the first (default), or "
        "use the first or the last.",
    )
    group.add_argument(
        "--scope",
        nargs="+",
        metavar="FIELD=VALUE",
        help="Rows that --on-conflict sync deletes if the file does not have them; all: the whole "
        "table.",
    )
    group.add_argument(
        "--keep-old",
        action="store_true",
        help="Keep the old values of changed and deleted rows, so that --undo can restore them.",
    )
    group.add_argument(
        "--max-deletes",
        metavar="N|N%",
        help="Load nothing if --on-conflict sync would delete more rows than this, or a "
        "larger share of the scope (default: 10%%).",
    )


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, by the names that ``load`` has for them."""
    return {name: options[name] for name in OPTIONS if options.get(name) is not None}
