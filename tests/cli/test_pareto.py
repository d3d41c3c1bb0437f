"""`roofline pareto` prints the points that the library finds, thinned for people, and draws them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import roofline as rl
from roofline.cli import options
from roofline.cli.documents import TableDocument
from roofline.cli.pareto import MOST
from roofline.planning.pareto import AGAINST
from tests.cli.conftest import Run

PARETO = ("pareto", "llama-3.1-8b", "hgx-h100,groq3-lpx", "--recipe", "fp8", "--workload", "8k/1k", "--ttft", "2")


def test_pareto_prints_what_the_library_finds(cli: Run) -> None:
    done = cli(*PARETO, "--tpot", "20ms", "--against", "tokens_per_s_per_mw", "--mode", "aggregated", "--json")
    assert done.returncode == 0, done.stderr
    document = TableDocument.model_validate_json(done.stdout)
    ds = rl.pareto(
        "llama-3.1-8b",
        ["hgx-h100", "groq3-lpx"],
        "fp8",
        workload="8k/1k",
        slo=rl.SLO(ttft_s=2.0, tpot_s=0.02),
        against="tokens_per_s_per_mw",
        modes="aggregated",
    )
    assert document.kind == "pareto"
    assert document.provenance["without"].startswith("llama-3.1-8b on groq3-lpx: ")
    assert len(document.rows) == ds.sizes["point"] > 3
    for name in ("tokens_per_s_per_user", "tokens_per_s_per_mw", "ttft"):
        np.testing.assert_array_equal([row[name] for row in document.rows], ds[name].values)


def test_the_table_is_thinned_and_says_what_has_no_point(cli: Run, tmp_path: Path) -> None:
    done = cli(*PARETO, "--against", "tokens_per_mwh", "--out", "x.csv")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum("dgx-h100" not in line and "tp" in line and " ms" in line for line in lines) == MOST
    assert any(line.endswith("more rows; --out FILE.csv or --json gives all of them") for line in lines)
    assert any(line.startswith("llama-3.1-8b on groq3-lpx: the power of the part") for line in lines)
    assert "workload 8k/1k  slo ttft 2 s" in lines[0]
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) > MOST
    for row in rows:
        assert (row["workload"], row["slo"], row["against"]) == ("8k/1k", "ttft 2 s", "tokens_per_mwh")


@pytest.mark.parametrize("suffix", ["png", "svg", "nc", "zarr", "parquet"])
def test_out_by_suffix(cli: Run, tmp_path: Path, suffix: str) -> None:
    done = cli(*PARETO, "--mode", "static", "--out", f"x.{suffix}")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{suffix}"]


def test_where_nothing_is_a_point_the_reason_stands_alone(cli: Run, tmp_path: Path) -> None:
    slow = ("pareto", "llama-3.1-8b", "hgx-h100", "--recipe", "fp8", "--tpot", "1e-5")
    done = cli(*slow)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Nothing runs and meets the limits.\nllama-3.1-8b on dgx-h100: the nearest candidate")
    drawn = cli(*slow, "--out", "x.png")
    assert drawn.returncode == 2
    assert "no deployment to draw: llama-3.1-8b on dgx-h100" in drawn.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (("--against", "money"), "'money' is not one of"),
        (("--mode", "attention_ffn"), "'attention_ffn' is not one of"),
        (("--slo", "tpot=1"), "--ttft and --slo: give one of them"),
        (("--out", "x.jpg"), "suffix .jpg is not one of"),
    ],
)
def test_bad_input_is_one_message(cli: Run, bad: tuple[str, ...], said: str) -> None:
    done = cli(*PARETO, *bad)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def test_one_frontier_has_one_slo(cli: Run) -> None:
    done = cli("pareto", "llama-3.1-8b", "hgx-h100", "--slo", "tpot=1", "--slo", "none")
    assert done.returncode == 2
    assert "--slo: given more than once; a frontier is of one" in done.stderr


def test_options_name_what_the_library_knows() -> None:
    assert [one.value for one in options.Against] == list(AGAINST)
