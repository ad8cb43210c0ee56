"""The forms of the steps: they validate what is posted, and turn it into a layout or options."""

from __future__ import annotations

import codecs
import dataclasses
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from ingest.terminal import safe_line
from ingest.uploads.models import SavedLayout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import Model

    from ingest.layout import Layout

DELIMITERS = (
    (",", _("comma ,")),
    (";", _("semicolon ;")),
    ("\t", _("tab")),
    ("|", _("vertical bar |")),
    (":", _("colon :")),
    (" ", _("space")),
)


class ChooseForm(forms.Form):
    """The model and the file."""

    model = forms.ChoiceField(label=_("Load into"))
    file = forms.FileField(
        label=_("File"),
        allow_empty_file=True,  # our own error reports it
        help_text=_(
            "Delimited text, JSON, Parquet, or an Excel or OpenDocument workbook. It may be "
            "compressed."
        ),
    )

    def __init__(self, models: Iterable[type[Model]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["model"].choices = [  # type: ignore[attr-defined]
            (model._meta.label, capfirst(model._meta.verbose_name_plural)) for model in models
        ]


class FileForm(forms.Form):
    """How the file is read."""

    sheet = forms.ChoiceField(label=_("Sheet"))
    encoding = forms.CharField(label=_("Encoding"), max_length=40, required=False)
    delimiter = forms.ChoiceField(label=_("Delimiter"), choices=DELIMITERS, required=False)
    quote = forms.CharField(
        label=_("Quote"),
        max_length=1,
        required=False,
        help_text=_("The character around quoted cells. Leave it empty if nothing is quoted."),
    )
    header = forms.BooleanField(
        label=_("The first record has the names of the columns"), required=False
    )
    skip_records = forms.IntegerField(
        label=_("Records before the table"), min_value=0, max_value=10_000, required=False
    )
    trailer_records = forms.IntegerField(
        label=_("Records after the table"), min_value=0, max_value=10_000, required=False
    )
    decimal = forms.CharField(
        label=_("Decimal mark"),
        max_length=1,
        required=False,
        help_text=_("For all numbers. Leave it empty for a full stop."),
    )
    thousands = forms.CharField(
        label=_("Thousands separator"), max_length=1, required=False, strip=False
    )
    formats = forms.CharField(
        label=_("Dates"),
        max_length=200,
        required=False,
        help_text=_(
            "The format of dates, such as %d.%m.%Y; separate several with commas. Leave it "
            "empty for year-month-day."
        ),
    )
    null = forms.CharField(
        label=_("Words for an empty cell"),
        max_length=200,
        required=False,
        help_text=_("Such as NULL, n/a; separate several with commas."),
    )
    strip = forms.BooleanField(
        label=_("Remove spaces at the beginning and end of cells"), required=False
    )

    USUAL = {
        "sheet": None,
        "encoding": "utf-8",
        "delimiter": ",",
        "quote": '"',
        "header": True,
        "skip_records": 0,
        "trailer_records": 0,
    }
    OF_TEXT = tuple(USUAL)[1:]

    def __init__(
        self,
        layout: Layout,
        *,
        ignores: Iterable[str] = (),
        sheets: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        """``ignores``: options without effect on the file; ``sheets``: those of a workbook."""
        self._layout = layout
        super().__init__(initial=self._initial(layout), **kwargs)
        choices = [(name, safe_line(name)) for name in sheets]
        self.fields["sheet"].choices = choices  # type: ignore[attr-defined]
        hidden = {*ignores} if len(choices) > 1 else {*ignores, "sheet"}
        for name in hidden & {"sheet", *self.OF_TEXT}:
            del self.fields[name]
        if "delimiter" not in self.fields:
            return
        delimiter = layout.source.get("delimiter", ",")
        if delimiter not in dict(DELIMITERS):
            more = [*DELIMITERS, (delimiter, delimiter)]
            self.fields["delimiter"].choices = more  # type: ignore[attr-defined]

    @staticmethod
    def _initial(layout: Layout) -> dict[str, Any]:
        source, read = layout.source, layout.read
        return {
            "sheet": source.get("sheet"),
            "encoding": source.get("encoding", "utf-8"),
            "delimiter": source.get("delimiter", ","),
            "quote": source.get("quote", '"'),
            "header": source.get("header", "columns" not in source) is not False,
            "skip_records": source.get("skip_records", 0),
            "trailer_records": source.get("trailer_records", 0),
            "decimal": read.decimal or "",
            "thousands": (read.thousands or ("",))[0],
            "formats": ", ".join(read.formats or ()),
            "null": ", ".join(read.null or ()),
            "strip": bool(read.strip),
        }

    def clean_encoding(self) -> str:
        """Refuse a name that is not an encoding of text."""
        name = self.cleaned_data["encoding"] or "utf-8"
        try:
            is_text = codecs.lookup(name)._is_text_encoding
        except (LookupError, ValueError):
            is_text = False
        if not is_text:
            raise ValidationError(
                _("There is no encoding %(name)s."), params={"name": repr(name)}, code="encoding"
            )
        return str(name)

    def to_layout(self) -> Layout:
        """Return the layout with the posted reading options."""
        said, source = self.cleaned_data, dict(self._layout.source)
        for name, usual in self.USUAL.items():
            if name in said:
                value = usual if said[name] is None else said[name]
                _set(source, name, value, usual)
        if said.get("trailer_records"):
            source.pop("trailer_pattern", None)
        read = dataclasses.replace(
            self._layout.read,
            decimal=said["decimal"] or None,
            thousands=(said["thousands"],) if said["thousands"] else None,
            formats=words(said["formats"]),
            null=words(said["null"]),
            strip=True if said["strip"] else None,
        )
        return dataclasses.replace(self._layout, source=source, read=read)


def words(text: str) -> tuple[str, ...] | None:
    """Return the words between commas; None if there are none."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    return found or None


def _set(source: dict[str, Any], name: str, value: Any, usual: Any) -> None:
    if value == usual:
        source.pop(name, None)
    else:
        source[name] = value


class SaveLayoutForm(forms.ModelForm):  # type: ignore[type-arg]
    """The name under which a layout is saved."""

    class Meta:
        model = SavedLayout
        fields = ("name", "is_shared")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].required = self.instance.pk is not None

    def clean_name(self) -> str:
        """Refuse characters that a terminal or a browser interprets."""
        name = str(self.cleaned_data["name"]).strip()
        if safe_line(name) != name:
            raise ValidationError(_("A name may only have visible characters."), code="name")
        return name
