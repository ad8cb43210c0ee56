"""The project as a figure's own web server runs it: on a scratch database."""

import os

from settings.testing import *

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES["default"]["NAME"] = os.environ.get("INGEST_FIGURES_DATABASE", "postgres")
INGEST = {**INGEST, "UPLOAD_FOLDER": os.environ.get("INGEST_FIGURES_UPLOADS")}
if "INGEST_FIGURES_UPLOAD_BYTES" in os.environ:
    INGEST["UPLOAD_BYTES"] = int(os.environ["INGEST_FIGURES_UPLOAD_BYTES"])
