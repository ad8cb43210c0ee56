"""Measures what each way to load costs, on a scratch copy of a model's table.

New ways to measure are added as options and methods: see ``BenchmarkOptions`` and
``ingest.benchmark.methods``.
"""

from ingest.benchmark.options import BenchmarkOptions, add_arguments
from ingest.benchmark.report.display import handle
from ingest.benchmark.result import BenchmarkResult, MethodResult, Sample
from ingest.benchmark.run import Progress, run_benchmark

__all__ = [
    "BenchmarkOptions",
    "BenchmarkResult",
    "MethodResult",
    "Progress",
    "Sample",
    "add_arguments",
    "handle",
    "run_benchmark",
]
