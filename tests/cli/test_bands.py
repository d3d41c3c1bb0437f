"""Commands print bands, put them into JSON, and say how many measurements lie within."""

from __future__ import annotations

import json

import pytest

from roofline.serving.bands import QUANTITIES, factors
from tests.cli.conftest import Run

WHERE = ("llama-3.1-8b", "hgx-h100", "--workload", "1k/256", "--stack", "trtllm")


def test_serve_prints_a_line_and_json_has_the_ends(cli: Run) -> None:
    shown = cli("serve", *WHERE, "--recipe", "fp8", "--concurrency", "8")
    assert shown.returncode == 0, shown.stderr
    assert "80 % bands, closed, calibrated: TPOT -" in shown.stdout
    (row,) = json.loads(cli("serve", *WHERE, "--recipe", "fp8", "--concurrency", "8", "--json").stdout)["rows"]
    ends = factors("tpot", "closed", "calibrated")
    assert ends is not None
    assert [row["tpot_low"], row["tpot_high"]] == pytest.approx([ends[0] * row["tpot"], ends[1] * row["tpot"]])
    assert (row["tier"], row["energy_tier"]) == ("calibrated", "calibrated")
    assert row["tokens_per_mwh_low"] < row["tokens_per_mwh"] < row["tokens_per_mwh_high"]


def test_plan_prints_a_line_and_json_has_the_ends(cli: Run) -> None:
    shown = cli("plan", *WHERE, "--tpot", "0.02", "--mode", "static")
    assert shown.returncode == 0, shown.stderr
    assert "80 % bands, batch, calibrated: TPOT -" in shown.stdout
    (row,) = json.loads(cli("plan", *WHERE, "--tpot", "0.02", "--mode", "static", "--json").stdout)["rows"]
    assert row["ttft_low"] < row["ttft"] < row["ttft_high"]
    assert row["tier"] == "calibrated"


def test_decode_claims_none(cli: Run) -> None:
    done = cli("decode", "llama-3.1-8b", "hgx-h100", "--recipe", "fp8", "--batch", "8")
    assert done.returncode == 0, done.stderr
    assert "bands" not in done.stdout


def test_validate_says_how_many_of_the_shipped_points_lie_within(cli: Run) -> None:
    lines = json.loads(cli("validate", "--json").stdout)["rows"]
    of_all = {line["quantity"]: line for line in lines if not line["by"] and not line["flagged"]}
    for name in QUANTITIES:
        assert 0.5 <= of_all[name]["coverage"] <= 1.0
    assert "coverage" in cli("validate").stdout
