"""`roofline metrics` prints every measure with its rank, and where two rankings disagree."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import roofline as rl
from roofline.cli.documents import MetricsDocument
from roofline.cli.metrics import HEADERS
from roofline.planning.metrics import MEASURES
from tests.cli.conftest import Run

METRICS = ("metrics", "llama-3.1-8b", "hgx-h100,hgx-b200,gb300-nvl72,groq3-lpx", "--tpot", "20ms", "--mode", "static")


def test_metrics_prints_what_the_library_finds(cli: Run) -> None:
    done = cli(*METRICS, "--json")
    assert done.returncode == 0, done.stderr
    document = MetricsDocument.model_validate_json(done.stdout)
    systems = ["hgx-h100", "hgx-b200", "gb300-nvl72", "groq3-lpx"]
    ds = rl.metrics("llama-3.1-8b", systems, workload="1k/1k", slo=rl.SLO(tpot_s=0.02), modes="static")
    assert len(document.rows) == ds["value"].size == len(systems) * len(MEASURES)
    for row in document.rows:
        cell = ds.sel(system=row["system"], measure=row["measure"])
        assert row["value"] == (float(cell["value"].item()) if cell["value"].notnull() else None)
        assert row["rank"] == (float(cell["rank"].item()) if cell["rank"].notnull() else None)
    assert len(document.agreement) == len(MEASURES) * (len(MEASURES) - 1) // 2
    for pair in document.agreement:
        held = ds.sel(measure=pair.measure, other=pair.other)
        assert pair.reversed_pairs == int(held["reversed_pairs"].item())


def test_the_table_has_ranks_and_says_where_they_disagree(cli: Run, tmp_path: Path) -> None:
    done = cli(*METRICS, "--out", "x.csv")
    assert done.returncode == 0, done.stderr
    assert set(HEADERS) == set(MEASURES)
    for header in HEADERS.values():
        assert header in done.stdout
    lines = done.stdout.splitlines()
    best = {row["system"] for row in _rows(tmp_path / "x.csv") if row["rank"] == "1.0"}
    assert best
    for system in best:
        assert any(line.startswith(system) and "(1)" in line for line in lines)
    document = MetricsDocument.model_validate_json(cli(*METRICS, "--json").stdout)
    said = sum(" disagree on " in line for line in lines)
    assert said == sum(pair.reversed_pairs > 0 for pair in document.agreement)
    assert any(line.startswith("power: the power of the part") for line in lines)


def test_a_csv_has_a_row_a_measure_with_units(cli: Run, tmp_path: Path) -> None:
    assert cli(*METRICS, "--out", "x.csv").returncode == 0
    rows = _rows(tmp_path / "x.csv")
    assert len(rows) == 4 * len(MEASURES)
    for row in rows:
        assert (row["units"], row["meaning"]) == MEASURES[row["measure"]]
        assert row["fidelity"] == "serving"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("llama-3.1-8b", "hgx-h100"), "no limit given: goodput is of requests that meet one"),
        (("llama-3.1-8b", "hgx-h100", "--slo", "tpot=1", "--slo", "ttft=1"), "--slo: given more than once"),
        (("llama-3.1-8b", "hgx-h100", "--tpot", "1", "--out", "x.png"), "suffix .png is not one of"),
        (("llama-9", "hgx-h100", "--tpot", "1"), "no model named 'llama-9'"),
    ],
)
def test_bad_input_is_one_message(cli: Run, words: tuple[str, ...], said: str) -> None:
    done = cli("metrics", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr
