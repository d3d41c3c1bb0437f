"""The best way to serve each workload with each model on each system under each SLO."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline import provenance
from roofline.errors import InputError, unknown_name
from roofline.grid import axes
from roofline.grid.evaluate import system_coords
from roofline.grid.variables import BOUND_FLAGS, LIMIT_FLAGS
from roofline.planning.choose import MODES, Chooser
from roofline.planning.money import objective_of
from roofline.planning.question import Question, question
from roofline.planning.space import Space
from roofline.planning.variables import AT_BOUNDARY, FIGURES, TEXTS
from roofline.serving.bands import ABOUT, MEASURED_MODES, tiers_of
from roofline.specs import Facility, Model, Recipe, System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from roofline.planning.choose import Choice
    from roofline.planning.objective import Objective
    from roofline.rack.cost import Bill
    from roofline.rack.energy import Basis, Boundary
    from roofline.serving.slo import SLO
    from roofline.serving.workload import Workload
    from roofline.specs.stack import Stack

DIMS = ("model", "system", "workload", "slo")


def plan(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    workload: Workload | Mapping[str, Any] | str | PathLike[str] | Sequence[Any],
    slo: SLO | Mapping[str, Any] | Sequence[Any] | None = None,
    objective: str = "tokens_per_mwh",
    modes: str | Sequence[str] | None = None,
    rate: float | None = None,
    acceptance: float | Sequence[float] | None = None,
    prefill_systems: axes.SheetLike | None = None,
    ffn_systems: axes.SheetLike | None = None,
    most_accelerators: int | None = None,
    deployments: Iterable[Mapping[str, int]] | None = None,
    chunk: axes.Counts | None = None,
    stack: Any = "default",
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    vintage: str | None = None,
    facility: axes.SheetLike | None = None,
    bill: Bill | None = None,
    progress: Callable[[int, int], None] | None = None,
    parallel: bool = True,
) -> xr.Dataset:
    """The deployment that is best by `objective` and meets the SLO, of all there are, or why there is none.

    models, systems : names, paths, mappings or sheets, one or many.   recipes : default those each model ships in that
        the accelerator computes as meant.
    workload, slo : one or a list of each; a workload as `Workload.of` reads it; an `SLO`, a mapping of its fields or
        None. Limits are taken literally, each at its percentile.
    objective : tokens_per_mwh, joules_per_token, tokens_per_s_per_gpu, min_gpus for the workload's rate, or
        usd_per_mtok, least cost of an output token by a `bill` (docs/site.md).
    modes : of aggregated (continuous batching with chunked prefill), static (a batch begins and ends together) and
        disaggregated (a pool that computes prompts and one that decodes, rates matched) and attention_ffn (the same,
        with the feed-forwards of the decode pool on another system); the best is chosen, by default of the first three,
        and of the last where ffn_systems are given.
    rate : requests a second of every workload, for min_gpus and for the units that a load takes.
    acceptance : chance that a draft at each position is kept: drafts by the model's own layers are then tried, from
        none up to as many as are given.
    prefill_systems : systems that may compute prompts, beside each system itself.
    ffn_systems : systems that may run the feed-forwards of a decode pool whose attention is on each system.
    most_accelerators : of one unit, pools together; default one system or the fewest that hold the
        weights twice over for a replica, and 32 replicas of a pool.
    deployments : in place of all, as mappings of tp, pp, dp, ep, moe_tp.   chunk : tokens, those to try.
    stack : the serving stack.   boundary, basis, vintage : where energy is counted, as in `roofline.rollup`; the duty
        is the mean load of the workload.
    progress : called with (models done, in all).   parallel : use all threads numba may use.

    Returns a Dataset with dims (model, system, workload, slo): the figures of the choice, its deployment, batch and
    pools. Where nothing meets the SLO it is NaN, `nearest_miss` names the limit that the nearest candidate misses and
    `nearest_factor` by how much; where nothing runs `limit` says why. Fidelity `serving`; `tier` and `energy_tier` say
    what figures rest on, `ds.roofline.band("tpot")` is the band of one (docs/bands.md). tokens/MWh and J/token count
    OUTPUT tokens; input and total rates are variables of their own. Attribute `candidates`: how many were decided, by
    evaluation or by a bound.
    Raises `InputError` for bad input. Equations: section 13 of docs/equations.md.
    """
    asked = question(
        workload, slo, stack=stack, chunks=chunk, acceptance=acceptance, rate=rate, loaded=objective == "min_gpus"
    )
    aim = objective_of(objective, boundary, basis, vintage, bill, [one.duty for one in asked.workloads])
    shapes, boxes = axes.sheets("models", Model, models), axes.sheets("systems", System, systems)
    helpers = [] if prefill_systems is None else axes.sheets("prefill_systems", System, prefill_systems)
    others = [] if ffn_systems is None else axes.sheets("ffn_systems", System, ffn_systems)
    if facility is not None:
        building = Facility.load(facility)
        boxes, helpers, others = (
            [box.model_copy(update={"facility": building}) for box in listed] for listed in (boxes, helpers, others)
        )
    named = None if recipes is None else axes.sheets("recipes", Recipe, recipes)
    ways = checked_modes(modes, bool(others))
    fixed = None if deployments is None else axes.deployments(rows=deployments)
    most = None if most_accelerators is None else axes.count("most_accelerators", most_accelerators)
    result = _Result(shapes, boxes, asked, aim)

    def search(model: Model) -> Chooser:
        space = Space.of(model, boxes, named, most, fixed)
        prompts = Space.of(model, helpers, named, most, fixed) if helpers else None
        return Chooser(space, asked, aim, ways, prompts, most, others, parallel=parallel)

    report = progress or (lambda done, models: None)
    report(0, len(shapes))
    for m, chooser in enumerate(_ahead(search, shapes) if parallel else map(search, shapes)):
        for at in np.ndindex(len(boxes), len(asked.workloads), len(asked.slos)):
            result.put((m, *at), chooser.choose(*at))
        result.candidates += chooser.candidates
        result.add_memory(m, chooser.space, parallel)
        report(m + 1, len(shapes))
    return result.dataset(named or [], [*helpers, *others])


def _ahead(search: Callable[[Model], Chooser], models: Sequence[Model]) -> Iterator[Chooser]:
    """Searches of models in turn, the next one in a thread of its own while the caller chooses from this one."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(search, models[0])
        for model in models[1:]:
            found, following = following.result(), thread.submit(search, model)
            yield found
        yield following.result()


def checked_modes(modes: str | Sequence[str] | None, apart: bool) -> tuple[str, ...]:
    """Modes in the order in which ties are settled.   apart : whether there are systems for feed-forwards.

    Raises InputError for one that is none.
    """
    if modes is None:
        return MODES if apart else MODES[:-1]
    listed = [modes] if isinstance(modes, str) else list(modes)
    for mode in listed:
        if mode not in MODES:
            raise unknown_name("mode", str(mode), MODES)
    if not listed:
        raise InputError(f"modes: none given; give at least one of {', '.join(MODES)}")
    if "attention_ffn" in listed and not apart:
        raise InputError("mode attention_ffn: give ffn_systems too, the systems that run the feed-forwards")
    return tuple(mode for mode in MODES if mode in listed)


class _Result:
    """Arrays of a plan as they fill."""

    def __init__(self, models: list[Model], systems: list[System], asked: Question, aim: Objective) -> None:
        self.models, self.systems, self.asked, self.aim = models, systems, asked, aim
        self.shape = (len(models), len(systems), len(asked.workloads), len(asked.slos))
        self.figures = {name: np.full(self.shape, np.nan) for name in FIGURES}
        self.texts = {name: np.full(self.shape, "", dtype=object) for name in TEXTS}
        self.config = np.full(self.shape, -1, dtype=np.int64)
        self.limit, self.bound = np.zeros(self.shape, dtype=np.int8), np.zeros(self.shape, dtype=np.int8)
        self.candidates = 0

    def put(self, at: tuple[int, ...], choice: Choice) -> None:
        """Write what was chosen for one cell."""
        for name, value in choice.figures.items():
            if name == "config":
                self.config[at] = int(value)
            else:
                self.figures[name][at] = value
        for name, text in choice.texts.items():
            self.texts[name][at] = text
        self.limit[at] = choice.limit
        self.figures["nearest_factor"][at], self.texts["nearest_miss"][at] = choice.factor, choice.missed

    def add_memory(self, m: int, space: Space, parallel: bool) -> None:
        """Memory of what was chosen for a model and what binds its decode step, from the decode kernel."""
        from roofline.kernels.outputs import Var
        from roofline.kernels.sweep import decode_grid

        for w, g in np.ndindex(len(self.asked.workloads), len(self.asked.drafts)):
            drafts = self.asked.drafts[g].count
            chosen = (self.config[m, :, w] >= 0) & (self.figures["drafts"][m, :, w] == drafts)
            if not chosen.any():
                continue
            configs = space.configs[self.config[m, :, w][chosen]]
            concurrency = self.figures["concurrency"][m, :, w] / self.figures["decode_replicas"][m, :, w]
            for name, batch in (("memory", concurrency), ("bound", self.figures["batch"][m, :, w])):
                workload = self.asked.workloads[w]
                context = round(workload.mean_isl + workload.mean_osl if name == "memory" else workload.mean_context)
                found = decode_grid(
                    *space.records[:-1],
                    configs,
                    np.ceil(batch[chosen]).astype(np.int64)[:, None],
                    np.array([max(context, 1 + drafts)]),
                    new_tokens=1 + drafts,
                    drafts=drafts,
                    want=(Var.MEMORY,),
                    parallel=parallel,
                )
                if name == "bound":
                    self.bound[m, :, w][chosen] = found["bound"][:, 0, 0]
                    continue
                memory = found["values"][int(Var.MEMORY)][:, 0, 0]
                machine = space.packed.machines[configs["machine"]]
                usable = machine["memory_bytes"] * machine["memory_fraction"] - machine["reserve_bytes"]
                self.figures["memory"][m, :, w][chosen] = memory
                self.figures["memory_share"][m, :, w][chosen] = memory / usable

    def dataset(self, recipes: list[Recipe], helpers: list[System]) -> xr.Dataset:
        """All of it, with coordinates and provenance."""
        asked, aim = self.asked, self.aim
        data: dict[str, Any] = {}
        for name, (units, text) in FIGURES.items():
            where = f" ({aim.where})" if name in AT_BOUNDARY else ""
            data[name] = (DIMS, self.figures[name], {"units": units, "long_name": text + where})
        for name, text in TEXTS.items():
            data[name] = (DIMS, self.texts[name], {"long_name": text})
        held = tier_arrays(self.texts["mode"], self.texts["prefill_system"], self.systems, helpers, asked.stack)
        for name, tiers in held.items():
            data[name] = (DIMS, tiers, {"long_name": f"{ABOUT[name]}, of the lowest of its systems"})
        data["bound"] = (DIMS, self.bound, BOUND_FLAGS)
        data["limit"] = (DIMS, self.limit, LIMIT_FLAGS)
        coords: dict[str, Any] = {
            "model": np.array([axes.label(one) for one in self.models], dtype=object),
            "system": np.array([axes.label(one) for one in self.systems], dtype=object),
            "workload": np.array(distinct([workload_label(one) for one in asked.workloads]), dtype=object),
            "slo": np.array(distinct([slo_label(one) for one in asked.slos]), dtype=object),
            "isl": ("workload", [one.mean_isl for one in asked.workloads], {"units": "1", "long_name": "mean ISL"}),
            "osl": ("workload", [one.mean_osl for one in asked.workloads], {"units": "1", "long_name": "mean OSL"}),
        }
        contexts = [one.mean_context for one in asked.workloads]
        about = {"units": "1", "long_name": "mean context of a decoded token"}
        coords["mean_context"] = ("workload", contexts, about)
        for name in ("ttft_s", "tpot_s", "latency_s"):
            text = f"limit of {name[:-2].upper() if name != 'latency_s' else 'latency'}"
            limits = [getattr(one, name) for one in asked.slos]
            coords[f"slo_{name}"] = ("slo", limits, {"units": "s", "long_name": text})
        known = system_coords(self.systems)
        coords |= {name: known[name] for name in ("system_name", "system_accelerators", "power_unknown")}
        used = {str(name) for texts in ("recipe", "prefill_recipe") for name in np.unique(self.texts[texts])}
        found = attributes(asked, aim, self.models, [*self.systems, *helpers], recipes, used, self.candidates)
        return xr.Dataset(data, coords=coords, attrs=found)


def tier_arrays(
    modes: NDArray[np.object_],
    prefill_systems: NDArray[np.object_],
    systems: Sequence[System],
    helpers: Sequence[System],
    stack: Stack,
) -> dict[str, NDArray[np.object_]]:
    """`tier` and `energy_tier` of each choice, of the shape of `DIMS`; '' where nothing is chosen, or none is claimed.

    modes, prefill_systems : of each choice.   helpers : systems beside those of the axis that may compute prompts.
    """
    named = {axes.label(system): system for system in (*helpers, *systems)}
    found = {name: np.full(modes.shape, "", dtype=object) for name in ABOUT}
    for at in zip(*np.nonzero(modes != ""), strict=True):
        if modes[at] in MEASURED_MODES:
            of = [systems[at[1]], *([named[prefill_systems[at]]] if prefill_systems[at] else [])]
            for array, tier in zip(found.values(), tiers_of(of, stack), strict=True):
                array[at] = tier
    return found


def attributes(
    asked: Question,
    aim: Objective,
    models: Sequence[Model],
    systems: Sequence[System],
    recipes: Sequence[Recipe],
    used: set[str],
    candidates: int,
) -> dict[str, str]:
    """Provenance of a search.   recipes : those given.   used : names of those chosen.   candidates : in all."""
    given = {axes.label(recipe): recipe for recipe in recipes}
    chosen = [given[name] if name in given else Recipe.load(name) for name in sorted(used - {""})]
    sheets = (*models, *systems, *chosen, asked.stack)
    digests = [pair for sheet in sheets for pair in sheet.digests.items()]
    drafts = asked.drafts[-1]
    return (
        provenance.attributes(fidelity="serving", sheets=digests)
        | aim.attributes
        | {
            "pass": "plan",
            "stack": asked.stack.id or asked.stack.name,
            "duty": ", ".join(f"{one.duty:g}" for one in asked.workloads),
            "chunks": ", ".join(str(chunk) for chunk in asked.chunks),
            "acceptance": ", ".join(f"{a:g}" for a in drafts.acceptance),
            "reservation": "ISL + OSL",
            "candidates": str(candidates),
        }
    )


def workload_label(workload: Workload) -> str:
    """What a workload is called on an axis: its name, else ISL/OSL."""
    return workload.name or f"{workload.mean_isl:g}/{workload.mean_osl:g}"


def slo_label(slo: SLO) -> str:
    """What limits are called on an axis: `ttft 2 s p99, tpot 0.02 s`, the median unsaid; `none` without any."""
    parts = []
    for name, limit in slo.limits.items():
        percent = slo.percentile_of(name)
        parts.append(f"{name} {limit:g} s" + ("" if percent == 50.0 else f" p{percent:g}"))
    return ", ".join(parts) or "none"


def distinct(labels: list[str]) -> list[str]:
    """Labels with a number after those that came before."""
    seen: dict[str, int] = {}
    found = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        found.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return found
