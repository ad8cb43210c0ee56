import dataclasses
import io

import pytest
from rich.console import Console

from ingest.benchmark.methods.base import Costs
from ingest.benchmark.report import advise, render
from ingest.benchmark.report.plot import draw
from ingest.benchmark.result import (
    BenchmarkResult,
    Explanation,
    MethodResult,
    PartCost,
    Sample,
)
from ingest.conversion.slow_fields import SlowField

ENVIRONMENT = {
    "postgresql": "18.4",
    "django": "5.2",
    "python": "3.11",
    "asyncpg": "0.32",
    "psycopg": "3.3",
    "cpu": "a processor",
    "cpu_count": 2,
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "bulk_create_uses_unnest": True,
}
TABLE = {
    "model": "shop.Order",
    "name": "public.shop_order",
    "indexes": ["one"],
    "foreign_keys": [],
    "triggers": [],
    "source": None,
    "seed": 1,
}


def method(name, rows, *seconds, **options):
    samples = tuple(
        Sample(seconds=s, wal_bytes=10**6, client_cpu_seconds=s / 2, peak_memory_bytes=None)
        for s in seconds
    )
    return MethodResult(
        method=name, rows=rows, samples=samples, **({"verified": bool(samples)} | options)
    )


def benchmark(*results, **options):
    return BenchmarkResult(environment=ENVIRONMENT, table=TABLE, results=results, **options)


def text(result, width=118):
    console = Console(file=io.StringIO(), width=width)
    console.print(render(result))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "stable"),
    [((1.0,), None), ((1.0, 1.25), True), ((1.0, 1.0, 1.25), True), ((1.0, 1.0, 1.26), False)],
)
def test_noise_is_a_spread_of_more_than_a_quarter_of_the_median(seconds, stable):
    assert method("copy", 10, *seconds).stable is stable


def test_a_result_has_median_spread_and_speed():
    got = method("copy", 10, 4.0, 1.0, 2.0)
    assert (got.median_seconds, got.spread_seconds, got.rows_per_second) == (2.0, 3.0, 5.0)


@pytest.mark.parametrize(
    ("results", "want"),
    [
        (
            [method("bulk_create", 100_000, 6.0), method("copy", 100_000, 2.0)],
            (
                "Load 100,000 rows with `manage.py bulk_load shop.Order FILE --method copy`: "
                "copy takes 2.00 s, 3.0 times faster than bulk_create (6.00 s)."
            ),
        ),
        (
            [method("bulk_create", 9, 6.0), method("copy", 9, 2.0), method("direct", 9, 1.5)],
            (
                "Load 9 rows with `manage.py bulk_load shop.Order FILE`: "
                "direct takes 1.50 s, 4.0 times faster than bulk_create (6.00 s)."
            ),
        ),
        (
            [method("bulk_create", 100, 0.03), method("copy", 100, 0.01)],
            (
                "At 100 rows copy is 3.0 times faster than bulk_create, but saves only 0.02 s: "
                "keep bulk_create unless you load more often or more rows."
            ),
        ),
        (
            [method("bulk_create", 100, 5.0), method("copy", 100, 4.5)],
            "At 100 rows no method is clearly faster than bulk_create (5.00 s): keep it.",
        ),
        (
            [method("bulk_create", 100, 5.0), method("copy", 100, 1.0, verified=False)],
            (
                "At 100 rows no method is clearly faster than bulk_create (5.00 s): keep it. "
                "Do not use copy here: see its note."
            ),
        ),
        (
            [
                method("copy", 9, 2.0),
                method("direct", 9, 1.5),
                method("psql", 9, 6.0, is_yardstick=True),
                method("floor", 9, 0.5, is_yardstick=True),
            ],
            (
                "Load 9 rows with `manage.py bulk_load shop.Order FILE`: "
                "direct takes 1.50 s, 4.0 times faster than psql (6.00 s)."
            ),
        ),
        (
            [method("copy", 100, 1.0, verified=False)],
            "No method stored the rows: see the notes in the table.",
        ),
    ],
)
def test_it_ends_in_a_sentence_to_act_on(results, want):
    result = benchmark(*results)
    assert advise(result) == want
    assert " ".join(text(result).split()).endswith(want)


def test_a_wrong_method_has_no_rank():
    got = text(
        benchmark(
            method("bulk_create", 100, 5.0),
            method("copy", 100, 1.0, verified=False, note="wrong: it stored 99 rows"),
        )
    )
    [line] = [line for line in got.splitlines() if line.split()[1:2] == ["copy"]]
    assert "NO: wrong" in line
    assert "5.00" not in line
    assert "1.000" in line


def test_caps_noise_and_notes_are_shown():
    got = text(
        benchmark(
            method("save", 100, verified=None, note="capped at 10 rows"),
            method("bulk_create", 100, 1.0, 2.0),
            notes=("Only a part [was] copied.",),
        )
    )
    assert "~1.500 ± 0.500" in got
    assert "~ noisy: " in got
    assert "Only a part [was] copied." in got
    assert "capped" in got


def test_it_fits_its_width():
    lines = text(
        benchmark(
            method("executemany", 1_000_000, 123.456, 100.0),
            method("bulk_create", 1_000_000, 1234.5678),
        )
    ).splitlines()
    assert max(map(len, lines)) <= 118
    assert any("10,000" in line or "8,950" in line for line in lines)


@pytest.mark.parametrize(
    ("width", "want"),
    [
        (80, ["rows", "method", "seconds", "\N{MULTIPLICATION SIGN}", "bulk_create", "verified"]),
        (
            118,
            [
                *("rows", "method", "seconds", "rows/s", "\N{MULTIPLICATION SIGN}", "bulk_create"),
                *("WAL", "client", "CPU", "peak", "memory", "verified"),
            ],
        ),
    ],
)
def test_the_table_is_whole_at_any_width(width, want):
    result = benchmark(
        method("executemany", 1_000_000, 123.456, 100.0),
        method("bulk_create", 1_000_000, 1234.5678, 1230.0),
        method("save", 1_000_000, verified=None, note="capped at 10,000 rows"),
        method("copy", 1_000_000, 1.0, 1.1, verified=False, note="wrong: it stored 99 rows"),
    )
    shown = text(result, width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    [head] = [line for line in lines if line.split()[:1] == ["rows"] and "method" in line]
    assert head.split() == want
    figures = {line.split()[1]: line.split() for line in lines if line.split()[:1] == ["1,000,000"]}
    assert set(figures) == {"executemany", "bulk_create", "save", "copy"}
    assert figures["bulk_create"][2:5] == ["1232.284", "±", "2.284"]
    assert figures["bulk_create"][-1] == "yes"
    table = " ".join(" ".join(lines[lines.index(head) :]).split())
    assert "…" not in table
    for word in ("capped", "10,000", "wrong:", "stored"):
        assert word in table


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_plot_names_every_method_that_was_verified(suffix, tmp_path):
    path = tmp_path / f"plot.{suffix}"
    draw(
        benchmark(
            method("bulk_create", 10, 1.0, 2.0),
            method("copy", 10, 0.5),
            method("bulk_create", 100, 10.0, 11.0),
            method("copy", 100, 9.9),
            method("executemany", 100, 9.8, verified=False),
        ),
        path,
    )
    content = path.read_bytes()
    assert len(content) > 1_000
    if suffix == "svg":
        assert b"<!-- bulk_create -->" in content
        assert b"<!-- copy -->" in content
        assert b"<!-- executemany -->" not in content


def test_a_plot_without_results_is_empty_axes(tmp_path):
    draw(benchmark(method("copy", 10, verified=None)), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1_000


EXPLANATION = Explanation(
    rows=1_000_000,
    rounds=3,
    parts=(
        PartCost(
            kind="table", name="the rows themselves", microseconds=0.6, spread_microseconds=0.1
        ),
        PartCost(
            kind="foreign key",
            name="a_very_long_name_of_a_foreign_key_that_goes_on_and_on_fk_x",
            microseconds=4.25,
            spread_microseconds=0.5,
        ),
    ),
    copy_microseconds=5.0,
    saved_by_references=3.5,
    saved_by_indexes=-0.25,
    saved=3.25,
    decisions=("References: 1 foreign key [checked] as a set.",),
)


def test_an_explanation_says_what_each_part_costs_and_what_direct_saves():
    got = text(benchmark(explanation=EXPLANATION))
    lines = [line.split() for line in got.splitlines()]
    assert ["the", "rows", "themselves", "0.60", "0.10", "12%"] in lines
    assert ["foreign", "key", EXPLANATION.parts[1].name, "4.25", "0.50", "88%"] in lines
    assert ["all", "together", "4.85", "100%"] in lines
    assert ["direct:", "references", "as", "a", "set", "-3.50"] in lines
    assert ["direct:", "indexes", "built", "once", "+0.25"] in lines
    assert "References: 1 foreign key [checked] as a set." in got
    assert " ".join(got.split()).endswith(
        "At 1,000,000 rows, copy takes 5.00 µs a row and direct 1.75 µs: it saves 3.25 µs a row "
        "with every constraint kept."
    )


def test_an_explanation_is_whole_at_80_columns():
    lines = text(benchmark(explanation=EXPLANATION), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    figures = [line.split()[-3:] for line in lines]
    assert ["0.60", "0.10", "12%"] in figures
    assert ["4.25", "0.50", "88%"] in figures
    name = EXPLANATION.parts[1].name
    assert name in "".join(line.strip() for line in lines)


def test_the_plot_of_an_explanation_names_every_part(tmp_path):
    path = tmp_path / "plot.svg"
    draw(benchmark(explanation=EXPLANATION), path)
    content = path.read_text(encoding="utf-8")
    for want in ("the rows themselves", "foreign key", "direct: both", "4.25", "µs a row at"):
        assert f"<!-- {want}" in content


def test_decisions_are_shown_once_for_as_long_as_they_are_the_same():
    got = text(
        benchmark(
            method("direct", 10, 1.0, decisions=("Plain [COPY].",)),
            method("direct", 100, 1.0, decisions=("Indexes kept.", "References checked.")),
            method("direct", 1_000, 1.0, decisions=("Indexes kept.", "References checked.")),
        )
    )
    assert [line.rstrip() for line in got.splitlines() if line.startswith("direct, ")] == [
        "direct, from 10 rows: Plain [COPY].",
        "direct, from 100 rows: Indexes kept. References checked.",
    ]


def test_the_last_lines_say_where_direct_spends_its_time():
    slow = SlowField(
        name="[title]", reason="validator a.b", values=2, are_distinct=True, seconds=0.5
    )
    costs = Costs(
        seconds=2.0,
        stages={"read": 0.2, "convert": 1.0, "encode": 0.1, "send": 0.3, "build indexes": 0.4},
        fields={"number": 0.2, "[title]": 0.6},
        slow_fields=(slow,),
    )
    got = text(
        benchmark(
            method("bulk_create", 100, 9.0),
            method("direct", 10, 1.0, costs=dataclasses.replace(costs, seconds=9.0)),
            method("direct", 100, 2.0, costs=costs),
        )
    )
    lines = [line.rstrip() for line in got.splitlines() if line.rstrip()]
    place = lines.index(next(line for line in lines if line.startswith("Load 100 rows with ")))
    assert lines[place - 2 : place] == [
        "Time of direct at 100 rows: reading 10%, converting 50%, sending 20%, indexes 20%.",
        "Slowest field: [title] (validator a.b), 30% of the time.",
    ]
