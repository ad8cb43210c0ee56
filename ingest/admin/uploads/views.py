"""The view of each step, by the step's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.admin.uploads.file_views import FileStep, MappingStep
from ingest.admin.uploads.load_views import CheckStep, ConfirmStep, OptionsStep, PreviewStep

if TYPE_CHECKING:
    from ingest.admin.uploads.step_view import StepView

VIEWS: dict[str, type[StepView]] = {
    view.name: view
    for view in (FileStep, MappingStep, OptionsStep, PreviewStep, CheckStep, ConfirmStep)
}
