"""The words in files for outgoing and incoming money, and for true and false."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ingest.sources.detection import DetectedColumn

_OUT = """
debit dr d db dbit s soll - out outgoing withdrawal payment paid expense charge af uit ausgabe
belastung lastschrift débit debe cargo addebito dare débito výdaj vydaj vyber výběr wydatek
obciążenie wn расход дебет 支出 出金 sortie
"""
_IN = """
credit cr c crdt h haben + in incoming deposit received income refund bij eingang einnahme
gutschrift crédit haber abono accredito avere crédito příjem prijem wpływ uznanie ma приход доход
кредит 收入 入金 entrée
"""
OUT_WORDS, IN_WORDS = frozenset(_OUT.split()), frozenset(_IN.split())
"""Banks' words for money that goes out and that comes in, in lower case."""
_OUT_NAME = re.compile(
    r"debit|débit|débito|debe|\bsoll\b|belastung|lastschrift|addebito|\bdare\b|paid out|money out|"
    r"withdrawal|ausgabe|cargo|výdaj|obciążeni|debet|支払|支出|\baf\b|expense",
    re.IGNORECASE,
)
_IN_NAME = re.compile(
    r"credit|crédit|haber|\bhaben\b|gutschrift|accredit|\bavere\b|paid in|money in|deposit|"
    r"einnahme|abono|příjem|uznani|kredit|預|收入|\bbij\b|income",
    re.IGNORECASE,
)
_BALANCE_NAME = re.compile(
    r"balance|saldo|kontostand|solde|zůstatek|残高|余额|остаток|\bbal\b|running", re.IGNORECASE
)

_TRUE = """
true t yes y 1 on x ja j wahr oui o vrai si sí s verdadero sim verdadeiro sì vero tak prawda ano
pravda evet doğru да истина 是 はい 真 aktiv active enabled checked
"""
_FALSE = """
false f no n 0 off nein falsch non faux falso não nao nie fałsz ne nepravda нет ложь
hay\u0131r yanl\u0131\u015f 否 いいえ 偽 假 inaktiv inactive disabled unchecked nee
"""
TRUE_WORDS, FALSE_WORDS = frozenset(_TRUE.split()), frozenset(_FALSE.split())
"""Words for true and for false in the languages of Europe and East Asia, in lower case."""

Pair = tuple[tuple[str, ...], tuple[str, ...]]


def sign_words(column: DetectedColumn) -> Pair | None:
    """Return the column's words for money that goes out and for money that comes in.

    Returns None if it has any other word, or no words.
    """
    return _part(column.words, OUT_WORDS, IN_WORDS)


def truth_words(column: DetectedColumn) -> Pair | None:
    """Return the column's words for true and for false, or None if it has any other word."""
    return _part(column.words, TRUE_WORDS, FALSE_WORDS)


def _part(words: Sequence[str], first: Collection[str], second: Collection[str]) -> Pair | None:
    ours = tuple(word for word in words if word.casefold() in first)
    others = tuple(word for word in words if word.casefold() in second)
    is_code = bool(words) and len(ours) + len(others) == len(words)
    return (ours, others) if is_code else None


def is_balance(name: str) -> bool:
    """Return whether a column is named like a running balance, which is not an amount."""
    return _BALANCE_NAME.search(name) is not None


def find_sides(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the places of the debit and the credit column, if there is exactly one of each."""
    debit = [place for place, name in enumerate(names) if _OUT_NAME.search(name)]
    credit = [
        place
        for place, name in enumerate(names)
        if _IN_NAME.search(name) and not _OUT_NAME.search(name)
    ]
    return (debit[0], credit[0]) if len(debit) == len(credit) == 1 else None
