"""The least that an output token can cost on a system, whatever the deployment: docs/claims.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.drafts import drafts_of
from roofline.grid.evaluate import decode, prefill
from roofline.grid.variables import limit_reason
from roofline.rack.energy import PowerFacts
from roofline.specs.pack.machine import pack_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from roofline.insight.claim_units import Kind
    from roofline.rack.energy import Basis, Boundary
    from roofline.serving.workload import Workload
    from roofline.specs import Model, Recipe, System

    Floats = NDArray[np.float64]

UNLIMITED = 1e16
"""Memory of the accelerator of the bound [B]: the most a sheet takes, so that no batch is too large."""

MANY = 4096
"""Sequences from which on every expert is read in any case: one more adds only its own work and its own cache."""

NODES = 16
"""Contexts over which decoding is averaged."""


@dataclass(frozen=True)
class Step:
    """One line of the derivation."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True)
class IdealBound:
    """The least cost of an output token.

    recipe, prefill_recipe : formats in which decoding, and the prompt, cost least.   drafts : tokens drafted a step.
    gpu_seconds : time of one accelerator [s].   draw_w : its mean draw then [W].   watts : at the boundary [W];
    joules_per_token : their product with the time [J]; NaN where the system's power is undisclosed.
    """

    recipe: str
    prefill_recipe: str
    drafts: int
    gpu_seconds: float
    draw_w: float
    watts: float
    joules_per_token: float
    derivation: tuple[Step, ...]


@dataclass(frozen=True)
class _Work:
    """What one more sequence takes of an accelerator, for each recipe: s of arithmetic and s of memory traffic.

    limit : `layout.Limit` of a cell that does not run, 0 where all do.
    """

    recipes: list[str]
    compute_s: Floats
    memory_s: Floats
    limit: int


def ideal_bound(
    model: Model,
    system: System,
    recipes: Sequence[Recipe],
    workload: Workload,
    *,
    kind: Kind = "energy",
    acceptance: Sequence[float] = (),
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    vintage: str | None = None,
) -> IdealBound:
    """The least J of an output token at a boundary, or the least accelerator time where `kind` is not energy.

    An accelerator cannot spend less time on a token than its own arithmetic takes at the dense peak, nor than reading
    its own cache takes at full bandwidth, its share of the prompt included. Weights are read for so many sequences at
    once that they cost nothing, nothing waits for a network, and every part of the system is used all the time. So no
    tensor, expert or pipeline parallelism, batch or mode is below it.
    acceptance : of drafts by the model's own layers; those of least cost are taken.
    Equations (35) to (38) of docs/claims.md. Raises InputError where none of the recipes can run.
    """
    endless = system.replace(accelerator__memory__bytes=UNLIMITED)
    prompt = _prompt(model, endless, recipes, workload)
    facts = PowerFacts.of(system)
    corners = _corners(system)
    tokens = _tokens(model, endless, recipes, workload, [])
    found: list[tuple[float, IdealBound]] = []
    for drafts in range(len(acceptance) + 1):
        if drafts:
            tokens = _tokens(model, endless, recipes, workload, list(acceptance[:drafts]))
        for i, recipe in enumerate(tokens.recipes):
            for j, other in enumerate(prompt.recipes):
                parts = (
                    *(float(tokens.compute_s[i]), float(tokens.memory_s[i])),
                    *(float(prompt.compute_s[j]), float(prompt.memory_s[j])),
                )
                one = _bound((recipe, other), drafts, parts, corners, facts, boundary, basis, vintage)
                cost = one.joules_per_token if kind == "energy" else one.gpu_seconds
                if kind == "energy" and np.isnan(cost):
                    cost = one.gpu_seconds  # nothing to choose by but time
                if np.isfinite(cost):
                    found.append((cost, one))
    if not found:
        listed = ", ".join(axes.label(recipe) for recipe in recipes)
        reason = limit_reason(tokens.limit or prompt.limit)
        raise InputError(f"{model.name} cannot run on {system.name} in {listed}: {reason}")
    return min(found, key=lambda pair: pair[0])[1]


def _tokens(
    model: Model, system: System, recipes: Sequence[Recipe], workload: Workload, acceptance: list[float]
) -> _Work:
    """What an output token takes, decoding alone: the difference between two batches of one accelerator."""
    speculation = drafts_of(len(acceptance), acceptance or None)
    nodes = np.maximum(np.round(workload.nodes(NODES)[0]), 1 + speculation.count).astype(np.int64)
    contexts, times = np.unique(nodes, return_counts=True)
    ds = decode(
        *(model, system, list(recipes)),
        batch=[MANY, 2 * MANY],
        context=contexts,
        drafts=speculation.count,
        acceptance=speculation.acceptance or None,
        fidelity="ideal",
    )
    kept = speculation.tokens_per_step
    return _slopes(ds, "step_time", times / times.sum(), 1.0 / kept)


def _prompt(model: Model, system: System, recipes: Sequence[Recipe], workload: Workload) -> _Work:
    """What a prompt takes for each output token of its request."""
    isl = max(1, round(workload.mean_isl))
    new = min(isl, max(1, round(workload.mean_computed)))
    ds = prefill(
        *(model, system, list(recipes)), batch=[MANY, 2 * MANY], isl=isl, cached=isl - new, chunk=new, fidelity="ideal"
    )
    return _slopes(ds, "prefill_time", np.ones(1), 1.0 / workload.mean_osl)


def _slopes(ds: xr.Dataset, time: str, weights: Floats, share: float) -> _Work:
    """Seconds of arithmetic and of memory traffic of one more sequence, times `share`.   weights : of the lengths."""
    whole = ds[time].isel(model=0, system=0, deployment=0).values  # [recipe, batch, length]
    used = [whole * ds[name].isel(model=0, system=0, deployment=0).values for name in ("mfu", "mbu")]
    compute_s, memory_s = (((one[:, 1] - one[:, 0]) @ weights) * share / MANY for one in used)
    limit = int(ds["limit"].max())
    return _Work([str(name) for name in ds["recipe"].values], compute_s, memory_s, limit)


def _corners(system: System) -> tuple[float, float, float]:
    """Draw [W] at full arithmetic and memory, at full arithmetic alone, at full memory alone: equation (16)."""
    from roofline.kernels.power import draw

    machine = pack_machine(system, "ideal").reshape(1).view(np.recarray)[0]
    plain = getattr(draw, "py_func", draw)  # three calls: not worth compiling for
    both, compute, memory = (float(plain(machine, *shares)) for shares in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)))
    return both, compute, memory


def _bound(
    recipes: tuple[str, str],
    drafts: int,
    parts: tuple[float, float, float, float],
    corners: tuple[float, float, float],
    facts: PowerFacts,
    boundary: Boundary,
    basis: Basis,
    vintage: str | None,
) -> IdealBound:
    """One bound from seconds of arithmetic and memory: of a decoded token, then of its share of the prompt."""
    compute_s, memory_s = parts[0] + parts[2], parts[1] + parts[3]
    seconds = max(compute_s, memory_s)
    both, compute, memory = corners
    alone = compute if compute_s > memory_s else memory
    # The draw is concave in what is used: to run at full and to stop costs least, as much as possible at once.
    joules = min(compute_s, memory_s) * both + abs(compute_s - memory_s) * alone
    draw_w = joules / seconds
    watts = _watts(facts, draw_w, boundary, basis, vintage)
    derivation = (
        Step(f"arithmetic of a decoded token at the dense peak ({recipes[0]})", parts[0], "s"),
        Step("its cache at full memory bandwidth, weights for nothing", parts[1], "s"),
        Step(f"arithmetic of its share of the prompt ({recipes[1]})", parts[2], "s"),
        Step("memory traffic of its share of the prompt", parts[3], "s"),
        Step("accelerator time: the larger of all arithmetic and all traffic", seconds, "s"),
        Step("tokens a second of one accelerator", 1.0 / seconds, "1/s"),
        Step("mean draw of the accelerator, what is used at once used at full", draw_w, "W"),
        Step(f"power at the boundary for each accelerator ({boundary}, {basis})", watts, "W"),
        Step("energy of an output token", seconds * watts, "J"),
    )
    return IdealBound(*recipes, drafts, seconds, draw_w, watts, seconds * watts, derivation)


def _watts(facts: PowerFacts, draw_w: float, boundary: Boundary, basis: Basis, vintage: str | None) -> float:
    """Watts at the boundary for each accelerator of a full system, its supplies at the best of their curve."""
    if basis == "provisioned":
        one, whole = np.array([facts.accelerators]), np.array([1])
        reserved = float(facts.reserved_watts(boundary, vintage, one, whole)[0])
        return reserved / facts.accelerators
    if boundary == "accelerator":
        return draw_w
    rack = (draw_w + facts.host_w / facts.accelerators) / max(facts.psu_efficiency)
    return float(facts.at_meter(np.asarray(rack), 1 / facts.accelerators)) if boundary == "facility" else rack
