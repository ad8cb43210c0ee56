"""Translations of the ledger's texts about a load.

The ledger keeps words and sentences in English, as the command and logs have them. The pages show
the known ones in the reader's language, and the others unchanged.
"""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from ingest.admin.loads.progress import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ingest.ledger.undo_plan import Undone, UndoPlan

Ngettext: TypeAlias = "Callable[[str, str, int], str]"
CountedText: TypeAlias = "Callable[[Ngettext, int], str]"
"""Returns a template with ``%(count)s``, in the singular or plural that the function selects."""
KINDS = {
    "parse": gettext_noop("parse"),
    "value": gettext_noop("value"),
    "reference": gettext_noop("reference"),
    "duplicate": gettext_noop("duplicate"),
    "constraint": gettext_noop("constraint"),
    "missing": gettext_noop("missing"),
}
"""Kinds of rejects."""
STAGES = {
    "read": gettext_noop("read"),
    "apply layout": gettext_noop("apply layout"),
    "convert": gettext_noop("convert"),
    "encode": gettext_noop("encode"),
    "look up references": gettext_noop("look up references"),
    "send": gettext_noop("send"),
    "commit": gettext_noop("commit"),
    "prepare": gettext_noop("prepare"),
    "find position": gettext_noop("find position"),
    "build indexes": gettext_noop("build indexes"),
    "delete": gettext_noop("delete"),
    "workers": gettext_noop("workers"),
    "verify": gettext_noop("verify"),
    "analyze": gettext_noop("analyze"),
}
DECISIONS = (
    gettext_noop("References: the table has no foreign key."),
    gettext_noop("References: checked row by row by PostgreSQL, as asked."),
    gettext_noop("References: checked row by row by PostgreSQL, because %(reason)s"),
    gettext_noop(
        "References: left to PostgreSQL at the end of the caller's transaction, which has rows "
        "from before the load whose parents are not there yet."
    ),
    gettext_noop(
        "References: rows whose parents are not there yet are left to PostgreSQL, which asks for "
        "them when the caller's transaction ends."
    ),
    gettext_noop("Indexes: maintained row by row, as asked."),
    gettext_noop("Indexes: maintained row by row, because %(reason)s"),
    gettext_noop("Indexes: %(count)s built after the rows."),
    gettext_noop(
        "Indexes: the primary key's is maintained row by row, because subscribers know the rows "
        "by it."
    ),
    gettext_noop(
        "Indexes: nobody else could read the table, and for %(seconds)s s of that it waited for "
        "the source. With --indexes keep (indexes='keep') others read it meanwhile."
    ),
    gettext_noop("Plain COPY: so few rows load no faster by any other way."),
    gettext_noop("Plain COPY: parents are looked up among the rows of the load, by the indexes."),
    gettext_noop(
        "Plain COPY: a record is a row of several tables, and each refers to the one before."
    ),
    gettext_noop("Order: each batch goes in the order of the index %(index)s."),
    gettext_noop(
        "Rows: inserted from a temporary table, because COPY is not possible under row security."
    ),
    gettext_noop("Rows: this load cannot be undone, because %(reason)s"),
    gettext_noop("Conflicts: decided by the key %(key)s."),
    gettext_noop(
        "Conflicts: nobody else can write to the table meanwhile, because the key %(key)s is "
        "deferrable and cannot decide in ON CONFLICT."
    ),
    gettext_noop("Sequence %(name)s: moved past the given keys."),
    gettext_noop(
        "Sequence %(name)s: not moved past the given keys, because the role may not set it: "
        "GRANT UPDATE ON SEQUENCE %(right)s."
    ),
    gettext_noop(
        "Sequence %(name)s: not moved past the given keys, because the role may not: %(right)s"
    ),
    gettext_noop(
        "Sequence %(name)s: not moved past the given key %(key)s, because that would leave too "
        "few numbers for other rows."
    ),
    gettext_noop("One value at a time: %(field)s"),
)
"""Templates of decisions: why a load used one path and not another."""
COUNTED_DECISIONS: tuple[CountedText, ...] = (
    lambda ngettext, count: ngettext(
        "References: %(count)s foreign key checked as a set.",
        "References: %(count)s foreign keys checked as a set.",
        count,
    ),
    lambda ngettext, count: ngettext(
        "References: %(count)s foreign key of inserted rows checked as a set.",
        "References: %(count)s foreign keys of inserted rows checked as a set.",
        count,
    ),
)
REASONS = (
    gettext_noop("each chunk is committed by itself."),
    gettext_noop("the table holds rows already."),
    gettext_noop("the table has no index that is its own definition and no more."),
    gettext_noop("others use the table: no exclusive lock within %(time)s."),
    gettext_noop("an event trigger watches what is created or dropped."),
    gettext_noop("the exclusive lock would be held until the end of the caller's transaction."),
    gettext_noop("%(table)s is under row security."),
    gettext_noop("%(table)s is not an ordinary table."),
    gettext_noop("the trigger %(name)s must fire."),
    gettext_noop("the foreign key %(name)s refers to the table itself."),
    gettext_noop("the foreign key %(name)s has more than one column."),
    gettext_noop("only a superuser may set session_replication_role before PostgreSQL 15."),
)
"""Templates of reasons at the end of decisions."""
REFUSALS = (
    gettext_noop("Load %(load)s cannot be undone, because %(reason)s. Nothing was changed."),
    gettext_noop(
        "Load %(load)s cannot be undone, because %(reason)s: its rows cannot be distinguished from "
        "other rows. Nothing was deleted: delete them by hand."
    ),
)
"""Templates of errors: why a load is not undone."""
COUNTED_REFUSALS: tuple[CountedText, ...] = (
    lambda ngettext, count: ngettext(
        "Load %(load)s is not undone: %(count)s of its rows is gone, or row security hides it from "
        "the role of the load. Nothing was deleted: --keep-changed deletes the rows that are seen.",
        "Load %(load)s is not undone: %(count)s of its rows are gone, or row security hides them "
        "from the role of the load. Nothing was deleted: --keep-changed deletes the rows that are "
        "seen.",
        count,
    ),
    lambda ngettext, count: ngettext(
        "Load %(load)s is not undone: %(count)s row with its keys is not as it inserted it (with "
        "the key %(keys)s): it was changed since, or is another row with the same key. Nothing was "
        "deleted: --keep-changed keeps it and undoes the others.",
        "Load %(load)s is not undone: %(count)s rows with its keys are not as it inserted them "
        "(with the keys %(keys)s): they were changed since, or are other rows with the same keys. "
        "Nothing was deleted: --keep-changed keeps them and undoes the others.",
        count,
    ),
    lambda ngettext, count: ngettext(
        "Load %(load)s is not undone: %(count)s row with its keys is not as it left it (with the "
        "key %(keys)s): it was changed since, or is another row with the same key. Nothing was "
        "deleted: --keep-changed keeps it and undoes the others.",
        "Load %(load)s is not undone: %(count)s rows with its keys are not as it left them (with "
        "the keys %(keys)s): they were changed since, or are other rows with the same keys. "
        "Nothing was deleted: --keep-changed keeps them and undoes the others.",
        count,
    ),
)
FACTS = {
    "model": gettext_noop("model"),
    "file": gettext_noop("file"),
    "day": gettext_noop("day"),
    "rows": gettext_noop("rows"),
    "to delete": gettext_noop("to delete"),
    "to restore": gettext_noop("to restore"),
    "to put back": gettext_noop("to put back"),
    "changed since": gettext_noop("changed since"),
    "gone": gettext_noop("gone"),
    "gone or hidden": gettext_noop("gone or hidden"),
}
"""Names of the facts about a planned undo."""
VALUES = (
    gettext_noop("%(number)s of %(all)s that it updated"),
    gettext_noop("%(number)s of %(all)s that it deleted"),
    gettext_noop("%(number)s (with the key %(keys)s)"),
    gettext_noop("%(number)s (with the keys %(keys)s)"),
)
"""Templates of the values of these facts."""


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence about a load."""

    text: str
    is_english: bool
    """Whether it is the ledger's own text, without a translation."""


def name_kind(kind: str) -> str:
    """Return the translated name of a kind of rejects."""
    return _(KINDS[kind]) if kind in KINDS else kind


def name_stage(stage: str) -> str:
    """Return the translated name of a stage."""
    return _(STAGES[stage]) if stage in STAGES else stage


def translate_decisions(decisions: Iterable[str]) -> Iterator[Sentence]:
    """Yield the translated decisions of a load."""
    for decision in decisions:
        found = _find(decision, _DECISIONS)
        if found is None:
            yield Sentence(decision, is_english=True)
        else:
            translate, parts = found
            if "reason" in parts:
                parts["reason"] = _translate(parts["reason"], _REASONS)
            yield Sentence(translate(parts) % parts, is_english=False)


def describe_undo(plan: UndoPlan) -> str:
    """Return the beginning of the question whether to undo a load that updated or deleted rows."""
    parts = [
        text(count) % {"rows": whole(count)}
        for text, count in (
            (_delete, plan.deletable),
            (_restore, plan.restorable),
            (_put_back, plan.missing),
        )
        if count
    ]
    return str(capfirst(", ".join(parts) or _delete(0) % {"rows": 0}))


def _delete(rows: int) -> str:
    return ngettext("delete %(rows)s row", "delete %(rows)s rows", rows)


def _restore(rows: int) -> str:
    return ngettext("restore %(rows)s row", "restore %(rows)s rows", rows)


def _put_back(rows: int) -> str:
    return ngettext("put back %(rows)s row", "put back %(rows)s rows", rows)


def facts_of(plan: UndoPlan) -> tuple[tuple[str, str], ...]:
    """Return the translated facts of a plan, as names and values."""
    return tuple(
        (_(FACTS[name]) if name in FACTS else name, _translate(value, _VALUES))
        for name, value in plan.facts
    )


def describe_undone(undone: Undone) -> str:
    """Return a translated sentence about what an undo did."""
    # Arrow, which the ledger needs, is not imported when the server starts.
    from ingest.ledger.undo_plan import shown_keys

    parts = [
        ngettext(
            "Load %(load)s is undone: %(rows)s row deleted",
            "Load %(load)s is undone: %(rows)s rows deleted",
            undone.deleted,
        )
        % {"load": undone.load.pk, "rows": whole(undone.deleted)}
    ]
    gone = ngettext("%(rows)s was gone already", "%(rows)s were gone already", undone.gone)
    for text, count in (
        (_("%(rows)s restored"), undone.restored),
        (_("%(rows)s put back"), undone.put_back),
        (gone, undone.gone),
    ):
        if count:
            parts.append(text % {"rows": whole(count)})
    if undone.kept:
        kept = ngettext(
            "%(rows)s changed since was kept (with the key %(keys)s)",
            "%(rows)s changed since were kept (with the keys %(keys)s)",
            undone.kept,
        )
        parts.append(
            kept % {"rows": whole(undone.kept), "keys": shown_keys(undone.kept_keys, undone.kept)}
        )
    return f"{', '.join(parts)}."


def translate_refusal(text: str) -> str:
    """Return the translated error."""
    return _translate(text, _REFUSALS)


def _translate(text: str, patterns: _Patterns) -> str:
    found = _find(text, patterns)
    return text if found is None else found[0](found[1]) % found[1]


_Template: TypeAlias = "Callable[[dict[str, str]], str]"
_Patterns: TypeAlias = "tuple[tuple[re.Pattern[str], _Template], ...]"


def _find(text: str, patterns: _Patterns) -> tuple[_Template, dict[str, str]] | None:
    for pattern, translate in patterns:
        found = pattern.fullmatch(text)
        if found is not None:
            return translate, found.groupdict()
    return None


def _patterns(templates: Iterable[str], counted: Iterable[CountedText] = ()) -> _Patterns:
    found: list[tuple[re.Pattern[str], _Template]] = [
        (_pattern(template), partial(_translate_template, template)) for template in templates
    ]
    for text in counted:
        translate = partial(_translate_counted, text)
        found.extend((_pattern(text(form, 1)), translate) for form in (_singular, _plural))
    return tuple(found)


def _translate_template(template: str, parts: dict[str, str]) -> str:  # noqa: ARG001
    return _(template)


def _translate_counted(text: CountedText, parts: dict[str, str]) -> str:
    return text(ngettext, int(parts["count"].replace(",", "")))


def _singular(one: str, many: str, count: int) -> str:  # noqa: ARG001
    return one


def _plural(one: str, many: str, count: int) -> str:  # noqa: ARG001
    return many


def _pattern(template: str) -> re.Pattern[str]:
    pieces = re.split(r"%\((\w+)\)s", template)
    written = [
        f"(?P<{piece}>.+?)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces)
    ]
    return re.compile("".join(written), re.DOTALL)


_DECISIONS = _patterns(DECISIONS, COUNTED_DECISIONS)
_REFUSALS = _patterns(REFUSALS, COUNTED_REFUSALS)
_REASONS, _VALUES = _patterns(REASONS), _patterns(VALUES)
