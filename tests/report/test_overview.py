"""All sheets of a kind side by side, and the picture of their ridge points."""

from __future__ import annotations

import numpy as np
import pytest

import roofline as rl
from roofline.report.overview import mixers, overview
from roofline.report.ridges import ridge_points
from roofline.report.tables import markdown, table
from roofline.specs import list_specs
from tests.cli.conftest import Run, cli  # noqa: F401


def test_every_accelerator_is_in_it_with_figures_worked_by_hand() -> None:
    ds = overview("accelerators")
    assert set(ds["accelerator"].values) == set(list_specs("accelerator"))
    h100 = ds.sel(accelerator="h100-sxm")
    assert h100["bf16_ridge"] == pytest.approx(989.4e12 / 3.35e12)
    assert h100["fp8_ridge"] == pytest.approx(1978.9e12 / 3.35e12)
    assert np.isnan(h100["fp4_ridge"])
    assert h100["flop_per_j"] == pytest.approx(1978.9e12 / 700)
    assert h100["bytes_per_j"] == pytest.approx(3.35e12 / 700)
    assert h100["domain"] == 8
    assert h100["grade"] == "published"
    assert ds.sel(accelerator="l40s")["grade"] == "estimated"


def test_every_model_is_in_it_with_its_counts() -> None:
    ds = overview("models")
    assert set(ds["model"].values) == set(list_specs("model"))
    r1 = ds.sel(model="deepseek-r1")
    assert r1["total_params"] == 671_026_419_200
    assert r1["kv_bytes_per_token"] == 70_272
    assert r1["kv_bytes_32k"] == 70_272 * 32768
    assert r1["state_bytes"] == 0


def test_mixers_name_what_sets_layers_apart() -> None:
    assert mixers(rl.Model.load("gemma-3-27b")) == ["52 gqa window 1024", "10 gqa"]
    assert mixers(rl.Model.load("deepseek-v3")) == ["61 mla"]


def test_a_choice_of_sheets_and_an_unknown_kind() -> None:
    assert overview("accelerators", ["h100-sxm"]).sizes == {"accelerator": 1}
    with pytest.raises(rl.InputError, match="no kind of overview named 'racks'"):
        overview("racks")  # type: ignore[arg-type]
    with pytest.raises(rl.InputError, match="no accelerator named 'h1000'"):
        overview("accelerators", ["h1000"])


def test_a_markdown_table_has_one_line_a_sheet() -> None:
    rows = table(overview("accelerators", ["h100-sxm", "l40s"]))
    lines = markdown(rows, {"accelerator": "part", "tdp_w": "TDP", "fp4_flop_per_s": "fp4"}).splitlines()
    assert lines == ["| part | TDP | fp4 |", "|---|---:|---:|", "| h100-sxm | 700 W | - |", "| l40s | 350 W | - |"]


def test_every_part_is_labelled_in_the_picture() -> None:
    ds = overview("accelerators")
    (axes,) = ridge_points(ds).axes
    labels = {text.get_text() for text in axes.texts}
    known = ds[["bf16_ridge", "fp8_ridge", "fp4_ridge"]].to_array().notnull().any("variable")
    assert labels == set(ds["accelerator"].values[known.values])
    assert axes.get_yscale() == "log"
    assert "FLOP per byte" in axes.get_ylabel()


def test_the_command_writes_table_and_picture(cli: Run, tmp_path) -> None:  # noqa: F811
    done = cli("specs", "table", "accelerators", "--only", "h100-sxm,h200-sxm", "--out", "parts.csv")
    assert done.returncode == 0, done.stderr
    header, *lines = (tmp_path / "parts.csv").read_text().splitlines()
    assert header.startswith("accelerator,name,vendor,memory_kind,year,bf16_flop_per_s [FLOP/s]")
    assert len(lines) == 2
    assert cli("specs", "table", "accelerators", "--out", "ridges.png").returncode == 0
    assert (tmp_path / "ridges.png").stat().st_size > 10_000
    assert "671G" in cli("specs", "table", "models", "--only", "deepseek-r1").stdout
    refused = cli("specs", "table", "models", "--out", "x.png")
    assert refused.returncode == 2
    assert "suffix .png" in refused.stderr
