"""Models of uploaded files, and of layouts that users save for the next file."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from ingest.ledger.models import Load
from ingest.terminal import safe_line

KEY_BYTES = 16
"""The length of an upload's random key, which nobody can guess."""


def new_key() -> str:
    """Return a random key."""
    return secrets.token_hex(KEY_BYTES)


class Upload(models.Model):
    """A file on its way from a browser to a load."""

    class State(models.TextChoices):
        """How far the file has come."""

        STORED = "stored", _("stored")
        CHECKING = "checking", _("dry run is running")
        CHECKED = "checked", _("dry run is done")
        CONFIRMED = "confirmed", _("confirmed")
        FORGOTTEN = "forgotten", _("file deleted")

    key = models.CharField(max_length=64, primary_key=True, default=new_key, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_constraint=False,  # users may be in another database
        verbose_name=_("owner"),
    )
    model = models.CharField(_("model"), max_length=200, help_text=_("The model's label."))
    name = models.CharField(
        _("file"), max_length=255, help_text=_("The name of the file on the user's machine.")
    )
    storage_name = models.CharField(
        max_length=255,
        blank=True,
        help_text=_("Its random name in the storage. Empty if the file was deleted."),
    )
    size = models.BigIntegerField(_("bytes"))
    digest = models.CharField(max_length=64, help_text=_("BLAKE2b of the file's bytes."))
    created_at = models.DateTimeField(_("uploaded"), auto_now_add=True)
    state = models.CharField(
        _("state"), max_length=20, choices=State, default=State.STORED, editable=False
    )
    step = models.CharField(max_length=20, default="file", help_text=_("The furthest step."))
    layout = models.TextField(blank=True, help_text=_("The layout, as TOML."))
    options = models.JSONField(default=dict, blank=True, help_text=_("Options of the load."))
    attempt = models.IntegerField(
        default=0, help_text=_("The number of dry runs that were started.")
    )
    check_result = models.JSONField(
        default=dict, blank=True, help_text=_("The progress of the dry run, or its result.")
    )
    seen_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When the dry run last reported its progress.")
    )
    load = models.OneToOneField(
        Load, null=True, blank=True, on_delete=models.SET_NULL, related_name="upload"
    )

    class Meta:
        ordering = ("-created_at",)
        default_permissions = ("view",)
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")

    def __str__(self) -> str:
        return safe_line(self.name)

    @property
    def has_file(self) -> bool:
        """Whether the file is still stored."""
        return bool(self.storage_name)


class SavedLayout(models.Model):
    """A layout that a user has saved for files with the same header."""

    name = models.CharField(
        _("name"),
        max_length=100,
        unique=True,
        help_text=_("The command takes it as --layout saved:NAME."),
    )
    model = models.CharField(_("model"), max_length=200)
    layout = models.TextField(help_text=_("The layout, as TOML."))
    columns: Any = models.JSONField(
        _("source columns"), default=list, help_text=_("The header of the file it was made for.")
    )
    fingerprint = models.CharField(
        max_length=64, db_index=True, help_text=_("The digest of the header.")
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_constraint=False,  # users may be in another database
        verbose_name=_("owner"),
    )
    is_shared = models.BooleanField(
        _("shared"), default=False, help_text=_("Others may use it, too.")
    )
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        ordering = ("name",)
        default_permissions = ("view",)
        verbose_name = _("saved layout")
        verbose_name_plural = _("saved layouts")

    def __str__(self) -> str:
        return str(self.name)
