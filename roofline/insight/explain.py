"""One cell taken apart: every operation with its FLOP, bytes, time, what binds it and where its numbers are from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.drafts import Acceptance, drafts_of
from roofline.grid.evaluate import Grid, decode, prefill
from roofline.grid.variables import limit_reason
from roofline.layout import OPERATION_COMPONENT, Bound, Limit, Operation
from roofline.specs.attention import GroupedQueryAttention
from roofline.specs.pack import PartPlan

if TYPE_CHECKING:
    import xarray as xr

    from roofline.specs import Source
    from roofline.specs.attention import Mixer
    from roofline.specs.pack import Fidelity

_KIT_FIELD = {
    Operation.PROJECT_IN: "attn",
    Operation.PROJECT_QUERY: "attn",
    Operation.ABSORB_QUERY: "attn",
    Operation.EXPAND_CACHE: "attn",
    Operation.ABSORB_VALUE: "attn",
    Operation.PROJECT_OUT: "attn",
    Operation.FFN_UP: "ffn",
    Operation.FFN_DOWN: "ffn",
    Operation.ROUTER: "router",
    Operation.SHARED_UP: "shared",
    Operation.SHARED_DOWN: "shared",
    Operation.EXPERTS: "expert",
    Operation.LM_HEAD: "head",
    Operation.INDEX_QUERY: "attn",
    Operation.INDEX_KEY: "attn",
    Operation.INDEX: "index",
    Operation.SCAN: "scan",
    Operation.LATENT_DOWN: "shared",
    Operation.LATENT_UP: "shared",
    Operation.JOIN_DRAFT: "attn",
}
_SHEET_PATH = {  # operations without arithmetic of their own: which efficiency sets their time
    Operation.EMBEDDING: "operations.elementwise",
    Operation.ELEMENTWISE: "operations.elementwise",
    Operation.PERMUTE: "operations.permute",
    Operation.TOP_K: "operations.top_k",
    Operation.REDUCE_ATTENTION: "collectives.eta_reduce",
    Operation.REDUCE_FFN: "collectives.eta_reduce",
    Operation.REDUCE_EXPERTS: "collectives.eta_reduce",
    Operation.GATHER_LOGITS: "collectives.eta_gather",
    Operation.DISPATCH: "collectives.eta_exchange",
    Operation.COMBINE: "collectives.eta_exchange",
    Operation.HAND_OVER: "collectives.eta_p2p",
}

_IDEAL = "ideal: every share of a peak is 1, every fixed time 0"
_PIPELINE = -2  # kind of layer that `kernels.explain` gives hand-overs
_DRAFT = -3  # and what a draft runs beside its layers


@dataclass(frozen=True)
class OperationRow:
    """One operation of one layer on one accelerator."""

    layer: str  # kind of layer, "ends", "pipeline" or "draft"
    operation: str
    component: str
    count: int  # how often a pass runs it
    flop: float  # FLOP
    bytes: float  # B moved in memory
    intensity: float  # FLOP/B; NaN where nothing is moved
    time_s: float  # s, once
    total_s: float  # s, count times
    bound: str  # compute, memory, network or latency: the larger of fixed time and roof
    math: str  # arithmetic it runs in; empty where none
    weight_only: bool  # operands widened because the part lacks their arithmetic
    peak_flop_per_s: float  # dense peak of that arithmetic; NaN where none
    eta_compute: float
    eta_memory: float  # of a collective: share of the link rate
    fixed_s: float
    source: str  # of the efficiency
    grade: str


@dataclass(frozen=True)
class Explanation:
    """A cell and its operations. `cell` is the one-cell Dataset of `roofline.decode` or `roofline.prefill`."""

    cell: xr.Dataset
    operations: tuple[OperationRow, ...]
    totals: dict[str, Any]
    ridges: dict[str, float]  # ridge point by math type, FLOP/B
    bytes_per_s: float

    def rows(self) -> list[dict[str, Any]]:
        """The operations as plain mappings."""
        return [asdict(row) for row in self.operations]


def explain(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    ep: int | None = None,
    moe_tp: int | None = None,
    batch: int = 1,
    context: int | None = None,
    isl: int | None = None,
    new_tokens: int | None = None,
    drafts: int = 0,
    acceptance: Acceptance | None = None,
    fidelity: Fidelity = "kernel",
) -> Explanation:
    """One decode step at `context`, or the prefill of a whole prompt of `isl` tokens, operation by operation.

    recipe : default the first the model ships in.
    Degrees, batch, new_tokens, drafts with acceptance, and fidelity as in `roofline.decode`.
    Times are of one micro-batch on one accelerator; their sum is the step time without a pipeline (in `ideal` a layer
    takes its largest roof instead of the sum).
    Raises `InputError` for bad input and where the deployment is not legal or does not fit, with the reason.
    """
    from roofline.kernels.explain import trace_pass
    from roofline.specs import Model

    if (context is None) == (isl is None):
        raise InputError("explain: give either context (a decode step) or isl (a prefill pass)")
    shape = Model.load(model)
    chosen = shape.recipes[0] if recipe is None else recipe
    degrees = axes.deployments(tp, pp, dp, ep, moe_tp)
    if len(degrees.rows) != 1:
        raise InputError("explain: one deployment at a time; give single degrees")
    grid = Grid(shape, system, chosen, degrees, fidelity)
    if len(grid.systems) * len(grid.recipes) != 1:
        raise InputError("explain: one system and one recipe at a time")
    row = dict(zip(("tp", "pp", "dp", "ep", "moe_tp"), degrees.rows[0], strict=True))
    where = (shape, grid.systems[0], grid.recipes[0])
    size = axes.count("batch", batch)
    speculation = drafts_of(drafts, acceptance, 1 if new_tokens is None else new_tokens)
    if isl is not None:
        if new_tokens is not None or speculation.count:
            raise InputError(
                "explain: new_tokens and drafts belong to a decode step; a prefill pass computes the whole prompt"
            )
        length = new = axes.count("isl", isl)
        cell = prefill(*where, deployments=[row], batch=size, isl=length, fidelity=fidelity, components=True)
    else:
        length = axes.count("context", context)
        given = 1 if new_tokens is None else axes.count("new_tokens", new_tokens)
        new = given + speculation.count
        cell = decode(
            *where,
            deployments=[row],
            batch=size,
            context=length,
            new_tokens=given,
            drafts=speculation.count,
            acceptance=speculation.acceptance,
            fidelity=fidelity,
            components=True,
        )
    cell = cell.squeeze()
    if int(cell["limit"]) and grid.packed.kit_index[0, 0, 0] < 0:
        raise InputError(f"{shape.name} cannot run: {grid.packed.plans[0, 0, 0].reason}")
    if int(cell["limit"]):
        short = int(cell["limit"]) == int(Limit.MEMORY)
        detail = _shortage(cell, grid, length, new, speculation.count, isl is not None) if short else ""
        raise InputError(
            f"{shape.name} on {grid.systems[0].name}, {degrees.labels[0]}, batch {size}: "
            f"{limit_reason(int(cell['limit']))}{detail}"
        )
    traced = trace_pass(*grid.records(), size, length, new, isl is not None, drafts=speculation.count)
    reader = _Reader(grid, isl is not None, speculation.count)
    operations = tuple(reader.row(values) for values in sorted(traced.tolist(), key=_order))
    rates = grid.systems[0].accelerator.dense_flop_per_s
    bandwidth = grid.systems[0].accelerator.memory.bytes_per_s
    return Explanation(
        cell=cell,
        operations=operations,
        totals=_totals(cell, operations, "step_time" if isl is None else "prefill_time"),
        ridges={math: rate / bandwidth for math, rate in rates.items()},
        bytes_per_s=bandwidth,
    )


def _shortage(cell: xr.Dataset, grid: Grid, length: int, new: int, drafts: int, prompt: bool) -> str:
    """What is missing where a cell does not fit, and what would fit."""
    from roofline.kernels.capacity import largest_batches

    machine = grid.packed.machines[0]
    usable = float(machine["memory_bytes"] * machine["memory_fraction"] - machine["reserve_bytes"])
    if prompt:
        most = _largest_prompt_batch(grid, length, int(cell["batch"]))
    else:
        most = int(largest_batches(*grid.records(), np.array([length]), new, drafts=drafts)[0, 0])
    fix = f"the largest batch that fits is {most}" if most else "not even one sequence fits; use more accelerators"
    return f" ({float(cell['memory']) / 1e9:.1f} GB needed of {usable / 1e9:.1f} usable per accelerator; {fix})"


def _largest_prompt_batch(grid: Grid, isl: int, too_large: int) -> int:
    """The largest batch of prompts that fits, by bisection below one that does not; 0 where not even one does."""
    from roofline.kernels.outputs import Var
    from roofline.kernels.prefill import prefill_grid

    fits, lengths = 0, np.array([isl])
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        tried = prefill_grid(*grid.records(), np.array([[middle]]), lengths, chunk=isl, want=(Var.MEMORY,))
        fits, too_large = (fits, middle) if tried["limit"].item() else (middle, too_large)
    return fits


def _order(values: list[float]) -> tuple[int, float, float]:
    """In the order a token meets them: embedding, layers by kind, lm_head, pipeline, what a draft adds."""
    kind, operation = values[0], values[1]
    stage = 0 if operation == Operation.EMBEDDING else 1 if kind >= 0 else 2
    return {_PIPELINE: 3, _DRAFT: 4}.get(int(kind), stage), kind, operation


class _Reader:
    """Turns traced figures of one grid into rows."""

    def __init__(self, grid: Grid, prompt: bool, drafts: int) -> None:
        self.model = grid.models[0]
        self.drafts = drafts
        self.rows = (*self.model.layers, *(self.model.mtp.layers if self.model.mtp else ()))
        self.efficiency = grid.systems[0].accelerator.efficiency
        self.ideal = grid.fidelity == "ideal"
        self.pp = grid.deployments.rows[0][1]
        self.core = "context_core" if prompt else "decode_core"
        self.plans = {plan.kit_field: plan for plan in grid.packed.plans[0, 0, 0].plans}
        self.kit = grid.packed.kits[grid.packed.kit_index[0, 0, 0]]
        self.machine = grid.packed.machines[0]

    def row(self, values: list[float]) -> OperationRow:
        kind, number, flop, moved, fixed, compute, memory, sending = values
        operation = Operation(int(number))
        roof = max(compute, memory) + sending
        classes = {"compute": compute, "memory": memory, "network": sending}
        plan, path, shares = self._efficiency(operation)
        bound = "latency" if fixed > roof else max(classes, key=lambda name: classes[name])
        source = self._source(path, bound)
        count = self._count(int(kind))
        return OperationRow(
            layer=self._layer(int(kind)),
            operation=operation.name.lower(),
            component=OPERATION_COMPONENT[operation].name.lower(),
            count=count,
            flop=flop,
            bytes=moved,
            intensity=flop / moved if moved else float("nan"),
            time_s=fixed + roof,
            total_s=count * (fixed + roof),
            bound=bound,
            math=plan.math if plan else "",
            weight_only=bool(plan and plan.weight_only),
            peak_flop_per_s=float(self.kit[plan.kit_field]["flop_per_s"]) if plan else float("nan"),
            eta_compute=shares[0],
            eta_memory=shares[1],
            fixed_s=fixed,
            source=_IDEAL if self.ideal or source is None else source.ref,
            grade="" if self.ideal or source is None else source.grade,
        )

    def _efficiency(self, operation: Operation) -> tuple[PartPlan | None, str, tuple[float, float]]:
        """(plan of its part, path in the efficiency sheet, (eta_compute, eta_memory or eta of links))."""
        path = _SHEET_PATH.get(operation)
        if path is None:
            plan = self.plans[_KIT_FIELD.get(operation, self.core)]
            part = self.kit[plan.kit_field]
            return plan, plan.efficiency_path, (float(part["eta_compute"]), float(part["eta_memory"]))
        field = path.rpartition(".")[2]
        eta = self.machine[field] if path.startswith("collectives") else self.kit[f"{field}_eta_memory"]
        return None, path, (float("nan"), float(eta))

    def _source(self, path: str, bound: str) -> Source | None:
        """Source of the number that sets an operation's time, else of the entry of the sheet that it is in."""
        number = {"compute": "eta_compute", "memory": "eta_memory", "latency": "fixed_s"}.get(bound, "")
        exact = self.efficiency.sources.get(f"{path}.{number}")
        if exact is not None:
            return exact
        _, _, rest = path.partition("operations.")
        table, _, entry = rest.partition(".")
        own = getattr(self.efficiency.operations, table)[entry].source if entry else None
        return own or self.efficiency.source_of(path)

    def _count(self, kind: int) -> int:
        if kind >= 0:
            return self.rows[kind].count * (1 if kind < len(self.model.layers) else self.drafts)
        return {_PIPELINE: self.pp - 1, _DRAFT: self.drafts}.get(kind, 1)

    def _layer(self, kind: int) -> str:
        if kind < 0:
            return {_PIPELINE: "pipeline", _DRAFT: "draft"}.get(kind, "ends")
        row = self.rows[kind]
        names = [] if row.attention is None else [_mixer(row.attention)]
        names += ["dense"] if row.ffn else []
        names += [f"{row.experts.count} experts"] if row.experts else []
        return ("draft: " if kind >= len(self.model.layers) else "") + " + ".join(names)


def _mixer(attention: Mixer) -> str:
    """What mixes the tokens of a layer, in a few words."""
    words: list[str] = [attention.kind]
    if isinstance(attention, GroupedQueryAttention):
        words += [f"window {attention.window}"] if attention.window else []
        words += [f"chunk {attention.chunk}"] if attention.chunk else []
    if attention.sparse is not None:
        words.append(f"top {attention.sparse.top_k}" + ("" if attention.sparse.index_heads else " of an earlier layer"))
    return " ".join(words)


def _totals(cell: xr.Dataset, operations: tuple[OperationRow, ...], time: str) -> dict[str, Any]:
    """What the operations add up to, and the figures of the cell."""
    names = ("tokens_per_s_per_gpu", "tokens_per_s_per_user", "memory", "power", "joules_per_token", "mfu", "mbu")
    return {
        "time_s": float(cell[time]),
        "sum_of_operations_s": sum(row.total_s for row in operations),
        "flop": sum(row.count * row.flop for row in operations),
        "bytes": sum(row.count * row.bytes for row in operations),
        "bound": Bound(int(cell["bound"])).name.lower(),
        **{name: float(cell[name]) for name in names if name in cell},
    }
