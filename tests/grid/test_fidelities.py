"""`ideal` is a bound: nothing shipped is faster in `kernel`, and fewer bytes at no less peak are never slower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.grid.deployments import candidates
from roofline.specs import list_specs

MODELS, SYSTEMS = list_specs("model"), list_specs("system")


def legal(model: str, system: str) -> list[dict[str, int]]:
    """Candidate deployments of up to 16 accelerators."""
    box = rl.System.load(system)
    most = 256 if in_sram(system) else 16
    rows = candidates(rl.Model.load(model), box, most).rows
    return [dict(zip(("tp", "pp", "dp", "ep", "moe_tp"), row, strict=True)) for row in rows]


def in_sram(system: str) -> bool:
    """Whether weights are spread over the small memories of many chips."""
    return rl.System.load(system).accelerator.memory.kind == "SRAM"


def no_less(slow: xr.DataArray, fast: xr.DataArray) -> None:
    """Cell by cell where both run, up to rounding."""
    longer = (fast / slow).values > 1 + 1e-12  # NaN where either does not run
    assert not longer.any(), f"{int(longer.sum())} cells, the first at {np.argwhere(longer)[0]} of {slow.dims}"


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_shipped_model_is_faster_than_ideal(system: str) -> None:
    """Every third model on each system, each on a third of them; all pairs are held to it in test_shipped_sheets."""
    met = 0
    for model in MODELS[SYSTEMS.index(system) % 3 :: 3]:
        recipes = list(dict.fromkeys((*rl.Model.load(model).recipes, "nvfp4")))
        axes: dict[str, Any] = {"deployments": legal(model, system), "batch": [1, 500]}
        for run, length in (
            (rl.decode, {"context": [777, 32_768]}),
            (rl.prefill, {"isl": [777, 32_768], "chunk": 8192}),
        ):
            kernel, ideal = (
                run(model, system, recipes, **axes, **length, fidelity=fidelity)  # type: ignore[arg-type]
                for fidelity in ("kernel", "ideal")
            )
            time = "step_time" if "step_time" in kernel else "prefill_time"
            no_less(kernel[time], ideal[time])
            no_less(ideal[f"{time}_serial"], ideal[time])
            np.testing.assert_array_equal(kernel[f"{time}_serial"], kernel[time])
            for share in ("mfu", "mbu"):
                assert (ideal[share].fillna(0.0) <= 1 + 1e-12).all()
                assert (kernel[share].fillna(0.0) <= 1 + 1e-12).all()
            assert (ideal["memory"] <= kernel["memory"]).where(kernel["memory"].notnull(), True).all()
            assert kernel["limit"].where(ideal["limit"] != 0, 1).all()  # what ideal refuses, kernel refuses
            met += int((kernel["limit"] == 0).sum())
    assert met > (5 if in_sram(system) else 150)


@pytest.mark.parametrize("system", SYSTEMS)
def test_narrower_formats_are_never_slower_in_ideal(system: str) -> None:
    """fp8 against bf16 everywhere; fp8 KV cache and arithmetic have no worse peak and bytes on any shipped part."""
    part = rl.System.load(system).accelerator.dense_flop_per_s
    met = 0
    for model in MODELS:
        ds = rl.decode(
            model, system, ["bf16", "fp8"], deployments=legal(model, system), batch=[1, 33, 512], context=[777, 32_768],
            fidelity="ideal",
        )  # fmt: skip
        wide, narrow = ds.sel(recipe="bf16"), ds.sel(recipe="fp8")
        no_less(wide["step_time"].drop_vars("recipe"), narrow["step_time"].drop_vars("recipe"))
        assert (narrow["memory"] <= wide["memory"]).where(wide["memory"].notnull(), True).all()
        met += int(((wide["limit"] == 0) & (narrow["limit"] == 0)).sum())
    assert met > (20 if in_sram(system) else 400)
    assert part.get("fp8", np.inf) >= part["bf16"]


def test_every_axis_of_work_costs_time() -> None:
    """More sequences, longer contexts: never a shorter step; longer prompts: never a shorter prefill."""
    axes: dict[str, Any] = {"deployments": [{"tp": 8}, {"dp": 8, "ep": 8}, {"tp": 2, "pp": 2}]}
    for fidelity in ("kernel", "ideal"):
        ds = rl.decode(
            ["llama-3.1-70b", "deepseek-v3", "gpt-oss-120b"], "dgx-b200", "bf16", **axes, fidelity=fidelity,
            batch=[1, 2, 3, 8, 16, 64], context=[100, 1000, 8000, 64_000],
        )  # fmt: skip
        for dim in ("batch", "context"):
            assert (ds["step_time"].diff(dim).fillna(0.0) >= -1e-15).all()
            assert (ds["memory"].diff(dim).fillna(0.0) >= 0.0).all()
        prompts = rl.prefill(
            ["llama-3.1-70b", "deepseek-v3", "gpt-oss-120b"], "dgx-b200", "bf16", **axes, fidelity=fidelity,
            batch=[1, 4], isl=[100, 1000, 8000, 64_000], chunk=4096,
        )  # fmt: skip
        assert (prompts["prefill_time"].diff("isl").fillna(0.0) >= 0.0).all()
