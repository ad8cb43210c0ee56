"""A file on its way while browsers are closed and the web server is restarted."""

import subprocess
import sys


def test_no_row_is_lost_or_doubled():
    command = [sys.executable, "-m", "tests.performance.chromium", "--rows", "100000"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "100,000 rows, load loaded, 100,000 counted" in done.stdout
