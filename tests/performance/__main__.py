import argparse
import os
import sys

import django

NAMES = (
    "layout",
    "rejects",
    "sources",
    "iterables",
    "workbook",
    "memory",
    "scale",
    "peers",
    "ledger",
    "upsert",
    "customer",
    "old_values",
    "workers",
    "dask",
    "chunks",
    "files",
    "stream",
    "empty_table",
)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rows", type=int, help="records of the largest load")
    parser.add_argument("--repeat", type=int, help="how often each variant is run")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="only these variants")
    parser.add_argument("--variant", help=argparse.SUPPRESS)  # what a fresh process is to do
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.testing")
    asked = parse(arguments)
    django.setup()
    from importlib import import_module

    from tests.performance import harness

    figure = import_module(f"tests.performance.{asked.name}").FIGURE
    unknown = set(asked.only or ()) - set(figure.variants)
    if unknown:
        known = ", ".join(map(repr, figure.variants))
        sys.exit(f"There is no variant {min(unknown)!r}. {asked.name} has {known}.")
    if asked.variant:
        harness.run_variant(figure, asked)
    else:
        harness.run(figure, asked)


if __name__ == "__main__":
    main(sys.argv[1:])
