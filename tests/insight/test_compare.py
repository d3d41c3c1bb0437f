"""Comparisons of small models, against plans made one by one and orders taken one by one."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.errors import InputError
from roofline.insight.compare import compare
from roofline.insight.mixtures import Side, differing, mixture, players
from roofline.insight.searches import MEASURES

MODEL = "llama-3.1-8b"
LENGTHS: dict[str, Any] = {"model": MODEL, "isl": 1024, "osl": 256}
POINTS = (20.0, 60.0, 120.0, 250.0)
SMALL: dict[str, Any] = LENGTHS | {"interactivity": POINTS, "at": 120.0, "most_accelerators": 2}


@pytest.fixture(scope="module")
def h200() -> xr.Dataset:
    """H200 over H100, prices given, one domain."""
    sides = ({"system": "dgx-h100", "usd_per_hour": 1.3}, {"system": "dgx-h200", "usd_per_hour": 1.41})
    return compare(*sides, **SMALL)


@pytest.fixture(scope="module")
def b200() -> xr.Dataset:
    """B200 over H100 with more orchestration on the new side."""
    old = {"system": "dgx-h100", "modes": ["aggregated"], "load": 0.5}
    new = {"system": "dgx-b200", "load": 0.8, "cached_share": 0.5}
    levers = ["silicon", "interconnect", "orchestration", "facility"]
    return compare(old, new, levers=levers, **SMALL)


def best(side: Side, x: float, **options: Any) -> float:
    """tokens/MWh of one side, from a plan of its own over deployments written out."""
    rows = [{"tp": 1}, {"tp": 2}, {"pp": 2}]
    found = rl.plan(
        MODEL, side.system, workload=rl.Workload(1024, 256, cached_share=side.cached_share, load=side.load),
        slo=rl.SLO(tpot_s=1.0 / x), modes=side.modes, deployments=rows, **options,
    )  # fmt: skip
    return float(found["tokens_per_mwh"].item())


@pytest.mark.parametrize("name", ["h200", "b200"])
def test_factors_are_the_mean_over_all_orders_of_plans_one_by_one(name: str, request: pytest.FixtureRequest) -> None:
    ds = request.getfixturevalue(name)
    if name == "h200":
        old, new = Side("dgx-h100", usd_per_hour=1.3), Side("dgx-h200", usd_per_hour=1.41)
        moved = players([lever for lever in differing(old, new) if lever != "price"])
    else:
        old = Side("dgx-h100", modes=("aggregated",), load=0.5)
        new = Side("dgx-b200", load=0.8, cached_share=0.5)
        moved = players(differing(old, new), ["silicon", "interconnect", "orchestration", "facility"])
    known: dict[frozenset[str], float] = {}

    def value(names: frozenset[str]) -> float:
        if names not in known:
            known[names] = best(mixture(old, new, frozenset(x for n in names for x in moved[n])), 120.0)
        return known[names]

    gains = dict.fromkeys(moved, 0.0)
    orders = list(permutations(moved))
    for order in orders:
        inside: frozenset[str] = frozenset()
        for player in order:
            gains[player] += math.log(value(inside | {player}) / value(inside)) / len(orders)
            inside |= {player}
    assert list(ds["lever"].values) == list(moved)
    np.testing.assert_allclose(ds["factor"].values, [math.exp(gains[n]) for n in moved], rtol=1e-9)
    np.testing.assert_allclose(
        ds["alone"].values, [value(frozenset({n})) / value(frozenset()) for n in moved], rtol=1e-9
    )
    everyone = frozenset(moved)
    np.testing.assert_allclose(ds["last"].values, [value(everyone) / value(everyone - {n}) for n in moved], rtol=1e-9)
    np.testing.assert_allclose(float(ds.attrs["ratio"]), best(new, 120.0) / best(old, 120.0), rtol=1e-9)


@pytest.mark.parametrize("name", ["h200", "b200"])
def test_the_factors_multiply_to_the_ratio(name: str, request: pytest.FixtureRequest) -> None:
    ds = request.getfixturevalue(name)
    ratio = float(ds.attrs["ratio"])
    assert math.isclose(float(ds["factor"].prod()), ratio, rel_tol=1e-9)
    assert math.isclose(ratio, float(ds["ratio_tokens_per_mwh"].sel(interactivity=120.0)), rel_tol=1e-12)
    assert ds.attrs["at_reported"] == "120"
    assert ds.attrs["undefined"] == ""
    assert ds.sizes["mixture"] == 2 ** ds.sizes["lever"] == int(ds.attrs["mixtures"])


def test_only_what_differs_is_a_lever(h200: xr.Dataset) -> None:
    """The H200 is the H100 with another memory; the boxes around them are the same but for what they are rated."""
    names = set(h200["lever"].values)
    assert {"bandwidth", "capacity"} <= names
    assert not {"flops", "formats", "price", "orchestration"} & names
    bandwidth = h200.sel(lever="bandwidth")
    assert float(bandwidth["factor"]) > 1.0


def test_a_faster_user_never_gets_more_and_ratios_are_of_the_levels(h200: xr.Dataset, b200: xr.Dataset) -> None:
    for ds in (h200, b200):
        for name in MEASURES:
            if name not in ds:
                continue
            levels = ds[name].values
            falls = levels[:, 1:] <= levels[:, :-1] * (1 + 1e-9)
            assert (falls | np.isnan(levels[:, 1:])).all(), name
            np.testing.assert_allclose(ds[f"ratio_{name}"].values, levels[1] / levels[0])


def test_an_old_side_that_may_do_less_makes_the_ratio_no_smaller(h200: xr.Dataset, b200: xr.Dataset) -> None:
    """A larger set of candidates never worsens the best of it."""
    assert "aggregated alone" in h200["baseline"].values
    for ds in (h200, b200):
        asked = ds["baseline_ratio"].values[0]
        np.testing.assert_allclose(asked, ds["ratio_tokens_per_mwh"].values)
        for other in ds["baseline_ratio"].values:
            assert ((other >= asked * (1 - 1e-9)) | np.isnan(other)).all()


def test_money_is_throughput_over_the_price(h200: xr.Dataset) -> None:
    rate = h200["tokens_per_s_per_gpu"]
    np.testing.assert_allclose(h200["ratio_tokens_per_usd"], h200["ratio_tokens_per_s_per_gpu"] * 1.3 / 1.41)
    per_million = h200["usd_per_million_output_tokens"].sel(side="new")
    np.testing.assert_allclose(per_million, 1.41 / (3600.0 * rate.sel(side="new") / 1e6))
    total = h200["usd_per_million_total_tokens"]
    np.testing.assert_allclose(total, h200["usd_per_million_output_tokens"] * 256 / (1024 + 256))
    np.testing.assert_allclose(h200["total_tokens_per_s_per_gpu"], rate * 1280 / 256)


def test_the_price_is_a_factor_of_tokens_per_usd_alone() -> None:
    sides = ({"system": "dgx-h100", "usd_per_hour": 1.3}, {"system": "dgx-h200", "usd_per_hour": 1.95})
    ds = compare(*sides, measure="tokens_per_usd", **SMALL)
    assert float(ds["factor"].sel(lever="price")) == pytest.approx(1.3 / 1.95, rel=1e-12)
    assert "watts" not in ds["lever"].values
    assert "facility" not in ds["lever"].values  # watts buy nothing here
    assert math.isclose(float(ds["factor"].prod()), float(ds.attrs["ratio"]), rel_tol=1e-9)


def test_hours_without_work_are_paid_too() -> None:
    """As in a claim of money and in a site: half the time at work, twice the price of a token."""
    asked = SMALL | {"usd_per_hour": 1.3, "attribution": False}
    whole, half = compare("dgx-h100", "dgx-h200", **asked), compare("dgx-h100", "dgx-h200", load=0.5, **asked)
    cost = "usd_per_million_output_tokens"
    np.testing.assert_allclose(half[cost], 2.0 * whole[cost])
    np.testing.assert_allclose(half["tokens_per_usd"], 0.5 * whole["tokens_per_usd"])
    np.testing.assert_allclose(half["tokens_per_s_per_gpu"], whole["tokens_per_s_per_gpu"])
    old = {"system": "dgx-h100", "load": 0.4, "usd_per_hour": 1.3}
    ds = compare(old, old | {"load": 0.8}, measure="tokens_per_usd", **SMALL)
    assert dict(zip(ds["lever"].values, ds["levers_moved"].values, strict=True)) == {"orchestration": "duty"}
    assert float(ds["factor"].item()) == pytest.approx(2.0, rel=1e-12)
    assert compare(old, old | {"load": 0.8}, measure="tokens_per_s_per_gpu", **SMALL).sizes["lever"] == 0


def test_prices_are_those_of_a_sheet_unless_given() -> None:
    small = SMALL | {"attribution": False}
    given = ({"system": "dgx-h100", "usd_per_hour": 1.69}, {"system": "dgx-h200", "usd_per_hour": 1.74})
    by_hand, neocloud = compare(*given, **small), compare("dgx-h100", "dgx-h200", tier="neocloud", **small)
    xr.testing.assert_equal(by_hand, neocloud)
    assert neocloud.attrs["hardware_prices"] == "semianalysis-v1, neocloud"
    assert neocloud.attrs["price_grades"] == "h100-sxm published, h200-sxm published"
    assert "hardware_prices" not in by_hand.attrs
    newer = compare("dgx-h100", "dgx-h200", vintage="semianalysis-2026", basis="provisioned", **small)
    assert newer.attrs["hardware_prices"] == "semianalysis-2026, hyperscaler"
    unpriced = compare("dgx-h100", "dgx-a100", **small)
    assert "ratio_tokens_per_usd" not in unpriced
    with pytest.raises(InputError, match="none of a100-80-sxm"):
        compare("dgx-h100", "dgx-a100", measure="tokens_per_usd", **small)


def test_two_sides_that_do_not_differ_have_a_ratio_of_one() -> None:
    ds = compare("dgx-h100", "dgx-h100", **SMALL)
    assert ds.sizes["lever"] == 0
    assert float(ds.attrs["ratio"]) == 1.0
    np.testing.assert_array_equal(ds["ratio_tokens_per_mwh"].dropna("interactivity"), 1.0)


def test_where_a_mixture_misses_the_limit_it_is_named_and_the_factors_are_of_a_slower_user() -> None:
    asked = SMALL | {"at": 200.0, "interactivity": (20.0, 100.0, 150.0, 200.0), "most_accelerators": 1}
    slow = rl.System.load("dgx-h100").replace(name="slow", accelerator__memory__bytes_per_s=1.8e12)
    ds = compare(slow, "dgx-h200", **asked)
    assert np.isnan(ds["tokens_per_mwh"].sel(side="old", interactivity=200.0))
    assert ds.attrs["undefined"].startswith("old: tpot ")
    assert "over its limit" in ds.attrs["undefined"]
    reported = float(ds.attrs["at_reported"])
    assert reported < 200.0
    assert math.isclose(
        float(ds["factor"].prod()), float(ds["ratio_tokens_per_mwh"].sel(interactivity=reported)), rel_tol=1e-9
    )
    slower = ds["mixture_value"].values
    assert np.isfinite(slower).all()


def test_where_no_interactivity_has_all_mixtures_there_is_no_factor() -> None:
    ds = compare("dgx-h100", "dgx-h200", **SMALL | {"at": 9000.0, "interactivity": (9000.0,)})
    assert ds.attrs["ratio"] == ds.attrs["at_reported"] == ""
    assert np.isnan(ds["factor"].values).all()
    assert ds.attrs["undefined"].count("over its limit") == 6
    assert "more" in ds.attrs["undefined"]


def test_undisclosed_watts_leave_throughput_and_no_tokens_per_mwh() -> None:
    known = rl.System.load("dgx-h100").power
    dark = rl.System.load("dgx-h100").replace(
        name="dark", power={"provisioned_w_per_accelerator": dict(known.provisioned_w_per_accelerator)}
    )
    ds = compare("dgx-h200", dark, **SMALL | {"attribution": False})
    assert np.isnan(ds["ratio_tokens_per_mwh"]).all()
    assert (ds["ratio_tokens_per_s_per_gpu"].dropna("interactivity") <= 1.0).all()
    assert "undisclosed" in str(ds["power_unknown"].sel(side="new").item())
    assert "factor" not in ds


def test_replicas_within_one_domain_are_never_better() -> None:
    base = {"model": "llama-3.1-70b", "isl": 512, "osl": 128, "interactivity": (20.0, 60.0), "at": 60.0}
    pair = rl.System.load("dgx-h100").replace(name="pairs", scale_up__domain=2)
    asked = compare(pair, "dgx-h100", attribution=False, recipes="fp8", **base)
    within = compare(pair, "dgx-h100", attribution=False, recipes="fp8", across=False, **base)
    label = "replicas within one domain of 2"
    assert label in asked["baseline"].values
    np.testing.assert_allclose(asked["baseline_ratio"].sel(baseline=label), within["ratio_tokens_per_mwh"], rtol=1e-9)
    assert asked.attrs["across_domains"] == "yes"
    assert within.attrs["most_accelerators"] == "8"


def test_what_it_says_of_itself(b200: xr.Dataset) -> None:
    attrs = b200.attrs
    assert attrs["pass"] == "compare"
    assert attrs["modes"] == "old aggregated; new aggregated, disaggregated"
    assert attrs["cached_share"] == "old 0; new 0.5"
    assert attrs["duty"] == "old 0.5; new 0.8"
    for sheet in ("system/dgx-h100=", "system/dgx-b200=", "model/llama-3.1-8b=", "recipe/"):
        assert sheet in attrs["sheets"]
    assert "side-" not in attrs["sheets"]
    assert set(np.unique(b200["prefill_system"].values)) <= {"", "dgx-h100", "dgx-b200"}
    for name in b200.data_vars:
        assert b200[name].attrs.get("long_name"), name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": ["llama-3.1-8b", "llama-3.1-70b"]}, "a comparison is of one"),
        ({"osl": None}, "osl: missing"),
        ({"workload": "1k/1k"}, "either a workload or both lengths"),
        ({"at": 0.0}, "give numbers above 0"),
        ({"at": float("nan")}, "give numbers above 0"),
        ({"interactivity": ("fast",)}, "tokens/s of a user as numbers"),
        ({"slo": {"tpot_s": 0.01}}, "is set by the interactivity"),
        ({"slo": 0.01}, "give a roofline.SLO"),
        ({"slo": {"ttft": 2}}, "no field of an SLO named 'ttft'"),
        ({"measure": "speed"}, "no measure named 'speed'"),
        ({"prices": "capital-press"}, "hold no energy"),
        ({"prices": "semianalysis-v1", "tier": "friends"}, "no tier named 'friends'"),
        ({"prices": "semianalysis-v1", "usd_per_hour": 2.0}, "leave one of them out"),
        (
            {"prices": "semianalysis-2026", "vintage": "semianalysis-v1", "basis": "provisioned"},
            "the two are never mixed",
        ),
        ({"levers": ["flop"]}, "no lever or group"),
        ({"vintage": "semianalysis-v1"}, "give it with basis 'provisioned'"),
        ({"vintage": "none such", "basis": "provisioned"}, "none such"),
        ({"boundary": "street"}, "boundary 'street'"),
        ({"most_accelerators": 0}, "most_accelerators"),
        ({"acceptance": 1.4}, "acceptance"),
        ({"colour": "red"}, "no field of a side named 'colour'"),
    ],
)
def test_bad_input_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare("dgx-h100", "dgx-h200", **SMALL | changes)


def test_a_prefix_belongs_to_a_side() -> None:
    asked = {key: value for key, value in SMALL.items() if key not in ("isl", "osl")}
    with pytest.raises(InputError, match="belong to a side"):
        compare("dgx-h100", "dgx-h200", workload={"isl": 1024, "osl": 256, "cached": 100}, **asked)


def test_progress_rises_to_all_mixtures() -> None:
    seen: list[tuple[int, int]] = []
    compare("dgx-h100", "dgx-h200", progress=lambda done, of: seen.append((done, of)), **SMALL)
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    seen.clear()
    again = SMALL | {"at": 9000.0, "levers": "silicon"}  # searched once more where all reach
    compare("dgx-h100", "dgx-h200", progress=lambda done, of: seen.append((done, of)), **again)
    assert seen[-1][0] == seen[-1][1] > 4 + 2**2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
