"""ds.roofline: the best cells, why there are none, pictures and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import roofline as rl


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return rl.decode(
        ["llama-3.3-70b"],
        ["dgx-h100", "dgx-b200"],
        ["fp8", "bf16"],
        tp=[1, 2, 3, 4],
        batch=[1, 64, 4096],
        context=[2048, 8192],
    )


def test_best_equals_a_loop_over_the_candidates(ds: xr.Dataset) -> None:
    rolled = ds.roofline.rollup("facility")
    best = rolled.roofline.best()
    assert set(best["tokens_per_mwh"].dims) == {"model", "system", "batch", "context"}
    for place in np.ndindex(1, 2, 3, 2):
        at = dict(zip(("model", "system", "batch", "context"), place, strict=True))
        candidates, one = rolled.isel(at), best.isel(at)
        values = candidates["tokens_per_mwh"]
        if not values.notnull().any():
            assert one["recipe"].item() == one["deployment"].item() == ""
            assert np.isnan(one["tokens_per_mwh"])
            assert np.isnan(one["tp"])
            assert one["limit"] != 0
            continue
        assert one["tokens_per_mwh"] == values.max()
        winner = candidates.sel(recipe=one["recipe"].item(), deployment=one["deployment"].item())
        assert one["tokens_per_mwh"] == winner["tokens_per_mwh"]
        assert one["tp"] == winner["tp"]
        assert one["memory"] == winner["memory"]


def test_less_is_better_of_seconds(ds: xr.Dataset) -> None:
    best = ds.roofline.best("tpot", over="deployment")
    expected = ds["tpot"].min("deployment")
    xr.testing.assert_equal(
        best["tpot"].transpose(*expected.dims).drop_vars(best["tpot"].coords), expected.drop_vars(expected.coords)
    )


def test_reasons_are_words_exactly_where_nothing_runs(ds: xr.Dataset) -> None:
    reasons = ds.roofline.reasons()
    assert ((reasons == "") == ds["tpot"].notnull()).all()
    assert (reasons.sel(deployment="tp3") == "query heads do not divide by tp").all()


def test_heatmap_draws_a_panel_a_pair_and_writes_it(ds: xr.Dataset, tmp_path: Path) -> None:
    figure = ds.roofline.heatmap(out=tmp_path / "a.png")
    assert len(figure.axes) == 2 + 1  # two systems and the scale
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    figure = ds.roofline.heatmap("tpot", rows="system", columns="recipe")
    assert len(figure.axes) == 4 + 1


def test_a_prompt_has_isl_on_its_axis() -> None:
    ds = rl.prefill("llama-3.3-70b", "dgx-h100", "fp8", tp=8, batch=[1, 2], isl=[1024, 2048])
    axes = ds.roofline.heatmap().axes[0]
    assert "ISL" in axes.get_xlabel()


def test_a_plan_is_drawn_over_prompts_and_slos(tmp_path: Path) -> None:
    asked = [rl.Workload(isl=isl, osl=64, name=str(isl)) for isl in (4096, 1024)]
    slos = [rl.SLO(tpot_s=1e-5), rl.SLO(tpot_s=0.02), rl.SLO(ttft_s=1.0, tpot_s=0.05)]
    ds = rl.plan("llama-3.1-8b", "dgx-h100", workload=asked, slo=slos, modes="aggregated", most_accelerators=1)
    figure = ds.roofline.heatmap(x="isl", y="slo", out=tmp_path / "plan.png")
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1k", "4k"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [slo.replace(", ", "\n") for slo in ds["slo"].values]
    drawn = np.ma.filled(axes.collections[0].get_array(), np.nan)
    wanted = ds["tokens_per_mwh"].squeeze().sortby("isl").transpose("slo", "workload")
    np.testing.assert_array_equal(drawn.reshape(wanted.shape), wanted)
    assert "nothing meets the SLO" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "SLO ttft 1 s" in axes.texts[0].get_text()
    assert "aggregated" in axes.texts[0].get_text()
    with pytest.raises(rl.InputError, match="several of workload have the same osl"):
        ds.roofline.heatmap(x="osl", y="slo")


def test_a_table_is_saved_through_the_accessor(ds: xr.Dataset, tmp_path: Path) -> None:
    ds.roofline.save(tmp_path / "cells.csv")
    assert "tpot [s]" in (tmp_path / "cells.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda r: r.heatmap("tokens_per_mwh"), "roll it up first"),
        (lambda r: r.heatmap("tpott"), "did you mean tpot"),
        (lambda r: r.heatmap(x="contxt"), "did you mean context"),
        (lambda r: r.heatmap(x="batch", y="batch"), "have to differ"),
        (lambda r: r.best("tpot", over="deploy"), "did you mean deployment"),
        (lambda r: r.heatmap(out="a.xyz"), "xyz"),
    ],
)
def test_bad_input_is_named(ds: xr.Dataset, call, what: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(rl.InputError, match=what):
        call(ds.roofline)
