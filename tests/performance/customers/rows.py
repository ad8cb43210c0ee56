"""The customers of the figures, and the files that hold them: the same bytes in every run."""

import csv
import datetime as dt
import json
import random
from decimal import Decimal

SEED = 20_261_128
SEGMENTS = ("retail", "wholesale", "public sector", "online", "partner", "staff", "key account")
COLUMNS = (
    *("number", "name", "email", "website", "country", "is_active", "balance", "attributes"),
    *("tags", "created_at", "segment"),
)
HEADER = (*COLUMNS[:-1], "segment__code")
"""As people have it: the parent by its natural key."""
FIRST_NAMES = (
    *("Anna", "Björn", "Chloé", "David", "Elif", "Françoise", "Giulia", "Hanna", "Igor", "José"),
    *("Karin", "Łukasz", "Marie", "Noah", "Olga", "Paul", "Quentin", "Rosa", "Søren", "Tomás"),
)
LAST_NAMES = (
    *("Müller", "Rossi", "Dubois", "Kowalski", "García", "de Vries", "O'Neill", "Nowak", "Weiß"),
    *("Schmidt", "Bernard", "Ferrari", "Jansen", "Fernández", "Huber", "Meyer-Lang", "Costa"),
)
PLAIN = str.maketrans("äöüßéèçñóáíłøŁ'", "aouseecnoailoL.")
DOMAINS = ("example.com", "mail.example.org", "web.example.net", "example-shop.de", "post.example")
CITIES = ("Wien", "Paris", "Köln", "Roma", "Utrecht", "Kraków", "Sevilla", "Zürich")
TAGS = ("vip", "newsletter", "late payer", "b2b", "event 2024", "refund", "élite", "test")
CHANNELS = ("web", "shop", "phone", "fair")
COUNTRIES = ("DE", "FR", "AT", "IT", "NL", "PL", "ES", "CH")
FIRST_MOMENT = dt.datetime(2016, 1, 1, tzinfo=dt.UTC)
SECONDS = 9 * 365 * 86_400


def customers(rows):
    """Yield the customers as dicts of Python values, each e-mail address once."""
    chance = random.Random(SEED)
    pick, number = chance.choice, chance.randrange
    for place in range(rows):
        first, last = pick(FIRST_NAMES), pick(LAST_NAMES)
        box = f"{first}.{last}".translate(PLAIN).replace(" ", "-").lower()
        attributes = {
            "channel": pick(CHANNELS),
            "newsletter": chance.random() < 0.4,
            "visits": number(400),
            "address": {"city": pick(CITIES), "zip": f"{number(100_000):05}"},
        }
        if place % 3 == 0:
            attributes["score"] = number(1, 1_000) / 100
        if place % 5 == 0:
            attributes["note"] = None
        yield {
            "number": f"C{place:07}",
            "name": f"{first} {last}",
            "email": f"{box}{place}@{pick(DOMAINS)}",
            "website": f"https://www.{box}{number(5_000)}.example/shop" if place % 5 < 2 else "",
            "country": pick(COUNTRIES),
            "is_active": chance.random() < 0.9,
            "balance": Decimal(number(-1_000_000, 10_000_000)).scaleb(-2),
            "attributes": attributes,
            "tags": chance.sample(TAGS, number(4)),
            "created_at": FIRST_MOMENT + dt.timedelta(seconds=number(SECONDS)),
            "segment": pick(SEGMENTS),
        }


def write_file(path, rows):
    """Write them as people have them: JSON in two columns, segments by their codes."""
    _write(path, rows, HEADER, tags_of=json.dumps, segment_of=str)


def write_copy_file(path, rows):
    """Write the same rows as COPY takes them: PostgreSQL's arrays, segments by their keys."""
    keys = {code: key for key, code in enumerate(SEGMENTS, 1)}
    _write(path, rows, COLUMNS, tags_of=_array, segment_of=keys.__getitem__)


def _array(tags):
    return "{" + ",".join(f'"{tag}"' for tag in tags) + "}"


def _write(path, rows, header, *, tags_of, segment_of):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for customer in customers(rows):
            shown = customer | {
                "attributes": json.dumps(customer["attributes"], ensure_ascii=False),
                "tags": tags_of(customer["tags"]),
                "segment": segment_of(customer["segment"]),
            }
            writer.writerow(shown.values())
