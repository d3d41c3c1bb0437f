"""The measures of the field side by side: what each says of every system, and where their rankings disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError
from roofline.grid import axes
from roofline.planning.plan import plan
from roofline.serving.slo import SLO
from roofline.specs import Model, System

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from numpy.typing import NDArray

    from roofline.serving.workload import Workload

    Floats = NDArray[np.float64]

MEASURES = {
    "peak_flop_per_s": ("FLOP/s", "dense peak of the fastest arithmetic a shipped format of the model runs in"),
    "flop_per_s_per_w": ("FLOP/(s W)", "that peak over the TDP of the accelerator"),
    "throughput": ("1/s", "output tokens a second per accelerator of the best plan without limits"),
    "goodput": ("1/s", "output tokens a second per accelerator of the best plan that meets the SLO"),
    "tokens_per_mwh": ("1/MWh", "output tokens per megawatt-hour of the best plan that meets the SLO"),
}
"""By name: (units, meaning). More is better in all."""


def metrics(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    *,
    workload: Workload | Mapping[str, Any] | str | PathLike[str],
    slo: SLO | Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Peak FLOPS, performance per watt, throughput, goodput and tokens/MWh of every system, and each one's ranking.

    slo : limits that goodput and tokens/MWh keep, and throughput does not.   options : others of `roofline.plan`, such
        as recipes, modes, stack, boundary.   progress : called with (searches done, in all).

    Throughput and goodput are of plans that seek tokens/s per accelerator, tokens/MWh of one that seeks that.
    Returns a Dataset with the dims (model, system, measure): value, rank (1 best, NaN where there is no value); and
    with (model, measure, other): agreement, Kendall's tau-b of two rankings over the systems that both rank, and
    reversed_pairs, how many pairs of systems they order differently.
    Raises InputError as `roofline.plan`.
    """
    limits = slo if isinstance(slo, SLO) else SLO(**slo) if isinstance(slo, dict) else None
    if limits is None or not limits.limits:
        raise InputError("slo: give at least one limit, e.g. SLO(tpot_s=0.05); goodput is of requests that meet it")
    if "objective" in options:
        raise InputError("objective: metrics seeks what each measure is of; leave it out")
    shapes, boxes = axes.sheets("models", Model, models), axes.sheets("systems", System, systems)

    def step(done: int) -> None:
        if progress is not None:
            progress(done, 2)

    step(0)
    fast = plan(shapes, boxes, workload=workload, slo=[SLO(), limits], objective="tokens_per_s_per_gpu", **options)
    step(1)
    frugal = plan(shapes, boxes, workload=workload, slo=limits, objective="tokens_per_mwh", **options)
    step(2)
    values = np.full((len(shapes), len(boxes), len(MEASURES)), np.nan)
    for m, model in enumerate(shapes):
        for s, system in enumerate(boxes):
            values[m, s, :2] = _peak(model, system)
    values[:, :, 2:4] = fast["tokens_per_s_per_gpu"].isel(workload=0).values
    values[:, :, 4] = frugal["tokens_per_mwh"].isel(workload=0, slo=0).values
    ranks = _ranks(values)
    agreement, reversed_pairs = _agreement(values)
    measures = np.array(list(MEASURES), dtype=object)
    dims = ("model", "system", "measure")
    data: dict[str, Any] = {
        "value": (dims, values, {"long_name": "value of the measure, in its units"}),
        "rank": (dims, ranks, {"units": "1", "long_name": "place of the system by the measure, 1 the best"}),
        "agreement": (
            ("model", "measure", "other"),
            agreement,
            {"units": "1", "long_name": "Kendall's tau-b of two rankings"},
        ),
        "reversed_pairs": (
            ("model", "measure", "other"),
            reversed_pairs,
            {"units": "1", "long_name": "pairs of systems that two measures order differently"},
        ),
        "mode": (("model", "system"), frugal["mode"].isel(workload=0, slo=0).values),
        "deployment": (("model", "system"), frugal["deployment"].isel(workload=0, slo=0).values),
        "limit": (("model", "system"), frugal["limit"].isel(workload=0, slo=0).values, frugal["limit"].attrs),
    }
    coords = {
        "model": frugal["model"].values,
        "system": frugal["system"].values,
        "measure": measures,
        "other": measures,
        "units": ("measure", np.array([units for units, _ in MEASURES.values()], dtype=object)),
        "meaning": ("measure", np.array([meaning for _, meaning in MEASURES.values()], dtype=object)),
    }
    found = frugal.attrs | {
        "pass": "metrics",
        "objective": "each measure its own",
        "workload": str(frugal["workload"].values[0]),
        "slo": str(frugal["slo"].values[0]),
    }
    return xr.Dataset(data, coords=coords, attrs=found)


def _peak(model: Model, system: System) -> tuple[float, float]:
    """Dense peak of an accelerator in the fastest arithmetic of the model's native recipes, and over its TDP."""
    from roofline.rack.best import native_recipes
    from roofline.specs.pack import pack_kit, used_parts

    parts = used_parts(model)
    main = "expert" if model.is_moe else "ffn" if "ffn" in parts else "attn"
    peaks = [
        float(kit.record[main]["flop_per_s"])
        for recipe in native_recipes(model, system)
        if (kit := pack_kit(recipe, system.accelerator, "kernel", parts)).record is not None
    ]
    if not peaks:
        return np.nan, np.nan
    tdp_w = system.accelerator.power.tdp_w
    return max(peaks), np.nan if tdp_w is None else max(peaks) / tdp_w


def _ranks(values: Floats) -> Floats:
    """Place along the systems, 1 the largest; equal ones share the better place. NaN where there is no value."""
    larger = values[:, None, :, :] > values[:, :, None, :]
    return np.where(np.isnan(values), np.nan, 1.0 + larger.sum(axis=2))


def _agreement(values: Floats) -> tuple[Floats, Floats]:
    """Kendall's tau-b of all measures, and pairs of systems in opposite order: float64[model, measure, measure]."""
    sign = np.sign(values[:, :, None, :] - values[:, None, :, :])  # NaN where one has no value
    upper = np.triu(np.ones(sign.shape[1:3], dtype=bool), 1)
    pairs = sign[:, upper]
    count = pairs.shape[-1]
    tau, opposite = np.full((values.shape[0], count, count), np.nan), np.zeros((values.shape[0], count, count))
    for m in range(values.shape[0]):
        for i in range(count):
            for j in range(count):
                both = ~np.isnan(pairs[m, :, i]) & ~np.isnan(pairs[m, :, j])
                a, b = pairs[m, both, i], pairs[m, both, j]
                opposite[m, i, j] = float((a * b < 0).sum())
                scale = np.sqrt(float((a * a).sum()) * float((b * b).sum()))
                tau[m, i, j] = float((a * b).sum()) / scale if scale > 0.0 else np.nan
    return tau, opposite
