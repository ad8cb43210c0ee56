"""Addresses within one admin site: a site need not have all of the app's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.db.models import Model


def address_on(site: AdminSite, model: type[Model], page: str, *args: Any) -> str | None:
    """Return the address of a page of a model's admin; None if the model is not registered."""
    if not site.is_registered(model):
        return None
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
    return reverse(name, args=args, current_app=site.name)
