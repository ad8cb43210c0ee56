"""Find which texts of a whole column a validator certainly accepts."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from django.core import validators
from django.utils.functional import SimpleLazyObject

from ingest.conversion.kernels.base import both
from ingest.conversion.kernels.regexes import translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.conversion.kernels.base import Mask

    Check = Callable[[pa.Array], Mask]
    """Returns which texts a validator certainly accepts."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}\.)+[A-Za-z]{{2,63}}"
_ATOM = r"[-!#$%&'*+/=?^_`{}|~0-9A-Za-z]+"
_EMAIL = rf"\A{_ATOM}(?:\.{_ATOM})*@{_HOST}\z"
"""Plain addresses only; the field judges quoted names, address literals and non-ASCII letters."""
_MOST_OF_EMAIL, _MOST_OF_HOST = 320, 253
"""Limits in characters: see EmailValidator and URLValidator in django.core.validators."""
_EMAIL_PATTERNS = (
    (
        r"(^[-!#$%&'*+/=?^_`{}|~0-9A-Z]+(\.[-!#$%&'*+/=?^_`{}|~0-9A-Z]+)*\Z"
        r'|^"([\001-\010\013\014\016-\037!#-\[\]-\177]|\\[\001-\011\013\014\016-\177])'
        r'*"\Z)'
    ),
    (
        "^[a-z\u00a1-\uffff0-9](?:[a-z\u00a1-\uffff0-9-]{0,61}[a-z\u00a1-\uffff0-9])?"
        "(?:\\.(?!-)[a-z\u00a1-\uffff0-9-]{1,63}(?<!-))*"
        "\\.(?!-)(?:[a-z\u00a1-\uffff-]{2,63}|xn--[a-z0-9]{1,59})(?<!-)\\Z"
    ),
)
_URL_PATTERN = (
    r"^(?:[a-z0-9.+-]*)://"
    r"(?:[^\s:@/]+(?::[^\s:@/]*)?@)?"
    r"(?:(?:0|25[0-5]|2[0-4][0-9]|1[0-9]?[0-9]?|[1-9][0-9]?)"
    r"(?:\.(?:0|25[0-5]|2[0-4][0-9]|1[0-9]?[0-9]?|[1-9][0-9]?)){3}"
    r"|\[[0-9a-f:.]+\]"
    "|([a-z\u00a1-\uffff0-9](?:[a-z\u00a1-\uffff0-9-]{0,61}[a-z\u00a1-\uffff0-9])?"
    "(?:\\.(?!-)[a-z\u00a1-\uffff0-9-]{1,63}(?<!-))*"
    "\\.(?!-)(?:[a-z\u00a1-\uffff-]{2,63}|xn--[a-z0-9]{1,59})(?<!-)\\.?"
    r"|localhost))"
    r"(?::[0-9]{1,5})?"
    r"(?:[/?#][^\s]*)?"
    r"\Z"
)
"""Django's patterns, which are known to accept all plain forms above. If Django's patterns change,
its own validators judge until someone has compared them again."""
_SCHEME = re.compile(r"[a-z][a-z0-9.+-]*")


def find_check(validator: Any) -> Check | None:
    """Return a check that judges a whole column as the validator does, or None if there is none."""
    find = _FOUND_BY.get(type(validator))
    return None if find is None else find(validator)


class _Source(NamedTuple):
    """The source of a compiled regular expression."""

    pattern: Any
    flags: int


def source_of(regex: Any) -> _Source:
    """Return the source of a validator's regular expression, if possible without compiling it.

    Django compiles its own patterns at their first use. Those for hosts take 25 ms each, which is
    wasted if all texts are plain. Today the function that compiles a pattern has its source among
    its variables. If Django changes that, the pattern is compiled here.
    """
    compile_it = vars(regex).get("_setupfunc") if type(regex) is SimpleLazyObject else None
    known = inspect.getclosurevars(compile_it).nonlocals if inspect.isfunction(compile_it) else {}
    if known.keys() == {"regex", "flags"}:
        inner, flags = known["regex"], int(known["flags"])
        if type(inner) is str:
            return _Source(inner, flags)
        if not flags:  # a validator that wraps the pattern of its class
            return source_of(inner)
    return _Source(regex.pattern, regex.flags)


def without_null_characters(texts: pa.Array) -> Mask:
    """Return which texts have no null character; first, all bytes are searched at once."""
    if not len(texts):
        return None
    _, ends, content = texts.buffers()
    places = memoryview(ends).cast("i")
    start, stop = places[texts.offset], places[texts.offset + len(texts)]
    if content is None or b"\0" not in content.slice(start, stop - start).to_pybytes():
        return None
    return pc.invert(pc.match_substring(texts, "\0"))


def _limit(validator: Any) -> Check | None:
    limit = validator.limit_value
    if type(limit) is not int:
        return None
    is_most = type(validator) is validators.MaxLengthValidator

    def check(texts: pa.Array) -> Mask:
        # A text never has more characters than bytes, and Arrow knows the number of bytes.
        if is_most and (pc.max(pc.binary_length(texts)).as_py() or 0) <= limit:
            return None
        compare = pc.less_equal if is_most else pc.greater_equal
        return compare(pc.utf8_length(texts), limit)

    return check


def _no_null_characters(_validator: Any) -> Check:
    return without_null_characters


def _regex(validator: Any) -> Check | None:
    pattern = translate(validator.regex)
    if pattern is None:
        return None

    def check(texts: pa.Array) -> pa.BooleanArray:
        found = pc.match_substring_regex(texts, pattern)
        if validator.inverse_match:
            found = pc.invert(found)
        return pc.and_(found, pc.string_is_ascii(texts))

    return check


def _email(validator: Any) -> Check | None:
    of_user, of_domain = map(source_of, (validator.user_regex, validator.domain_regex))
    flags = of_user.flags & of_domain.flags
    if (of_user.pattern, of_domain.pattern) != _EMAIL_PATTERNS or not flags & re.IGNORECASE:
        return None
    return lambda texts: pc.and_(
        pc.match_substring_regex(texts, _EMAIL),
        pc.less_equal(pc.binary_length(texts), _MOST_OF_EMAIL),
    )


def _url(validator: Any) -> Check | None:
    schemes = list(validator.schemes)
    source = source_of(validator.regex)
    if (
        source.pattern != _URL_PATTERN
        or not source.flags & re.IGNORECASE
        or validator.inverse_match
        or not all(isinstance(scheme, str) and _SCHEME.fullmatch(scheme) for scheme in schemes)
    ):
        return None
    begin = rf"\A(?i:{'|'.join(map(re.escape, schemes))})://"
    pattern = rf"{begin}{_HOST}(?::[0-9]{{1,5}})?(?:[/?#][!-~]*)?\z"
    short_host = rf"{begin}[^/?#]{{1,{_MOST_OF_HOST}}}(?:[/?#]|\z)"

    def check(texts: pa.Array) -> pa.BooleanArray:
        length = pc.binary_length(texts)
        found = pc.and_(
            pc.match_substring_regex(texts, pattern), pc.less_equal(length, validator.max_length)
        )
        if (pc.max(length).as_py() or 0) > _MOST_OF_HOST:
            found = both(found, pc.match_substring_regex(texts, short_host))
        return found

    return check


_FOUND_BY: dict[type, Callable[[Any], Check | None]] = {
    validators.EmailValidator: _email,
    validators.MaxLengthValidator: _limit,
    validators.MinLengthValidator: _limit,
    validators.ProhibitNullCharactersValidator: _no_null_characters,
    validators.RegexValidator: _regex,
    validators.URLValidator: _url,
}
