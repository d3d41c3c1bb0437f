"""ds.roofline.band: between what a measurement is to be expected, as arrays, in files and in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.report.bands import BESIDE, OF_QUANTITY, lines
from roofline.serving.bands import factors

MODEL, WORK = "llama-3.1-8b", {"workload": "1k/256"}


@pytest.fixture(scope="module")
def served() -> xr.Dataset:
    return rl.serve(MODEL, ["dgx-h100", "mi355x-8"], "fp8", tp=[1, 2], concurrency=[4, 32], stack="trtllm", **WORK)


@pytest.fixture(scope="module")
def planned() -> xr.Dataset:
    return rl.plan(
        MODEL,
        ["dgx-h100", "mi355x-8"],
        slo=[{"tpot_s": 0.02}, {"tpot_s": 1e-6}],
        stack="trtllm",
        modes="static",
        deployments=[{"tp": 1}],
        **WORK,
    )


def test_a_band_is_that_of_its_kind_and_tier(served: xr.Dataset) -> None:
    assert served.tier.values.tolist() == ["calibrated", "sheet"]
    low, high = served.roofline.band("tpot")
    assert set(low.dims) == set(served.tpot.dims)
    assert (low.name, high.name, low.units) == ("tpot_low", "tpot_high", "s")
    for system, tier in zip(("dgx-h100", "mi355x-8"), ("calibrated", "sheet"), strict=True):
        ends = factors("tpot", "closed", tier)
        assert ends is not None
        one = {"system": system, "recipe": "fp8"}
        np.testing.assert_allclose(low.sel(one), ends[0] * served.tpot.sel(one))
        np.testing.assert_allclose(high.sel(one), ends[1] * served.tpot.sel(one))


@pytest.mark.parametrize("name", OF_QUANTITY)
def test_every_figure_lies_within_its_band(served: xr.Dataset, planned: xr.Dataset, name: str) -> None:
    for ds in (rl.rollup(served, "rack"), planned):
        if name in ds:
            low, high = ds.roofline.band(name)
            values = ds[name].transpose(*low.dims)
            known = np.isfinite(values.values) & (values.values > 0)
            assert known.any()
            assert (low.values < values.values)[known].all()
            assert (values.values < high.values)[known].all()


def test_what_falls_with_a_quantity_has_its_band_turned_over(served: xr.Dataset) -> None:
    low, high = served.roofline.band("tpot")
    slow, fast = served.roofline.band("tokens_per_s_per_user")
    np.testing.assert_allclose(slow, 1.0 / high)
    np.testing.assert_allclose(fast, 1.0 / low)


def test_a_plan_has_the_band_of_the_mode_it_chose(planned: xr.Dataset) -> None:
    ends = factors("ttft", "batch", "calibrated")
    assert ends is not None
    chosen = planned.sel(system="dgx-h100").isel(slo=0).squeeze()
    assert chosen.tier == chosen.energy_tier == "calibrated"
    np.testing.assert_allclose(
        [end.item() for end in chosen.roofline.band("ttft")], np.array(ends) * chosen.ttft.item()
    )
    missed = planned.isel(slo=1)
    assert (missed.tier == "").all()
    assert np.isnan(missed.roofline.band("ttft")[0]).all()


def test_two_pools_are_of_the_lower_of_their_tiers() -> None:
    ds = rl.plan(
        MODEL,
        "dgx-h100",
        prefill_systems="mi355x-8",
        modes="disaggregated",
        deployments=[{"tp": 1}],
        stack="vllm",
        **WORK,
    )
    on = ds.prefill_system.item()
    assert on in ("dgx-h100", "mi355x-8")
    assert ds.tier.item() == {"dgx-h100": "calibrated", "mi355x-8": "sheet"}[on]


def test_attention_and_feed_forward_apart_claim_none() -> None:
    ds = rl.plan(
        "qwen3-30b-a3b",
        "dgx-h100",
        ffn_systems="dgx-h100",
        modes="attention_ffn",
        deployments=[{"tp": 1, "dp": 4, "ep": 4}],
        stack="vllm",
        **WORK,
    )
    assert ds.tier.item() == ""
    assert np.isnan(ds.roofline.band("tpot")[0]).all()


def test_a_rate_is_given_and_has_no_band() -> None:
    ds = rl.serve(MODEL, "dgx-h100", "fp8", rate=2.0, stack="trtllm", **WORK)
    assert np.isnan(ds.roofline.band("output_tokens_per_s")[0]).all()
    assert np.isfinite(ds.roofline.band("tpot")[0]).all()
    assert "tokens/s" not in lines(ds)[0]


def test_files_have_the_ends_beside_each_figure(served: xr.Dataset, tmp_path: Path) -> None:
    ds = served.roofline.with_bands()
    assert {f"{name}_{end}" for name in BESIDE if name in served for end in ("low", "high")} <= set(ds.data_vars)
    assert ds.tpot_low.dims == served.tpot.dims
    ds.roofline.save(tmp_path / "served.csv")
    header = (tmp_path / "served.csv").read_text().splitlines()[0]
    assert "tpot_low [s]" in header
    assert "energy_tier" in header


def test_lines_say_it_in_percent_for_each_group_of_systems(served: xr.Dataset) -> None:
    first, second = lines(served)
    ends = factors("tpot", "closed", "calibrated")
    assert ends is not None
    assert first.startswith("80 % bands, closed, calibrated (dgx-h100): ")
    assert f"TPOT {100 * (ends[0] - 1):+.0f} to {100 * (ends[1] - 1):+.0f} %" in first
    assert "sheet (mi355x-8)" in second


def test_a_pass_by_itself_has_none() -> None:
    ds = rl.decode(MODEL, "dgx-h100", "fp8", batch=8, context=2048)
    assert lines(ds) == []
    assert ds.roofline.with_bands() is ds
    with pytest.raises(rl.InputError, match="fidelity kernel"):
        ds.roofline.band("tpot")


@pytest.mark.parametrize("name", ["request_latency", "nonsense", "tokens_per_mwh"])
def test_other_variables_are_refused_with_those_that_have_one(served: xr.Dataset, name: str) -> None:
    with pytest.raises(rl.InputError, match=f"band {name}: .*tpot, ttft"):
        served.roofline.band(name)
