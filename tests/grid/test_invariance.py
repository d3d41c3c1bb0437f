"""A cell is a cell: the same bits whatever stands beside it, in which order, on how many threads, and after a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl

AXES: dict[str, list[Any]] = {
    "models": ["llama-3.1-8b", "gemma-3-27b", "deepseek-v3"],
    "systems": ["dgx-h200", "gb300-nvl72"],
    "recipes": ["bf16", "fp8-block", "nvfp4"],
    "deployments": [{"tp": 8}, {"tp": 2, "pp": 3}, {"dp": 8, "ep": 8}, {"tp": 2, "dp": 4, "ep": 4}],
    "batch": [1, 16, 500],
    "length": [900, 4096, 33_000, 131_072],
}
DIM = {"models": "model", "systems": "system", "recipes": "recipe", "deployments": "deployment", "batch": "batch"}


def run(kind: str, axes: dict[str, list[Any]], fidelity: Any = "kernel", parallel: bool = True) -> xr.Dataset:
    """A grid of decode or prefill over `axes`."""
    given_axes: dict[str, Any] = {name: values for name, values in axes.items() if name != "length"}
    options: dict[str, Any] = {"fidelity": fidelity, "parallel": parallel, "components": True}
    if kind == "decode":
        return rl.decode(**given_axes, context=axes["length"], **options)
    return rl.prefill(**given_axes, isl=axes["length"], chunk=2048, **options)


@pytest.fixture(scope="module")
def grids() -> dict[tuple[str, str], xr.Dataset]:
    kinds = [(kind, fidelity) for kind in ("decode", "prefill") for fidelity in ("kernel", "ideal")]
    return {(kind, fidelity): run(kind, AXES, fidelity) for kind, fidelity in kinds}


def same_bits(one: xr.Dataset, other: xr.Dataset) -> None:
    """Every variable holds the same bits, NaN included."""
    assert set(one.data_vars) == set(other.data_vars)
    for name, variable in one.data_vars.items():
        assert variable.dims == other[name].dims
        assert variable.values.tobytes() == other[name].values.tobytes(), name


def pick(ds: xr.Dataset, chosen: dict[str, list[int]]) -> xr.Dataset:
    """Cells of the whole grid by position on each axis."""
    length = ds["power"].dims[-1]
    return ds.isel({DIM.get(name, length): places for name, places in chosen.items()})


@st.composite
def selections(draw: st.DrawFn) -> dict[str, list[int]]:
    """Some places of every axis, in any order."""
    return {
        name: draw(st.lists(st.integers(0, len(values) - 1), min_size=1, unique=True)) for name, values in AXES.items()
    }


@given(st.sampled_from(["decode", "prefill"]), st.sampled_from(["kernel", "ideal"]), selections(), st.booleans())
def test_a_part_in_any_order_has_the_bits_of_the_whole(
    grids: dict[tuple[str, str], xr.Dataset], kind: str, fidelity: str, chosen: dict[str, list[int]], parallel: bool
) -> None:
    part = run(kind, {name: [AXES[name][i] for i in places] for name, places in chosen.items()}, fidelity, parallel)
    same_bits(pick(grids[kind, fidelity], chosen), part)


@given(st.sampled_from(["decode", "prefill"]), selections())
def test_one_cell_alone_is_the_cell_of_the_grid(
    grids: dict[tuple[str, str], xr.Dataset], kind: str, chosen: dict[str, list[int]]
) -> None:
    first = {name: places[:1] for name, places in chosen.items()}
    alone = run(kind, {name: [AXES[name][places[0]]] for name, places in first.items()})
    same_bits(pick(grids[kind, "kernel"], first), alone)


@pytest.mark.parametrize("kind", ["decode", "prefill"])
def test_threads_do_not_change_bits(grids: dict[tuple[str, str], xr.Dataset], kind: str) -> None:
    serial = run(kind, AXES, parallel=False)
    same_bits(grids[kind, "kernel"], serial)
    assert int((serial["limit"] == 0).sum()) > 300


def test_degrees_as_a_product_are_the_same_as_rows() -> None:
    common: dict[str, Any] = {"batch": [1, 64], "context": [1024, 8192]}
    rows = [{"tp": tp, "dp": dp, "ep": ep} for tp in (1, 8) for dp in (1, 4) for ep in (1, 4)]
    product = rl.decode("mixtral-8x7b", "dgx-h100", "bf16", tp=[1, 8], dp=[1, 4], ep=[1, 4], **common)
    listed = rl.decode("mixtral-8x7b", "dgx-h100", "bf16", deployments=rows, **common)
    assert product.identical(listed)


def test_a_long_context_axis_crosses_tiles() -> None:
    """More contexts than one tile of the kernel: any of them alone gives the same bits."""
    contexts = list(range(100, 100 + 3 * 700, 3))
    ds = rl.decode("gemma-3-27b", "dgx-h100", "bf16", tp=4, batch=8, context=contexts)
    for place in (0, 255, 256, 511, 512, 699):
        alone = rl.decode("gemma-3-27b", "dgx-h100", "bf16", tp=4, batch=8, context=contexts[place])
        same_bits(ds.isel(context=[place]), alone)


def through_file(ds: xr.Dataset, target: Path) -> xr.Dataset:
    """A Dataset written and read again."""
    if target.suffix == ".nc":
        ds.to_netcdf(target, engine="h5netcdf")
        with xr.open_dataset(target, engine="h5netcdf") as opened:
            return opened.load()
    ds.to_zarr(target, consolidated=False)
    return xr.open_zarr(target, consolidated=False).load()


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_files_hold_all_of_it(grids: dict[tuple[str, str], xr.Dataset], tmp_path: Path, suffix: str) -> None:
    """Warnings are errors here: strings, flags and attributes must be what the format takes."""
    ds = grids["decode", "kernel"]
    back = through_file(ds, tmp_path / f"cells.{suffix}")
    same_bits(ds, back)
    assert back["limit"].dtype == np.int8
    assert back.attrs == ds.attrs
    for name, coordinate in ds.coords.items():
        assert np.array_equal(back[name].values, coordinate.values, equal_nan=coordinate.dtype == np.float64), name
    for name, variable in ds.variables.items():
        for key, value in variable.attrs.items():
            assert np.array_equal(back[name].attrs[key], value), (name, key)
    rolled = rl.rollup(back, vintage="semianalysis-2026", basis="provisioned", duty=0.5)
    same_bits(rl.rollup(ds, vintage="semianalysis-2026", basis="provisioned", duty=0.5), rolled)
    same_bits(rl.rollup(ds), rl.rollup(back))


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_files_hold_systems_without_vintages(tmp_path: Path, suffix: str) -> None:
    """An empty vintage axis goes through a file, and the roll-up of what comes back is the same."""
    ds = rl.decode("llama-3.1-8b", "l40s", "bf16", batch=[1, 8], context=1024)
    assert ds.sizes["vintage"] == 0
    rolled = rl.rollup(through_file(ds, tmp_path / f"cells.{suffix}"))
    assert rolled["tokens_per_mwh"].values.tobytes() == rl.rollup(ds)["tokens_per_mwh"].values.tobytes()
    assert np.isfinite(rolled["tokens_per_mwh"]).all()
