"""The form for the options of a load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import UniqueConstraint
from django.utils.translation import gettext_lazy as _

from ingest.admin.uploads.forms import words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from django.db.models import Model


class OptionsForm(forms.Form):
    """How the records are loaded."""

    on_conflict = forms.ChoiceField(label=_("Records whose key is already in the table"))
    key = forms.ChoiceField(
        label=_("Key"),
        required=False,
        help_text=_("The fields that identify the row of a record."),
    )
    duplicates = forms.ChoiceField(
        label=_("Several records with the same key"),
        required=False,
        choices=(
            ("reject", _("all but the first are refused")),
            ("first", _("the first counts")),
            ("last", _("the last counts")),
        ),
    )
    scope = forms.CharField(
        label=_("Rows that may be deleted"),
        max_length=200,
        required=False,
        help_text=_(
            "Only if rows that are not in the file are deleted: all, or conditions such as "
            "currency=EUR, separated by commas."
        ),
    )
    max_deletes = forms.RegexField(
        r"^\d{1,12}$|^\d{1,3}(\.\d{1,3})?%$",
        label=_("Maximum number of rows to delete"),
        required=False,
        help_text=_(
            "A number, or a share such as 10%. If more rows would be deleted, nothing is loaded."
        ),
    )
    keep_old = forms.BooleanField(
        label=_("Keep the old values of rows that are updated or deleted"),
        required=False,
        help_text=_("So that the load can be undone. This takes space in the database."),
    )
    chunks = forms.BooleanField(
        label=_("Commit in chunks"),
        required=False,
        help_text=_(
            "If the load stops, committed rows stay, and it can continue from there. Otherwise "
            "all records are loaded, or none."
        ),
    )
    checks = forms.BooleanField(
        label=_("Run the model's own checks on each record"),
        required=False,
        help_text=_("Model.clean(), which is much slower."),
    )

    def __init__(
        self,
        model: type[Model],
        said: Mapping[str, Any] | None,
        may: Callable[[str], bool],
        fed: Collection[str] = (),
        of_layout: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """``may``: whether a conflict mode is allowed; ``fed``: the fields that the layout feeds.

        ``of_layout``: the layout's options, used as initial values if ``said`` is None.
        """
        of_layout = of_layout or {}
        said = of_layout if said is None else said
        self.kept = {name: of_layout[name] for name in OF_LAYOUTS if name in of_layout}
        found = list(unique_keys(model, fed))
        self._is_clear = len({frozenset(names) for names in found if {*names} <= {*fed}}) < SEVERAL
        keys = [(",".join(names), ", ".join(names)) for names in found]
        initial = {
            "on_conflict": said.get("on_conflict", INSERT),
            "key": _choice_of(said.get("key") or (), keys),
            "duplicates": said.get("duplicates", "reject"),
            "scope": write_scope(said.get("scope")),
            "max_deletes": said.get("max_deletes", ""),
            "keep_old": bool(said.get("keep_old")),
            "chunks": bool(said.get("resumable")),
            "checks": bool(said.get("clean")),
        }
        super().__init__(initial=initial, **kwargs)
        allowed = [word for word in CONFLICTS if may(word)]
        choices = [(word, CONFLICTS[word]) for word in allowed]
        self.fields["on_conflict"].choices = choices  # type: ignore[attr-defined]
        self.fields["key"].choices = [  # type: ignore[attr-defined]
            ("", _("(the only key in the file)")),
            *keys,
        ]
        if "sync" not in allowed:
            del self.fields["scope"], self.fields["max_deletes"]
        if not UPDATING & {*allowed}:
            del self.fields["keep_old"]

    def clean_scope(self) -> str:
        """Refuse a field that is named twice: only one of its values would count."""
        text = str(self.cleaned_data["scope"])
        names = [part.partition("=")[0].strip() for part in text.split(",") if "=" in part]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValidationError(
                _("The field %(field)s is named twice."), params={"field": twice}, code="twice"
            )
        return text

    def clean(self) -> dict[str, Any]:
        """Refuse an option that has no effect with the chosen conflict mode."""
        said = super().clean() or self.cleaned_data
        word = said.get("on_conflict")
        for name, words_ in EFFECTS.items():
            is_said = said.get(name) not in {None, "", False, "reject"}
            if is_said and word is not None and word not in words_:
                text = _(
                    "This has no effect with the choice for records whose key is already in "
                    "the table: leave it out."
                )
                self.add_error(name, ValidationError(text, code="effect"))
        if word in EFFECTS["key"] and not said.get("key") and not self._is_clear:
            text = _("The file has several keys: choose the one that identifies a row.")
            self.add_error("key", ValidationError(text, code="several"))
        return said

    def to_options(self) -> dict[str, Any]:
        """Return the options of ``load`` that differ from its defaults."""
        said = self.cleaned_data
        options = self._of_conflicts()
        if said["chunks"]:
            options["resumable"] = True
        if said["checks"]:
            options["clean"] = True
        return options

    def _of_conflicts(self) -> dict[str, Any]:
        said = self.cleaned_data
        options: dict[str, Any] = {}
        word = said["on_conflict"]
        if word != INSERT:
            options["on_conflict"] = word
            if said["key"]:
                options["key"] = said["key"].split(",")
            if said["duplicates"] not in {"", "reject"}:
                options["duplicates"] = said["duplicates"]
        if word in UPDATING:
            options |= self.kept
            if said["keep_old"]:
                options["keep_old"] = True
        if word == "sync" and said["scope"]:
            options["scope"] = read_scope(said["scope"])
        if word == "sync" and said["max_deletes"]:
            options["max_deletes"] = said["max_deletes"]
        return options


INSERT = "error"
"""The default ``on_conflict`` of a load."""
CONFLICTS = {
    "error": _("are refused"),
    "ignore": _("are left out"),
    "update": _("update the row; others are refused"),
    "upsert": _("update the row; others are inserted"),
    "sync": _("update the row; others are inserted, and rows that are not in the file are deleted"),
}


UPDATING = {"update", "upsert", "sync"}
"""Conflict modes that change rows."""
EFFECTS = {
    "key": {"ignore", *UPDATING},
    "duplicates": {"ignore", *UPDATING},
    "scope": {"sync"},
    "max_deletes": {"sync"},
    "keep_old": UPDATING,
}
"""The conflict modes in which an input of the form has an effect."""
SEVERAL = 2
OF_LAYOUTS = ("update_fields", "keep_if_null", "newest")
"""Options for updates that a layout may have, and for which the form has no inputs."""


def _choice_of(key: Sequence[str] | str, choices: Iterable[tuple[str, str]]) -> str:
    """Return the choice for a key, ignoring the order of its fields and their lookups."""
    given = words(key) or () if isinstance(key, str) else key
    names = {name.partition("__")[0] for name in given}
    return next((value for value, _title in choices if {*value.split(",")} == names), "")


def unique_keys(model: type[Model], fed: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield the fields of each key by which a row of the model can be found.

    The primary key is included if it is fed.
    """
    concrete: type[Model] = model._meta.concrete_model or model  # a proxy has its model's keys
    options = concrete._meta
    if options.pk.name in fed:
        yield (options.pk.name,)
    for field in options.concrete_fields:
        if field.unique and not field.primary_key:
            yield (field.name,)
    yield from (tuple(names) for names in options.unique_together)
    for constraint in options.constraints:
        if isinstance(constraint, UniqueConstraint) and constraint.fields:
            yield tuple(constraint.fields)


def read_scope(text: str) -> str | list[str] | dict[str, str]:
    """Parse the rows that may be deleted into the option ``scope`` of a load."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if text.strip() == "all":
        return "all"
    if all("=" in part for part in parts):
        pairs = (part.partition("=") for part in parts)
        return {name.strip(): value.strip() for name, _equals, value in pairs}
    return parts


def write_scope(scope: Any) -> str:
    """Return the option ``scope`` as text for the form."""
    if isinstance(scope, dict):
        return ", ".join(f"{name}={value}" for name, value in scope.items())
    return scope if isinstance(scope, str) else ", ".join(scope or ())
