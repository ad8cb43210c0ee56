import os

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings

SHORT_EXAMPLES, LONG_EXAMPLES = 120, 3_000
"""Hypothesis examples for each family; each example is a column of up to ten cells."""
COUNTS = {"examples": 0, "cells": 0}

CALM = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
# The short run is the same every time, so that it fails only for who broke something.
settings.register_profile("short", max_examples=SHORT_EXAMPLES, derandomize=True, **CALM)
settings.register_profile("long", max_examples=LONG_EXAMPLES, print_blob=True, **CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


@pytest.fixture
def autocommit(django_db_setup, django_db_blocker):
    """Open the test database without a transaction around the test: tables are temporary."""
    with django_db_blocker.unblock():
        yield
        connection.close()


def pytest_terminal_summary(terminalreporter):
    if COUNTS["cells"]:
        terminalreporter.write_line(
            "Compared with the ORM: {cells:,} cells in {examples:,} examples.".format(**COUNTS)
        )
