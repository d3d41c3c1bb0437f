"""What a Dataset says of itself: dims, units, flags, provenance; and NaN exactly where a limit says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.grid.variables import limit_reason
from roofline.layout import LIMIT_MEANINGS, Bound, Component, Limit

DIMS = ("model", "system", "recipe", "deployment", "batch")
DEPLOYMENTS = [
    {"tp": 1},
    {"tp": 8},
    {"tp": 3},
    {"tp": 2, "pp": 2},
    {"dp": 4, "ep": 4},
    {"tp": 8, "ep": 3},
    {"tp": 2, "dp": 2, "moe_tp": 3},
    {"tp": 8, "pp": 64},
    {"tp": 1, "pp": 40},
    {"tp": 8, "pp": 8, "dp": 8},
]
AXES: dict[str, Any] = {
    "models": ["llama-3.1-8b", "mixtral-8x7b"],
    "systems": ["dgx-h100", "l40s"],
    "recipes": ["bf16", "fp8"],
    "deployments": DEPLOYMENTS,
    "batch": [1, 7, 4096],
}
LENGTHS = [1024, 65536, 1 << 21]


@pytest.fixture(scope="module", params=["decode", "prefill"])
def ds(request: pytest.FixtureRequest) -> xr.Dataset:
    if request.param == "decode":
        return rl.decode(**AXES, context=LENGTHS, components=True)
    return rl.prefill(**AXES, isl=LENGTHS, chunk=8192, cached=16, components=True)


def floats(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    """Variables over the cells of a Dataset, components apart."""
    return {str(k): v for k, v in ds.data_vars.items() if v.dtype == np.float64 and k != "component_time"}


def test_dims_in_their_order(ds: xr.Dataset) -> None:
    dims = (*DIMS, "context" if ds.attrs["pass"] == "decode" else "isl")
    for name, variable in ds.data_vars.items():
        assert variable.dims == ((*dims, "component") if name == "component_time" else dims)
    assert [ds.sizes[dim] for dim in dims] == [2, 2, 2, len(DEPLOYMENTS), 3, 3]


def test_coordinates_are_the_axes(ds: xr.Dataset) -> None:
    length = ds["power"].dims[-1]
    assert ds["model"].values.tolist() == AXES["models"]
    assert ds["system"].values.tolist() == ["dgx-h100", "l40s-x8"]
    assert ds["recipe"].values.tolist() == AXES["recipes"]
    assert ds["batch"].values.tolist() == AXES["batch"]
    assert ds[length].values.tolist() == LENGTHS
    assert ds["component"].values.tolist() == [component.name.lower() for component in Component]
    for row, degrees in enumerate(DEPLOYMENTS):
        for name in ("tp", "pp", "dp", "ep"):
            assert ds[name].values[row] == degrees.get(name, 1)
    assert ds["moe_tp"].values.tolist() == [1, 8, 3, 2, 1, 2, 3, 8, 1, 64]
    assert (ds["accelerators"] == ds["tp"] * ds["pp"] * ds["dp"]).all()
    for name in ("tp", "pp", "dp", "ep", "moe_tp", "accelerators"):
        assert ds[name].dims == ("deployment",)
    assert len(set(ds["deployment"].values)) == len(DEPLOYMENTS)


def test_coordinates_hold_the_power_facts_of_each_system(ds: xr.Dataset) -> None:
    for name in ("dgx-h100", "l40s"):
        system = rl.System.load(name)
        one = ds.sel(system=system.id)
        assert one["tdp_w"].item() == system.accelerator.power.tdp_w
        assert one["idle_w"].item() == system.accelerator.power.idle_w
        assert one["host_w"].item() == sum(system.power.host_dc_w.values())
        assert one["max_w"].item() == system.power.max_w
        assert one["pue"].item() == system.facility.pue
        assert one["system_accelerators"].item() == system.accelerators
        assert tuple(one["psu_load"].values) == system.power.psu.load
        assert tuple(one["psu_efficiency"].values) == system.power.psu.efficiency
        for vintage in one["vintage"].values:
            expected = system.power.provisioned_w_per_accelerator.get(vintage, np.nan)
            assert np.array_equal(one["provisioned_w"].sel(vintage=vintage), expected, equal_nan=True)


def test_every_variable_has_a_name_in_words_and_a_unit(ds: xr.Dataset) -> None:
    units = {
        "step_time": "s", "tpot": "s", "step_time_serial": "s", "prefill_time": "s", "prefill_time_serial": "s",
        "tokens_per_s_per_user": "1/s", "tokens_per_s_per_gpu": "1/s", "memory": "B", "power": "W",
        "joules_per_token": "J", "mfu": "1", "mbu": "1", "component_time": "s",
    }  # fmt: skip
    for name, variable in ds.data_vars.items():
        assert len(variable.attrs["long_name"]) > 10, name
        if name not in ("limit", "bound"):
            assert variable.attrs["units"] == units[str(name)]
    for axis in ("batch", ds["power"].dims[-1]):
        assert ds[axis].attrs["units"] == "1"
        assert ds[axis].attrs["long_name"]


@pytest.mark.parametrize(("name", "codes"), [("limit", Limit), ("bound", Bound)])
def test_flags_are_those_of_the_layout(ds: xr.Dataset, name: str, codes: Any) -> None:
    attrs = ds[name].attrs
    assert ds[name].dtype == np.int8
    assert attrs["flag_values"] == [code.value for code in codes]
    assert attrs["flag_meanings"].split() == [code.name.lower() for code in codes]
    assert np.isin(ds[name].values, attrs["flag_values"]).all()


def test_limits_are_described_in_words(ds: xr.Dataset) -> None:
    described = dict(part.split(": ") for part in ds["limit"].attrs["flag_descriptions"].split("; "))
    assert described == {code.name.lower(): text for code, text in LIMIT_MEANINGS.items()}
    assert all(limit_reason(code) == LIMIT_MEANINGS[code] for code in Limit)


def test_many_limits_are_met(ds: xr.Dataset) -> None:
    """The grid of this file is worth its tests: it runs into these limits, and cells run."""
    names = {Limit(code).name for code in np.unique(ds["limit"])}
    assert names == {
        "NONE", "MEMORY", "HEADS", "EXPERTS", "EXPERT_GROUP", "LAYERS", "ACCELERATORS", "CONTEXT",
    }  # fmt: skip


def test_nan_exactly_where_limited(ds: xr.Dataset) -> None:
    runs = ds["limit"] == 0
    assert 0 < int(runs.sum()) < runs.size
    for name, variable in floats(ds).items():
        if name != "memory":
            assert (variable.notnull() == runs).all(), name
            assert (variable.where(runs, 1.0) > 0).all(), name
    assert (ds["component_time"].notnull() == runs).all()
    assert ((ds["bound"] != 0) == runs).all()


def test_memory_stays_where_it_or_the_context_is_the_limit(ds: xr.Dataset) -> None:
    known = ds["limit"].isin([Limit.NONE, Limit.MEMORY, Limit.CONTEXT])
    assert (ds["memory"].notnull() == known).all()
    short = ds["memory"].where(ds["limit"] == Limit.MEMORY).min(("recipe", "deployment", "batch", "model"))
    for name in ("dgx-h100", "l40s"):
        system = rl.System.load(name)
        runtime = system.accelerator.efficiency.runtime
        usable = system.accelerator.memory.bytes * runtime.memory_fraction - runtime.reserve_bytes
        assert (short.sel(system=system.id).dropna(short.dims[-1]) > usable).all()
        fits = ds["memory"].where(ds["limit"] == Limit.NONE).sel(system=system.id)
        assert (fits.fillna(0.0) <= usable).all()


def test_one_math_type_short_is_a_limit() -> None:
    old = rl.System.load("dgx-h100").replace(id="fp8-only", accelerator__dense_flop_per_s={"fp8": 1e15})
    ds = rl.decode("llama-3.1-8b", ["dgx-h100", old], "fp8", batch=[1, 2], context=[1024, 2048], components=True)
    assert (ds["limit"].sel(system="fp8-only") == Limit.MATH_TYPE).all()
    assert (ds["limit"].sel(system="dgx-h100") == 0).all()
    for variable in (*floats(ds).values(), ds["component_time"]):
        assert variable.sel(system="fp8-only").isnull().all()


def test_attributes_are_plain_and_say_where_a_figure_is_from(ds: xr.Dataset) -> None:
    for holder in (ds, *ds.variables.values()):
        for value in holder.attrs.values():
            plain = value if isinstance(value, list) else [value]
            assert all(type(item) in (str, int, float) for item in plain)
    assert ds.attrs["roofline_version"] == rl.__version__
    assert ds.attrs["fidelity"] == "kernel"
    assert ds.attrs["boundary"] == "accelerator"
    assert ds.attrs["basis"] == "metered"
    decode = ds.attrs["pass"] == "decode"
    assert ds.attrs["token_basis"] == ("output" if decode else "input")
    expected = {"new_tokens": "1"} if decode else {"cached": "16", "chunk": "8192"}
    assert {name: ds.attrs[name] for name in expected} == expected
    listed = dict(pair.split("=") for pair in ds.attrs["sheets"].split())
    assert set(listed) == {
        "model/llama-3.1-8b", "model/mixtral-8x7b", "system/dgx-h100", "system/l40s-x8", "accelerator/h100-sxm",
        "accelerator/l40s", "efficiency/h100", "efficiency/l40s", "facility/air", "recipe/bf16", "recipe/fp8",
    }  # fmt: skip
    assert all(len(value) == 12 and int(value, 16) >= 0 for value in listed.values())


def sheets_of(model: Any, system: Any, **options: Any) -> dict[str, str]:
    ds = rl.decode(model, system, "bf16", batch=1, context=128, **options)
    return dict(pair.split("=") for pair in ds.attrs["sheets"].split())


def test_digests_change_with_a_sheet_and_only_with_that() -> None:
    plain = sheets_of("llama-3.1-8b", "dgx-h100")
    assert sheets_of("llama-3.1-8b", "dgx-h100", fidelity="ideal") == plain
    system = rl.System.load("dgx-h100").replace(accelerator__memory__bytes_per_s=3.36e12)
    changed = sheets_of("llama-3.1-8b", system)
    assert changed.keys() == plain.keys()
    assert {name for name in plain if plain[name] != changed[name]} == {"system/dgx-h100", "accelerator/h100-sxm"}
    model = rl.Model.load("llama-3.1-8b").replace(max_context=9999)
    changed = sheets_of(model, "dgx-h100")
    assert {name for name in plain if plain[name] != changed[name]} == {"model/llama-3.1-8b"}
    moved = sheets_of("llama-3.1-8b", "dgx-h100", facility="liquid")
    assert moved.keys() - plain.keys() == {"facility/liquid"}


def test_a_facility_overrides_that_of_every_system() -> None:
    ds = rl.decode("llama-3.1-8b", ["dgx-h100", "gb300-nvl72"], "bf16", batch=1, context=128, facility="liquid")
    assert ds["pue"].values.tolist() == [rl.Facility.load("liquid").pue] * 2


def test_tokens_and_rates_agree() -> None:
    ds = rl.decode("llama-3.1-8b", "dgx-h100", "fp8", tp=[1, 2], pp=[1, 2], batch=[1, 8, 64], context=[512, 4096])
    np.testing.assert_array_equal(ds["tpot"], ds["step_time"])
    per_gpu = ds["batch"] / ds["step_time"] / ds["accelerators"]
    xr.testing.assert_allclose(per_gpu.transpose(*ds["power"].dims), ds["tokens_per_s_per_gpu"], rtol=1e-14)
    xr.testing.assert_allclose(1 / ds["step_time"], ds["tokens_per_s_per_user"], rtol=1e-14)
    xr.testing.assert_allclose(ds["power"] / ds["tokens_per_s_per_gpu"], ds["joules_per_token"], rtol=1e-14)
    drafts = rl.decode("llama-3.1-8b", "dgx-h100", "fp8", batch=8, context=4096, new_tokens=4)
    assert drafts["tokens_per_s_per_user"].item() == pytest.approx(4 / drafts["step_time"].item(), rel=1e-14)
    assert drafts.attrs["new_tokens"] == "4"


@pytest.mark.parametrize("fidelity", ["kernel", "ideal"])
def test_components_add_up_in_kernel_and_are_none_in_ideal(fidelity: Any) -> None:
    rows = [{"tp": 8}, {"tp": 2, "pp": 3}, {"dp": 4, "ep": 4}, {"tp": 2, "dp": 4, "ep": 4}]
    common: dict[str, Any] = {"deployments": rows, "batch": [1, 48], "fidelity": fidelity, "components": True}
    both = (["mixtral-8x7b", "deepseek-v3"], "dgx-b200", ["fp8", "bf16"])
    decoded = rl.decode(*both, **common, context=[700, 30_000])
    prompts = rl.prefill(*both, **common, isl=[700, 30_000], chunk=4096)
    for ds, time in ((decoded, "step_time"), (prompts, "prefill_time")):
        if fidelity == "ideal":
            assert ds["component_time"].isnull().all()
            assert "none in ideal" in ds["component_time"].attrs["long_name"]
            continue
        whole = ds["component_time"].sum("component", skipna=False)
        assert int(whole.notnull().sum()) > 20
        xr.testing.assert_allclose(whole, ds[time], rtol=1e-12)
        parts = ds["component_time"].fillna(0.0)
        overlapped = (parts["component"] == "pipeline") & (parts["pp"] > 1) & (time == "prefill_time")
        assert ((parts >= 0) | overlapped).all()  # chunks of one prompt overlap in a pipeline: less than their sum
        flat = ds["component_time"].sel(deployment="tp8", component="pipeline", model="mixtral-8x7b")
        assert (flat.dropna("batch", how="all") == 0).all()


def test_components_come_only_when_asked_for() -> None:
    ds = rl.decode("llama-3.1-8b", "dgx-h100", "fp8", batch=1, context=128)
    assert "component_time" not in ds
    assert "component" not in ds.dims


def test_several_new_tokens_are_verified_not_output() -> None:
    """Which drafts are accepted is not known to a pass, so nothing of it may be called output."""
    one = rl.decode("llama-3.1-8b", "dgx-h100", "fp8", batch=8, context=2048)
    four = rl.decode("llama-3.1-8b", "dgx-h100", "fp8", batch=8, context=2048, new_tokens=4)
    assert one.attrs["token_basis"] == "output"
    assert four.attrs["token_basis"] == "verified"
    assert "tpot" in one
    assert "tpot" not in four
    assert not [v.attrs["long_name"] for v in four.data_vars.values() if "output token" in v.attrs["long_name"]]
    assert "verified tokens" in rl.rollup(four)["tokens_per_mwh"].attrs["long_name"]


def test_a_grid_larger_than_memory_is_refused_before_it_is_made() -> None:
    with pytest.raises(rl.InputError, match=r"the result would take .* GB .* fewer batches"):
        rl.decode("llama-3.1-8b", "dgx-h100", "fp8", batch=range(1, 100_001), context=range(1, 100_001))


def test_a_changed_sheet_and_its_origin_are_both_in_the_provenance() -> None:
    wide = rl.System.load("dgx-h200").replace(name="wide", accelerator__memory__bytes_per_s=6e12)
    ds = rl.decode("llama-3.1-8b", ["dgx-h200", wide], "fp8", batch=1, context=2048)
    sheets = ds.attrs["sheets"].split()
    for system in (rl.System.load("dgx-h200"), wide):
        assert f"accelerator/h200-sxm={system.accelerator.digest}" in sheets
