"""Addresses of files that are not on this machine's file system, and what of them may be shown."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

HIDDEN = "hidden"
"""What stands in an address in the place of something that may be a credential."""
_ADDRESS = re.compile(r"(?:storage:|s3://|gs://|gcs://|https?://)", re.IGNORECASE)
_HARMLESS = frozenset({"endpoint_override", "region", "scheme", "anonymous"})
"""Options of pyarrow's addresses that are no secret."""


def is_address(given: Any) -> bool:
    """Return whether this names a file of a storage, a bucket or a web server."""
    return isinstance(given, str) and _ADDRESS.match(given) is not None


def scheme_of(address: str) -> str:
    """Return what an address begins with: ``storage``, ``s3``, ``gs`` or ``https``."""
    return address.partition(":")[0].lower()


def without_credentials(address: str) -> str:
    """Return an address without the user, the password and what a query says.

    A signed address has its signature in the query, by whatever name.
    """
    if scheme_of(address) == "storage":
        return address
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    user = f"{HIDDEN}@" if "@" in parts.netloc else ""
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    is_bucket = scheme_of(address) not in {"http", "https"}
    query = urlencode(
        [(name, it if is_bucket and name in _HARMLESS else HIDDEN) for name, it in pairs]
    )
    if parts.query and not pairs:
        query = HIDDEN
    return urlunsplit((parts.scheme, user + host, parts.path, query, ""))


def has_hidden_parts(address: str) -> bool:
    """Return whether an address from ``without_credentials`` lacks a part that it had."""
    parts = urlsplit(address)
    values = [value for _, value in parse_qsl(parts.query)]
    return scheme_of(address) != "storage" and (
        parts.netloc.startswith(f"{HIDDEN}@") or HIDDEN in values or parts.query == HIDDEN
    )


def bare_address(address: str) -> str:
    """Return the part of an address that names the file, for its suffix and for messages."""
    if scheme_of(address) == "storage":
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def hide(text: str, address: str) -> str:
    """Return a message of a library without the credentials of an address that it may repeat."""
    if scheme_of(address) == "storage":
        return text
    parts = urlsplit(address)
    text = text.replace(address, bare_address(address))
    secrets = [parts.username, parts.password, parts.query, *dict(parse_qsl(parts.query)).values()]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
