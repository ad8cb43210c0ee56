"""Build the documentation: python -m sphinx -W -b html docs docs/_build."""

import os
import sys
from pathlib import Path

import django

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.documentation")
django.setup()

import ingest  # noqa: E402 - models need Django's settings first

project = "django-ingest"
author = "the django-ingest contributors"
copyright = author  # noqa: A001 - Sphinx's own name
release = ingest.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = [".md"]
html_theme = "furo"
html_title = f"django-ingest {release}"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
nitpicky = False
suppress_warnings: list[str] = []
