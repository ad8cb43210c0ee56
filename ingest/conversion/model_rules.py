"""Find the rules of ``full_clean()`` that a load does not run: those of instances or other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def looks_at_instance(field: models.Field[Any, Any]) -> bool:
    """Return whether the field's class has its own ``clean()`` or ``validate()``.

    Such a method may read the whole instance.
    """
    return any(
        name in vars(kind) and not kind.__module__.startswith("django.")
        for kind in type(field).__mro__
        for name in ("clean", "validate")
    )


def rules_not_asked(
    model: type[models.Model], fields: Iterable[models.Field[Any, Any]], *, clean: bool
) -> list[str]:
    """Return sentences about the rules of the model that a load into these fields does not run."""
    label = model._meta.label
    told = []
    for name in ("clean", "clean_fields", "full_clean", "validate_unique", "validate_constraints"):
        if getattr(model, name) is getattr(models.Model, name) or (name == "clean" and clean):
            continue
        cure = " (--clean runs it for each record)" if name == "clean" else ""
        told.append(f"{label} has a {name}() of its own, which is not run{cure}.")
    for field in fields:
        told += [f"{label}.{field.name}: {rule}." for rule in _rules_of(field, clean=clean)]
    return [f"Not checked: {sentence}" for sentence in told]


def _rules_of(field: models.Field[Any, Any], *, clean: bool) -> Iterator[str]:
    for kind in ("date", "month", "year"):
        other = getattr(field, f"unique_for_{kind}", None)
        if other:
            yield f"whether it is unique for the {kind} of {other!r} (unique_for_{kind})"
    if looks_at_instance(field) and not clean:
        yield (
            f"{type(field).__name__} has a clean() or validate() of its own, which is called "
            "without the record's other values (--clean calls it with them)"
        )
    if isinstance(field, models.ForeignKey):
        if field.get_limit_choices_to():
            yield "whether the parent is among those of limit_choices_to"
        manager = type(field.remote_field.model._base_manager)
        if manager.get_queryset is not models.Manager.get_queryset:
            yield (
                "whether the parent's base manager has it; any row of the parent's table is "
                "accepted"
            )
