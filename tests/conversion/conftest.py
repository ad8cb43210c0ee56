import pytest
from django.db import connection

COUNTS = {"examples": 0, "cells": 0}


@pytest.fixture
def temporary_tables(transactional_db):
    """Drop the test's temporary tables with the connection."""
    yield
    connection.close()


def pytest_terminal_summary(terminalreporter):
    if COUNTS["cells"]:
        terminalreporter.write_line(
            "Compared with the ORM: {cells:,} cells in {examples:,} examples.".format(**COUNTS)
        )
