"""The ledger: what each load did, in the same database and transaction as its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import models
from django.utils.translation import gettext_lazy as _

from ingest.ledger.fields import TextArrayField
from ingest.ledger.ownership import IsOwn, read_ownership
from ingest.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Sequence


class LoadQuerySet(models.QuerySet["Load"]):
    """Loads; running ones come with their live progress, which ``LoadProgress`` keeps."""

    def _fetch_all(self) -> None:
        is_cached = self._result_cache is not None
        super()._fetch_all()
        if not is_cached:
            _add_progress(self._result_cache or [], self.db)


class Counted(models.Model):
    """Counts of what happened to records."""

    inserted = models.BigIntegerField(default=0, help_text="Rows that the table did not have.")
    updated = models.BigIntegerField(default=0, help_text="Rows of the table that were changed.")
    unchanged = models.BigIntegerField(
        default=0, help_text="Records that the table had just so: nothing was written."
    )
    ignored = models.BigIntegerField(
        default=0, help_text="Records whose row the table had and kept, as asked."
    )
    deleted = models.BigIntegerField(
        default=0, help_text="Rows that the source did not have and that were deleted, as asked."
    )
    rejected = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)
    padded = models.BigIntegerField(
        default=0, help_text="Records with too few cells that got empty ones."
    )
    cut = models.BigIntegerField(
        default=0, help_text="Records with too many cells that lost the surplus ones."
    )

    class Meta:
        abstract = True

    @property
    def loaded(self) -> int:
        """Rows that were written."""
        return self.inserted + self.updated


class Load(Counted):
    """One run of a load, from its first row to its last, however many attempts it took."""

    class Status(models.TextChoices):
        """The states of a load."""

        DRAFT = "draft", _("Draft")
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        LOADED = "loaded", _("Loaded")
        FAILED = "failed", _("Failed")
        INTERRUPTED = "interrupted", _("Interrupted")
        UNDONE = "undone", _("Undone")

    model = models.CharField(_("model"), max_length=200, help_text="The model's label.")
    table = models.CharField(max_length=200, help_text="The table with its schema, quoted.")
    schema = models.CharField(max_length=63, blank=True, help_text="The schema of the table.")
    role = models.CharField(max_length=63, blank=True, help_text="The role that put the rows in.")
    session_state = models.JSONField(
        default=dict,
        blank=True,
        help_text="What was set in the session: search path, role, custom settings.",
    )
    source = models.TextField(
        _("source"), help_text="The file as it was named, or the kind of iterable."
    )
    fingerprint = models.CharField(
        max_length=64, blank=True, help_text="BLAKE2b of the source's bytes; empty: it has none."
    )
    layout = models.TextField(blank=True, help_text="The layout, as TOML.")
    options = models.JSONField(default=dict, help_text="What it takes to do the same load again.")
    method = models.CharField(max_length=20)
    driver = models.CharField(max_length=20)
    decisions = models.JSONField(default=list, help_text="What was decided and why: sentences.")
    who = models.CharField(_("who"), max_length=150, blank=True)
    status = models.CharField(
        _("status"), max_length=20, choices=Status, default=Status.RUNNING, db_index=True
    )
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(_("started at"))
    ended_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True, help_text="Its last sign of life.")
    chunk_rows = models.BigIntegerField(
        null=True, blank=True, help_text="Records of one commit; none: one commit for all."
    )
    read = models.BigIntegerField(default=0)
    bytes_read = models.BigIntegerField(default=0)
    bytes_total = models.BigIntegerField(null=True, blank=True)
    stages = models.JSONField(default=dict, help_text="Seconds of each stage, by its name.")
    reasons = models.JSONField(
        default=list, blank=True, help_text="Why records were refused: equal reasons counted."
    )
    reject_log = models.TextField(blank=True, help_text="The path of all reasons, as JSON Lines.")
    reject_file = models.TextField(blank=True, help_text="The path of the refused records.")
    is_cancel_asked = models.BooleanField(default=False)

    objects = LoadQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("load")
        verbose_name_plural = _("loads")
        ordering = ("-pk",)
        indexes = (models.Index(fields=["model", "bytes_total"], name="ingest_load_of_size"),)
        default_permissions = ("view",)
        permissions = (
            ("upload_load", "Can load a file from the browser"),
            ("resume_load", "Can resume a load"),
            ("cancel_load", "Can cancel a load"),
            ("undo_load", "Can undo a load"),
        )

    def __str__(self) -> str:
        return f"Load {self.pk} of {self.source} into {self.model}"

    @property
    def can_be_undone(self) -> bool:
        """Whether the ledger has the old values of the rows that the load changed or deleted."""
        is_kept = bool(self.options.get("how", {}).get("keep_old"))
        return is_kept or not (self.updated or self.deleted)

    @property
    def seconds(self) -> float | None:
        """Wall-clock seconds from the start to the end, or to the last sign of life."""
        until = self.ended_at or self.seen_at
        return None if until is None else max((until - self.started_at).total_seconds(), 0.0)

    @property
    def rows_per_second(self) -> float | None:
        """Rows written per second of wall-clock time."""
        return self.loaded / self.seconds if self.seconds else None

    def rows(self) -> models.QuerySet[Any]:
        """Return the rows that this load inserted and that nobody has changed since, as a queryset.

        A row belongs to the load if the ledger has both its key and the transaction that wrote it.
        A row whose key was reused, or that was updated since, is not included.
        """
        model: type[models.Model] = apps.get_model(self.model)
        ownership = read_ownership(self, model)
        found = model._base_manager.using(self._state.db)
        if ownership.reason is not None or not ownership.rows:
            return found.none()
        return found.filter(IsOwn(ownership.own))


class LoadProgress(Counted):
    """The progress of a running load, as of its last sign of life.

    It is updated while the load's transaction is open. It has its own row because that transaction
    updates the load's row at the end: from ``REPEATABLE READ`` upwards PostgreSQL refuses to update
    a row that another transaction has updated in the meantime.
    """

    load = models.OneToOneField(
        Load, on_delete=models.CASCADE, primary_key=True, related_name="progress"
    )
    seen_at = models.DateTimeField(help_text="The load's last sign of life.")
    read = models.BigIntegerField(default=0)
    bytes_read = models.BigIntegerField(default=0)
    stages = models.JSONField(default=dict, help_text="Seconds of each stage, by its name.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"Progress of load {self.load_id}"


LIVE = tuple(field.name for field in LoadProgress._meta.local_fields if not field.primary_key)
"""The fields of a running load that ``LoadProgress`` keeps."""


def _add_progress(rows: Sequence[Any], alias: str) -> None:
    loads = {
        row.pk: row.__dict__  # without the deferred fields
        for row in rows
        if isinstance(row, Load) and row.__dict__.get("status") == Load.Status.RUNNING
    }
    if loads:
        for found in LoadProgress.objects.using(alias).filter(load__in=loads).values("load", *LIVE):
            values = loads[found["load"]]
            values.update({name: found[name] for name in LIVE if name in values})


class Chunk(Counted):
    """The rows of one commit."""

    load = models.ForeignKey(Load, on_delete=models.CASCADE, related_name="chunks")
    ordinal = models.BigIntegerField(help_text="From 1.")
    first_record = models.BigIntegerField(help_text="From 1, over all files of the source.")
    last_record = models.BigIntegerField()
    first_byte = models.BigIntegerField(null=True, blank=True)
    last_byte = models.BigIntegerField(
        null=True, blank=True, help_text="The byte after the last one."
    )
    position = models.JSONField(default=dict, help_text="Where the source goes on.")
    fingerprint = models.CharField(
        max_length=64, blank=True, help_text="BLAKE2b of the chunk's bytes in the source."
    )
    transactions = models.JSONField(
        default=list,
        help_text="What inserted its rows: ranges of 64-bit transaction ids, both ends included.",
    )
    table_identity = models.CharField(
        max_length=100,
        blank=True,
        help_text="The cluster's system identifier, the database's oid and the table's oid: "
        "elsewhere the ids mean nothing.",
    )
    committed_at = models.DateTimeField()

    class Meta:
        ordering = ("load", "ordinal")
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(fields=["load", "ordinal"], name="ingest_chunk_once"),
        )

    def __str__(self) -> str:
        return f"Chunk {self.ordinal} of load {self.load_id}"


class KeyRange(models.Model):
    """A range of keys of a chunk's rows, both ends included, that contains no other row's key."""

    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="key_ranges")
    first = models.BigIntegerField()
    last = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


class KeyList(models.Model):
    """The keys of a chunk's rows, as text, if they do not form short ranges."""

    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="key_lists")
    keys = models.JSONField(help_text="A list of texts.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return counted(len(self.keys), "key")


class OldRows(models.Model):
    """The values of rows before a chunk changed or deleted them, in the order of these changes."""

    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="old_rows")
    is_deleted = models.BooleanField(help_text="Were they deleted, and not changed?")
    columns = models.JSONField(help_text="The columns whose values are kept, a list of names.")
    keys = TextArrayField(help_text="The rows' keys.")
    rows = TextArrayField(help_text="The old values of each row, as the text of ROW(...).")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"Old values of {counted(len(self.keys), 'row')}"


class SeenKeys(models.Model):
    """The keys of a chunk's records, kept until the load ends: a later record may repeat one."""

    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="seen_keys")
    sources = models.JSONField(help_text="The names of the files read so far, in order.")
    rows = TextArrayField(
        help_text="Each key with its record, as the text of a row of the load's temporary table."
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return counted(len(self.rows), "key")


class PendingRejects(models.Model):
    """A chunk's rejects, until the coordinator of the load writes them to the files.

    Several processes load chunks, and one of them writes the reject log and the reject file, in the
    order of the source. These rows keep the rejects safe if that process is killed in between.
    """

    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="pending_rejects")
    log = models.BinaryField(help_text="Lines of the reject log.")
    records = models.BinaryField(help_text="Refused records in the source's own format.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return counted(len(self.log) + len(self.records), "byte")


class Reject(models.Model):
    """One reason why one record was refused, with the fields of ``ingest.Reject``."""

    load = models.ForeignKey(Load, on_delete=models.CASCADE, related_name="rejects")
    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="rejects")
    source = models.TextField()
    record = models.BigIntegerField()
    line = models.BigIntegerField(null=True, blank=True)
    column = models.TextField(null=True, blank=True)  # noqa: DJ001 - None as in ``ingest.Reject``
    field = models.TextField(null=True, blank=True)  # noqa: DJ001
    value = models.TextField(null=True, blank=True)  # noqa: DJ001
    reason = models.TextField()
    kind = models.CharField(max_length=20)
    constraint = models.TextField(null=True, blank=True)  # noqa: DJ001

    class Meta:
        ordering = ("load", "pk")
        default_permissions = ("view",)
        indexes = (models.Index(fields=["load", "kind"], name="ingest_reject_load_kind"),)

    def __str__(self) -> str:
        return f"{self.source}, record {self.record}: {self.reason}"
