"""Systems whose watts are undisclosed: NaN with a reason, no warning, and what is published still counts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.rack.energy import PowerFacts

SYSTEMS = ["dgx-h100", "rubin-ultra-kyber", "helios-mi455x"]


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return rl.decode("llama-3.1-8b", SYSTEMS, "bf16", tp=[1, 8], batch=[1, 64], context=2048)


def test_time_is_known_where_watts_are_not(ds: xr.Dataset) -> None:
    assert (ds["limit"] == 0).all()
    assert ds["tpot"].notnull().all()
    assert ds["power_unknown"].values.tolist() == [
        "",
        "undisclosed: TDP of rubin-ultra; host watts, power supplies of rubin-ultra-kyber",
        "undisclosed: TDP of mi455x; host watts, power supplies, maximum watts of helios-mi455x",
    ]
    known = ds["power_unknown"] == ""
    for name in ("power", "joules_per_token"):
        assert (ds[name].notnull() == known).all()


def test_metered_energy_is_nan_with_a_reason(ds: xr.Dataset) -> None:
    for boundary, duty in product(("accelerator", "rack", "facility"), (1.0, 0.5)):
        rolled = rl.rollup(ds, boundary, duty=duty)  # type: ignore[arg-type]
        known = rolled["power_unknown"] == ""
        for name in ("power_at_boundary", "joules_per_token_at_boundary", "tokens_per_mwh"):
            assert (rolled[name].notnull() == known).all(), (boundary, name)


def test_a_published_rating_is_provisioned_without_a_tdp(ds: xr.Dataset) -> None:
    """600 kW of a Kyber rack of 144 packages; nothing is published of Helios."""
    rack = rl.rollup(ds, "rack", "provisioned")
    kyber = rack.sel(system="rubin-ultra-kyber")
    np.testing.assert_allclose(kyber["power_at_boundary"], 600e3 / 144)
    rate = ds["tokens_per_s_per_gpu"].sel(system="rubin-ultra-kyber")
    np.testing.assert_allclose(kyber["tokens_per_mwh"], 3.6e9 * rate * 144 / 600e3)
    assert rack["tokens_per_mwh"].sel(system="helios-mi455x").isnull().all()
    assert rl.rollup(ds, "accelerator", "provisioned")["tokens_per_mwh"].sel(system=SYSTEMS[1:]).isnull().all()


def test_cells_that_cannot_run_stay_nan_in_what_is_provisioned() -> None:
    cells = rl.decode("llama-3.1-70b", "rubin-ultra-kyber", "bf16", tp=[3, 8], batch=1, context=2048)
    rolled = rl.rollup(cells, "rack", "provisioned")
    for name in ("power_at_boundary", "tokens_per_mwh"):
        assert rolled[name].squeeze().isnull().values.tolist() == [True, False]


def test_supplies_alone_undisclosed_hide_the_rack_but_not_the_accelerators() -> None:
    box = rl.System.load("dgx-h100")
    bare = box.replace(id="bare", power={"host_dc_w": {"host": 1352}})
    assert bare.power_unknown == "undisclosed: power supplies, maximum watts of bare"
    fact, draw, group = PowerFacts.of(bare), np.array([500.0]), np.array([8])
    assert np.isfinite(fact.placed(draw, group, "accelerator").busy_w).all()
    assert np.isnan(fact.placed(draw, group, "rack").busy_w).all()
    assert np.isnan(fact.placed(draw, group, "facility", "provisioned").busy_w).all()
    both = rl.rollup(rl.decode("llama-3.1-8b", [box, bare], "bf16", batch=1, context=128), "rack")
    assert both["tokens_per_mwh"].squeeze().isnull().values.tolist() == [False, True]


def test_one_system_of_a_rolled_up_dataset_says_why(ds: xr.Dataset) -> None:
    one = rl.rollup(ds.sel(system="helios-mi455x"))
    assert one["tokens_per_mwh"].isnull().all()
    assert one["power_unknown"].item().startswith("undisclosed: TDP of mi455x")
