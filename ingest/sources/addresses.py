"""Addresses of files on other machines, and how they are shown without credentials."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

HIDDEN = "hidden"
"""Replaces a part of an address that may be a credential."""
_ADDRESS = re.compile(r"(?:storage:|s3://|gs://|gcs://|https?://)", re.IGNORECASE)
_HARMLESS = frozenset({"endpoint_override", "region", "scheme", "anonymous"})
"""Options in pyarrow's addresses that are not secret."""
_SHORT = 3
"""Shorter secrets are found in ordinary words: a user ``a`` in every second one."""
_LONG = 8
"""Secrets of this length are in a word only because a library has put them there."""


def is_address(given: Any) -> bool:
    """Return whether this is the address of a file in a storage, a bucket or a web server."""
    return isinstance(given, str) and _ADDRESS.match(given) is not None


def is_address_pattern(given: Any) -> bool:
    """Return whether this is a pattern for files in a storage or a bucket: ``s3://b/*.csv``."""
    if not is_address(given) or scheme_of(given) in {"http", "https"}:
        return False
    path = given if scheme_of(given) == "storage" else urlsplit(given).path
    return "*" in path


def has_credentials(address: str) -> bool:
    """Return whether an address has parts that are not written to the ledger."""
    return has_hidden_parts(without_credentials(address))


def scheme_of(address: str) -> str:
    """Return the scheme of an address, such as ``storage``, ``s3``, ``gs`` or ``https``."""
    return address.partition(":")[0].lower()


def without_credentials(address: str) -> str:
    """Return an address without the user, the password and the values of its query.

    A signed address has its signature in the query, under any name.
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
    """Return whether ``without_credentials`` has hidden a part of this address."""
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
    """Return a library's message without the credentials of an address that it may contain.

    Returns an empty text if the message cannot be shown: a short user or password may be in it, but
    cannot be told from its words.
    """
    if scheme_of(address) == "storage":
        return text
    parts = urlsplit(address)
    user = parts.netloc.rpartition("@")[0]
    text = text.replace(address, bare_address(address))
    mark = "\0"  # HIDDEN itself may contain a short secret
    for part in filter(None, (user and f"{user}@", parts.query and f"?{parts.query}")):
        text = text.replace(part, f"{mark}@" if part.endswith("@") else f"?{mark}")
    for secret in sorted(_secrets(address), key=len, reverse=True):
        if len(secret) >= _LONG:
            text = text.replace(secret, mark)
        elif len(secret) >= _SHORT:
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", mark, text)
        if secret in text:
            return ""
    return text.replace(mark, HIDDEN)


def _secrets(address: str) -> set[str]:
    """Return the user, the password and the values of the query, also as a library may write them.

    Values of one or two characters are left out: they are no credentials, but options.
    """
    parts = urlsplit(address)
    is_bucket = scheme_of(address) not in {"http", "https"}
    pairs = parse_qsl(parts.query)
    values = [it for name, it in pairs if not (is_bucket and name in _HARMLESS)]
    if parts.query and not pairs:
        values = [parts.query]
    user = parts.netloc.rpartition("@")[0]
    found = [user, *user.split(":", 1), *(it for it in values if len(it) >= _SHORT)]
    return {form for it in found for form in (it, unquote(it), quote(it, safe="")) if form}
