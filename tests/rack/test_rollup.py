"""The roll-up of a Dataset: by hand for one box, and what every roll-up keeps."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.rack import best_over_deployments

ADDED = {"power_at_boundary": "W", "joules_per_token_at_boundary": "J", "tokens_per_mwh": "1/MWh"}


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return rl.decode(
        ["llama-3.1-70b", "deepseek-v3"], ["dgx-h100", "gb300-nvl72", "mi300x-8"], ["bf16", "fp8"],
        deployments=[{"tp": 1}, {"tp": 2, "pp": 3}, {"tp": 8}, {"dp": 16, "ep": 16}], batch=[1, 64],
        context=[2048, 16_384],
    )  # fmt: skip


def test_one_box_by_hand() -> None:
    """HGX H100, one replica of two of its eight accelerators: four replicas fit."""
    cell = rl.decode("llama-3.1-70b", "dgx-h100", "fp8", tp=2, batch=16, context=4096).squeeze()
    draw, rate = float(cell["power"]), float(cell["tokens_per_s_per_gpu"])
    assert 100 < draw < 700
    direct = 8 * draw + 1352
    load = direct / 19_800
    assert 0.1 < load < 0.2 or 0.2 < load < 0.5
    (x0, y0), (x1, y1) = ((0.1, 0.924), (0.2, 0.945)) if load < 0.2 else ((0.2, 0.945), (0.5, 0.964))
    wall = direct / (y0 + (y1 - y0) * (load - x0) / (x1 - x0))
    facility = (wall + 473.6) * 1.3
    quiet = 8 * 74.9 + 1352
    at = quiet / 19_800
    assert 0.05 < at < 0.1
    idle = (quiet / (0.886 + (0.924 - 0.886) * (at - 0.05) / 0.05) + 473.6) * 1.3

    rolled = rl.rollup(cell)
    assert rolled["power_at_boundary"].item() == pytest.approx(facility / 8, rel=1e-12)
    assert rolled["joules_per_token_at_boundary"].item() == pytest.approx(facility / (8 * rate), rel=1e-12)
    assert rolled["tokens_per_mwh"].item() == pytest.approx(3.6e9 * 8 * rate / facility, rel=1e-12)
    rack = rl.rollup(cell, "rack")
    assert rack["power_at_boundary"].item() == pytest.approx(wall / 8, rel=1e-12)
    own = rl.rollup(cell, "accelerator")
    assert own["joules_per_token_at_boundary"].item() == pytest.approx(cell["joules_per_token"].item(), rel=1e-12)

    part = rl.rollup(cell, duty=0.4)
    mean = 0.4 * facility + 0.6 * idle
    assert part["power_at_boundary"].item() == pytest.approx(mean / 8, rel=1e-12)
    assert part["tokens_per_mwh"].item() == pytest.approx(3.6e9 * 0.4 * 8 * rate / mean, rel=1e-12)

    plate = rl.rollup(cell, basis="provisioned")
    assert plate["power_at_boundary"].item() == pytest.approx((10_200 + 473.6) * 1.3 / 8, rel=1e-12)
    for vintage, watts in (("semianalysis-v1", 1730.0), ("semianalysis-2026", 1370.0)):
        allin = rl.rollup(cell, basis="provisioned", vintage=vintage)
        assert allin["power_at_boundary"].item() == pytest.approx(watts, rel=1e-12)
        assert allin["joules_per_token_at_boundary"].item() == pytest.approx(watts / rate, rel=1e-12)


def test_idle_neighbours_are_charged_by_hand() -> None:
    """Three stages of two accelerators leave two of eight idle."""
    cell = rl.decode("llama-3.1-70b", "dgx-h100", "fp8", tp=2, pp=3, batch=16, context=4096).squeeze()
    draw, rate = float(cell["power"]), float(cell["tokens_per_s_per_gpu"])
    direct = 6 * draw + 2 * 74.9 + 1352
    wall = direct / np.interp(direct / 19_800, [0.1, 0.2, 0.5], [0.924, 0.945, 0.964])
    rolled = rl.rollup(cell, "rack")
    assert rolled["power_at_boundary"].item() == pytest.approx(wall / 6, rel=1e-12)
    assert rolled["joules_per_token_at_boundary"].item() == pytest.approx(wall / (6 * rate), rel=1e-12)


def test_a_replica_of_two_boxes_by_hand() -> None:
    cell = rl.decode("llama-3.1-70b", "dgx-h100", "fp8", tp=8, pp=2, batch=16, context=4096).squeeze()
    draw, rate = float(cell["power"]), float(cell["tokens_per_s_per_gpu"])
    direct = 8 * draw + 1352
    wall = 2 * direct / np.interp(direct / 19_800, [0.1, 0.2, 0.5], [0.924, 0.945, 0.964])
    rolled = rl.rollup(cell, "rack")
    assert rolled["joules_per_token_at_boundary"].item() == pytest.approx(wall / (16 * rate), rel=1e-12)


def test_tokens_per_mwh_times_joules_per_token(ds: xr.Dataset) -> None:
    for boundary, basis, duty in product(("accelerator", "rack", "facility"), ("metered", "provisioned"), (1.0, 0.3)):
        rolled = rl.rollup(ds, boundary, basis, duty=duty)  # type: ignore[arg-type]
        unit = rolled["tokens_per_mwh"] * rolled["joules_per_token_at_boundary"]
        runs = ds["limit"] == 0
        assert (unit.notnull() == runs).all()
        assert (abs(unit - 3.6e9) < 1e-3).where(runs, True).all()
        per_token = rolled["power_at_boundary"] / (duty * ds["tokens_per_s_per_gpu"])
        xr.testing.assert_allclose(per_token, rolled["joules_per_token_at_boundary"], rtol=1e-12)


def test_boundaries_nest_and_duty_costs(ds: xr.Dataset) -> None:
    for basis in ("metered", "provisioned"):
        own, rack, facility = (rl.rollup(ds, b, basis) for b in ("accelerator", "rack", "facility"))  # type: ignore[arg-type]
        for smaller, larger in ((own, rack), (rack, facility)):
            rest = larger["power_at_boundary"] / smaller["power_at_boundary"]
            assert float(rest.min()) >= 1
        groups = ds["accelerators"]  # a system holds whole replicas, or a replica takes whole systems
        fits = groups <= ds["system_accelerators"]
        systems = xr.where(fits, 1, np.ceil(groups / ds["system_accelerators"]))
        used = xr.where(fits, ds["system_accelerators"] // groups * groups, groups)
        served = rack["power_at_boundary"] + ds["network_w"] * systems / used
        xr.testing.assert_allclose(facility["power_at_boundary"], served * ds["pue"], rtol=1e-13)
        busy, half = rl.rollup(ds, basis=basis, duty=1.0), rl.rollup(ds, basis=basis, duty=0.5)  # type: ignore[arg-type]
        assert float((half["tokens_per_mwh"] / busy["tokens_per_mwh"]).max()) < 1
        if basis == "provisioned":
            xr.testing.assert_allclose(half["tokens_per_mwh"], busy["tokens_per_mwh"] / 2, rtol=1e-12)


def test_at_the_accelerator_it_is_what_the_kernel_says(ds: xr.Dataset) -> None:
    own = rl.rollup(ds, "accelerator")
    xr.testing.assert_allclose(own["joules_per_token_at_boundary"], ds["joules_per_token"], rtol=1e-12)
    xr.testing.assert_allclose(own["power_at_boundary"], ds["power"], rtol=1e-12)


def test_the_rest_of_the_dataset_stays(ds: xr.Dataset) -> None:
    rolled = rl.rollup(ds, "rack", duty=0.5)
    assert set(rolled.data_vars) - set(ds.data_vars) == set(ADDED)
    assert rolled.drop_vars(ADDED).assign_attrs(ds.attrs).drop_attrs(deep=False).identical(ds.drop_attrs(deep=False))
    for name, units in ADDED.items():
        assert rolled[name].dims == ds["power"].dims
        assert rolled[name].attrs["units"] == units
        assert "rack, metered" in rolled[name].attrs["long_name"]
    assert {key: rolled.attrs[key] for key in ("boundary", "basis", "duty", "vintage")} == {
        "boundary": "rack", "basis": "metered", "duty": "0.5", "vintage": "",
    }  # fmt: skip
    for key in ("sheets", "fidelity", "token_basis", "command"):
        assert rolled.attrs[key] == ds.attrs[key]
    assert "output token" in rolled["tokens_per_mwh"].attrs["long_name"]
    assert "tokens_per_mwh" not in ds


def test_prompts_count_input_tokens() -> None:
    ds = rl.prefill("llama-3.1-8b", "dgx-h100", "fp8", isl=[1024, 8192])
    rolled = rl.rollup(ds, "accelerator")
    assert "input tokens" in rolled["tokens_per_mwh"].attrs["long_name"]
    xr.testing.assert_allclose(rolled["joules_per_token_at_boundary"], ds["joules_per_token"], rtol=1e-12)


def test_any_selection_and_order_of_dims_can_be_rolled_up(ds: xr.Dataset) -> None:
    whole = rl.rollup(ds, duty=0.7)["tokens_per_mwh"]
    for some in (
        ds.isel(system=1),
        ds.isel(model=0, batch=1),
        ds.isel(deployment=2),
        ds.isel(deployment=1, system=0, context=0),
        ds.isel(system=[2, 0]),
        ds.transpose("context", "deployment", "batch", "recipe", "system", "model", ...),
    ):
        rolled = rl.rollup(some, duty=0.7)["tokens_per_mwh"]
        assert rolled.dims == some["power"].dims
        expected = whole.sel({dim: some[dim] for dim in ("model", "system", "deployment", "batch", "context")})
        np.testing.assert_array_equal(rolled, expected.transpose(*rolled.dims))


@pytest.mark.parametrize("duty", [0, -0.1, 1.1, float("nan"), float("inf"), "half", None, True])
def test_duty_is_a_share_of_time(ds: xr.Dataset, duty: Any) -> None:
    with pytest.raises(rl.InputError, match=r"^duty .*: expected a share of time above 0 and at most 1"):
        rl.rollup(ds, duty=duty)


def test_duty_of_numpy_is_a_number(ds: xr.Dataset) -> None:
    for duty in (np.float32(0.5), np.float64(0.5)):
        assert rl.rollup(ds, duty=duty)["tokens_per_mwh"].equals(rl.rollup(ds, duty=0.5)["tokens_per_mwh"])


def test_bad_options_are_named(ds: xr.Dataset) -> None:
    with pytest.raises(rl.InputError, match="boundary 'wall': expected one of accelerator, rack, facility"):
        rl.rollup(ds, "wall")  # type: ignore[arg-type]
    with pytest.raises(rl.InputError, match="basis 'tdp': expected one of metered, provisioned"):
        rl.rollup(ds, basis="tdp")  # type: ignore[arg-type]
    one = ds.sel(system=["dgx-h100"])
    with pytest.raises(rl.InputError, match=r"vintage 'v0': none of dgx-h100; .* semianalysis-2026, semianalysis-v1"):
        rl.rollup(one, basis="provisioned", vintage="v0")
    with pytest.raises(rl.InputError, match=r"vintage 'semianalysis-v1' is an all-in figure .* not of the rack"):
        rl.rollup(one, "rack", "provisioned", vintage="semianalysis-v1")
    with pytest.raises(rl.InputError, match="vintage 'semianalysis-v1' is a provisioned figure"):
        rl.rollup(one, vintage="semianalysis-v1")
    with pytest.raises(rl.InputError, match="the Dataset has no power, tokens_per_s_per_gpu"):
        rl.rollup(xr.Dataset())
    best = best_over_deployments("llama-3.1-8b", "dgx-h100", batch_per_gpu=1, context=128, recipes="bf16")
    with pytest.raises(rl.InputError, match="the Dataset has no system_accelerators, tdp_w"):
        rl.rollup(best)


def test_a_vintage_one_system_lacks_is_refused_by_its_name() -> None:
    """No value without a reason: NaN has no limit code for a missing vintage."""
    bare = rl.decode("llama-3.1-8b", ["dgx-h100", "l40s"], "bf16", batch=1, context=128)
    with pytest.raises(rl.InputError, match="vintage 'semianalysis-v1': none of l40s-x8; these systems have"):
        rl.rollup(bare, basis="provisioned", vintage="semianalysis-v1")


def test_another_kind_of_dataset_is_refused_with_what_it_lacks() -> None:
    ds = rl.decode("llama-3.1-8b", "dgx-h100", "fp8", batch=8, context=2048)
    with pytest.raises(rl.InputError, match="no accelerators"):
        rl.rollup(ds.isel(deployment=0, drop=True))
    with pytest.raises(rl.InputError, match="no pue"):
        rl.rollup(ds.drop_vars("pue"))
    with pytest.raises(rl.InputError, match="no power"):
        rl.rollup(None)  # type: ignore[arg-type]
