"""docs/frontiers.md: its tables have a row for each series, and our frontiers stay where they stand today."""

from __future__ import annotations

import csv
import math
import runpy
from functools import cache
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT, table

PAGE = DOCS / "frontiers.md"
DATA = ROOT / "tests" / "data" / "deepseek_frontiers.csv"

BANDS = {
    ("1k/1k", "H200, fp8"): (0.6, 1.2),
    ("1k/1k", "B200, fp8"): (0.55, 1.2),
    ("1k/1k", "B200, fp4"): (0.8, 2.8),
    ("1k/1k", "GB300, fp4"): (0.7, 1.7),
    ("8k/1k", "H200, fp8"): (0.75, 1.3),
    ("8k/1k", "B200, fp8"): (0.7, 1.2),
    ("8k/1k", "B200, fp4"): (0.7, 1.8),
    ("8k/1k", "GB300, fp4"): (0.7, 1.9),
}
"""Ours over measured at 50 tokens/s of a user. What is nearer to 1 may narrow a band; nothing should widen one."""

DRIFT = 0.1
"""By how much a figure of the page may differ from today's before the page is to be made again."""


@cache
def made() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "make_frontiers.py"))


@cache
def known() -> Any:
    return made()["curves"]()


def figure(cell: str) -> float:
    return math.nan if cell == "n/a" else float(cell.replace(",", ""))


def test_the_tables_have_a_row_for_each_series_and_workload() -> None:
    names, workloads = [one.label for one in made()["SERIES"]], list(made()["ISLS"].values())
    rows = [(workload, name) for workload in workloads for name in names]
    assert [(row[0], row[1]) for row in table(PAGE, "compared")] == rows
    assert [(row[0], row[1]) for row in table(PAGE, "aggregated")] == [row for row in rows if row[1] != names[-1]]
    assert [row[0] for row in table(PAGE, "generations")] == workloads
    assert set(BANDS) == set(rows)


def test_the_page_says_what_is_found_today() -> None:
    """Figures within DRIFT, n/a where it is n/a: else run python docs/make_frontiers.py."""
    for mark in ("compared", "generations"):
        for printed, row in zip(table(PAGE, mark), made()[mark](known()), strict=True):
            words = 2 if mark == "compared" else 1
            assert printed[:words] == row[:words]
            for now, then in zip(row[words:], printed[words:], strict=True):
                assert figure(then) == pytest.approx(figure(now), rel=DRIFT, nan_ok=True), (row, printed)


@pytest.mark.parametrize(("workload", "label"), BANDS)
def test_ours_stays_within_its_band_of_what_was_measured(workload: str, label: str) -> None:
    isl = next(isl for isl, name in made()["ISLS"].items() if name == workload)
    mine, theirs = known()[label, isl]
    low, high = BANDS[workload, label]
    assert low <= mine.at(50) / theirs.at(50) <= high


def test_an_envelope_has_no_point_that_another_beats() -> None:
    for _, theirs in known().values():
        assert (theirs.x[1:] > theirs.x[:-1]).all()
        assert (theirs.y[1:] < theirs.y[:-1]).all()


def test_every_measured_row_names_its_public_run_and_is_plausible() -> None:
    with DATA.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert 100 <= len(rows) <= 150
    for row in rows:
        assert row["reference"].startswith("github.com/SemiAnalysisAI/InferenceX/actions/runs/")
        # Little's law: clients share what is made; the rest of their time they wait for a first token.
        per_client = float(row["output_tokens_per_s_per_gpu"]) * int(row["gpus"]) / int(row["concurrency"])
        assert per_client <= 1.05e3 / float(row["tpot_ms"])
