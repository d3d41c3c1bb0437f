"""Sheets to records: the only way into kernels.

A *fidelity* is decided here: `ideal` packs every efficiency as 1, every fixed time as 0 and every activation as
0 bytes; `kernel` packs what the efficiency sheet says. Kernels do not know the difference but for
`kit.bound` (docs/equations.md section 8).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from roofline.errors import InputError
from roofline.layout import (
    DEPLOYMENT,
    KIT,
    LAYER,
    MACHINE,
    MODEL,
    NO_WINDOW,
    PART,
    Attention,
    Topology,
)
from roofline.specs.formats import FORMATS, Format, MathType, activation_bytes, stand_ins, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.specs.efficiency import Efficiency, OperationEfficiency
    from roofline.specs.hardware import Accelerator, System
    from roofline.specs.model import Layers, Model
    from roofline.specs.recipe import PartFormats, Recipe

Fidelity = Literal["ideal", "kernel"]
FIDELITIES: tuple[str, ...] = get_args(Fidelity)

_HIDDEN_BYTES = weight_bytes("bf16")  # residual stream, GEMM outputs, Q and O, expert results
_LOGIT_BYTES = weight_bytes("fp32")  # sampling keeps logits in fp32

_FALLBACK: dict[Format, tuple[Format, ...]] = {
    "fp32": ("bf16",),
    "bf16": ("fp16",),
    "fp16": ("bf16",),
    "mxfp8": ("fp8_block", "fp8", "bf16"),
    "fp8_block": ("fp8", "bf16"),
    "fp8": ("fp8_block", "bf16"),
    "int8": ("fp8", "bf16"),
    "nvfp4": ("mxfp4", "fp8_block", "fp8", "bf16"),
    "mxfp4": ("nvfp4", "fp8_block", "fp8", "bf16"),
    "int4": ("int8", "bf16"),
}
"""Whose efficiency stands in for a format that was not measured: the nearest in width and scaling."""

_PARTS = {  # kit field -> (recipe part, operation class of the efficiency sheet)
    "attn": ("attention", "gemm"),
    "ffn": ("dense_ffn", "gemm"),
    "expert": ("experts", "experts"),
    "shared": ("shared_experts", "gemm"),
    "router": ("router", "gemm"),
    "head": ("lm_head", "gemm"),
}


@dataclass(frozen=True)
class PartPlan:
    """How one part of a model runs on one accelerator."""

    kit_field: str
    math: MathType  # the arithmetic it runs in
    native: MathType  # the arithmetic its formats ask for
    efficiency_path: str  # where in the efficiency sheet its numbers are

    @property
    def weight_only(self) -> bool:
        """Whether operands are widened because the accelerator lacks, or is slower in, the native arithmetic."""
        return self.math != self.native


@dataclass(frozen=True)
class Kit:
    """A packed kit with what explains it; `record` is None where the recipe cannot run."""

    record: NDArray[np.void] | None
    plans: tuple[PartPlan, ...] = ()
    reason: str = ""

    def is_native(self, parts: frozenset[str]) -> bool:
        """Whether the accelerator has the arithmetic that these parts (kit fields) ask for."""
        return self.record is not None and not any(plan.weight_only for plan in self.plans if plan.kit_field in parts)


def running_type(accelerator: Accelerator, native: MathType) -> MathType | None:
    """The arithmetic in which an accelerator does `native`: that or a faster wider one; None where it has neither."""
    rates: Mapping[MathType, float] = accelerator.dense_flop_per_s
    able: list[MathType] = [name for name in (native, *stand_ins(native)) if name in rates]
    if not able:
        return None
    return max(able, key=rates.__getitem__)


def _efficiency_of(
    table: Mapping[Format, OperationEfficiency], formats: PartFormats, math: MathType
) -> tuple[Format, OperationEfficiency]:
    """The entry of an efficiency table for a part: by its weights where they set the kernel, else the wider operand."""
    weights, activations = formats.weights, formats.activations
    dequantised = FORMATS[weights].bits < FORMATS[activations].bits
    weight_only = weights in ("int4", "int8")  # what sheets measured of these are weight-only kernels
    if weights in table and (dequantised if weight_only else FORMATS[weights].math == math):
        return weights, table[weights]
    wanted: Format = activations if dequantised else "fp8" if weights == "int8" else weights
    for name in (wanted, *_FALLBACK[wanted]):
        if name in table:
            return name, table[name]
    name = next(iter(table))
    return name, table[name]


def _part(w_weight: float, w_act: float, w_out: float, rate: float, eff: OperationEfficiency, ideal: bool) -> Any:
    if ideal:
        return np.array((w_weight, 0.0, 0.0, rate, 1.0, 1.0, 0.0), dtype=PART)
    return np.array((w_weight, w_act, w_out, rate, eff.eta_compute, eff.eta_memory, eff.fixed_s), dtype=PART)


def pack_kit(recipe: Recipe, accelerator: Accelerator, fidelity: Fidelity, parts: frozenset[str] | None = None) -> Kit:
    """Precision x efficiency x fidelity of a recipe on an accelerator.

    parts : kit fields the model has (a dense model does not need arithmetic for experts); None: all.
    """
    ideal = fidelity == "ideal"
    operations, rates, formats = accelerator.efficiency.operations, accelerator.dense_flop_per_s, recipe.parts
    kit = np.zeros(1, dtype=KIT)
    plans: list[PartPlan] = []
    for name, (part, operation) in _PARTS.items():
        pair: PartFormats = getattr(formats, part)
        found = running_type(accelerator, pair.math)
        if found is None and (parts is None or name in parts):
            return Kit(None, reason=f"{accelerator.name} has no arithmetic for {part} in {pair.math}")
        math: MathType = next(iter(rates)) if found is None else found  # a part the model does not have takes any
        entry, eff = _efficiency_of(getattr(operations, operation), pair, math)
        kit[name] = _part(
            weight_bytes(pair.weights), activation_bytes(pair.activations), _HIDDEN_BYTES, rates[math], eff, ideal
        )
        plans.append(PartPlan(name, math, pair.math, f"operations.{operation}.{entry}"))
    core = running_type(accelerator, formats.attention_math)
    if core is None:
        return Kit(None, reason=f"{accelerator.name} has no arithmetic for attention in {formats.attention_math}")
    cores: dict[str, tuple[str, Format]] = {
        "decode_core": ("decode_attention", formats.kv_cache),
        "context_core": ("context_attention", formats.attention_math),
    }
    for name, (operation, wanted) in cores.items():
        table: Mapping[Format, OperationEfficiency] = getattr(operations, operation)
        entry = next((f for f in (wanted, *_FALLBACK[wanted]) if f in table), next(iter(table)))
        kit[name] = _part(
            weight_bytes(formats.kv_cache), _HIDDEN_BYTES, _HIDDEN_BYTES, rates[core], table[entry], ideal
        )
        plans.append(PartPlan(name, core, formats.attention_math, f"operations.{operation}.{entry}"))
    _pack_rest(kit, recipe, accelerator.efficiency, ideal)
    return Kit(kit[0], tuple(plans))


def _pack_rest(kit: Any, recipe: Recipe, efficiency: Efficiency, ideal: bool) -> None:
    formats, operations = recipe.parts, efficiency.operations
    kit["w_embed"] = weight_bytes(formats.embedding.weights)
    kit["w_reduce"] = activation_bytes(formats.collectives)
    kit["w_dispatch"] = activation_bytes(formats.dispatch)
    kit["w_combine"] = _HIDDEN_BYTES
    kit["elementwise_eta_memory"] = kit["permute_eta_memory"] = kit["expert_skew"] = 1.0
    kit["bound"] = ideal
    if ideal:  # activations, expanded K and V and full logits are not compulsory traffic
        return
    kit["w_expand"] = kit["w_hidden"] = kit["w_gather_logit"] = _HIDDEN_BYTES
    kit["w_logit"] = _LOGIT_BYTES
    kit["elementwise_eta_memory"] = operations.elementwise.eta_memory
    kit["elementwise_fixed_s"] = operations.elementwise.fixed_s
    kit["permute_eta_memory"] = operations.permute.eta_memory
    kit["w_permute"] = 1.0
    kit["expert_skew"] = efficiency.experts_skew
    kit["fullest_rank"] = 1


def pack_machine(system: System, fidelity: Fidelity) -> Any:
    """One accelerator in its system, as a record of `layout.MACHINE`."""
    ideal = fidelity == "ideal"
    accelerator, efficiency = system.accelerator, system.accelerator.efficiency
    machine = np.zeros(1, dtype=MACHINE)
    machine["bytes_per_s"] = accelerator.memory.bytes_per_s
    machine["memory_bytes"] = accelerator.memory.bytes
    machine["memory_fraction"] = 1.0 if ideal else efficiency.runtime.memory_fraction
    machine["reserve_bytes"] = 0.0 if ideal else efficiency.runtime.reserve_bytes
    machine["accelerators"] = system.accelerators
    machine["max_accelerators"] = system.accelerators * system.max_systems
    machine["domain"] = system.scale_up.domain
    machine["mesh"] = Topology[system.scale_up.topology.upper()]
    machine["up_bytes_per_s"] = system.scale_up_bytes_per_s
    machine["in_switch"] = system.scale_up.in_switch_reduction
    if system.scale_out is not None:
        machine["out_bytes_per_s"] = system.scale_out.bytes_per_s
    for name in ("eta_reduce", "eta_gather", "eta_exchange", "eta_p2p", "eta_out"):
        machine[name] = 1.0 if ideal else getattr(efficiency.collectives, name)
    if not ideal:
        for name in ("one_shot_s", "two_shot_s", "gather_s", "exchange_s", "p2p_s", "out_s"):
            machine[name] = getattr(efficiency.collectives, name)
        machine["up_hop_s"] = system.scale_up.hop_s
        machine["out_hop_s"] = system.scale_out.hop_s if system.scale_out is not None else 0.0
    power = accelerator.power
    machine["tdp_w"], machine["idle_w"] = power.tdp_w, power.idle_w
    machine["power_a"], machine["power_b"] = power.draw_a, power.draw_b
    return machine[0]


def _pack_layer(row: Layers, hidden: int) -> Any:
    record = np.zeros(1, dtype=LAYER)
    record["count"], record["norms"] = row.count, row.norms
    record["other_params"] = row.other_params(hidden)
    record["window"], record["expert_hidden"], record["ffn_matrices"] = NO_WINDOW, hidden, 3
    attention = row.attention
    if attention is not None:
        record["attention"] = Attention[attention.kind.upper()]
        for name in ("heads", "kv_heads", "head_dim", "q_lora", "kv_lora", "qk_nope", "qk_rope", "v_head"):
            record[name] = getattr(attention, name, 0)
        record["window"] = attention.window or NO_WINDOW
    if row.ffn is not None:
        record["ffn_matrices"], record["ffn_inner"] = row.ffn.matrices, row.ffn.inner
    if row.experts is not None:
        experts = row.experts
        record["experts"], record["top_k"], record["expert_inner"] = experts.count, experts.top_k, experts.inner
        record["expert_hidden"], record["ffn_matrices"] = experts.width(hidden), experts.matrices
        record["shared_inner"] = experts.shared_inner
    return record[0]


def pack_models(models: Sequence[Model]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Records of `layout.MODEL` and the rows of `layout.LAYER` they point into."""
    rows = [_pack_layer(row, model.hidden) for model in models for row in model.layers]
    layers = np.array(rows, dtype=LAYER)
    packed = np.zeros(len(models), dtype=MODEL)
    start = 0
    for record, model in zip(packed, models, strict=True):
        record["first_layer"], record["last_layer"] = start, start + len(model.layers)
        start += len(model.layers)
        record["layers"], record["hidden"], record["vocab"] = model.layer_count, model.hidden, model.vocab
        record["tied"], record["route_groups"] = model.tied_embeddings, model.route_groups or 0
        record["max_context"] = model.max_context
    return packed, layers


def used_parts(model: Model) -> frozenset[str]:
    """Kit fields that a model's layers need arithmetic for."""
    parts = {"attn", "head"}
    for row in model.layers:
        if row.ffn is not None:
            parts.add("ffn")
        if row.experts is not None:
            parts |= {"expert", "router"} | ({"shared"} if row.experts.shared_inner else set())
    return frozenset(parts)


@dataclass
class Packed:
    """Records for a set of models, systems and recipes in one fidelity."""

    models: NDArray[np.void]
    layers: NDArray[np.void]
    machines: NDArray[np.void]
    kits: NDArray[np.void]
    kit_index: NDArray[np.int64]  # [model, system, recipe]; -1 where the recipe cannot run
    plans: dict[tuple[int, int, int], Kit] = field(default_factory=dict)  # by the same indices


def pack(models: Sequence[Model], systems: Sequence[System], recipes: Sequence[Recipe], fidelity: Fidelity) -> Packed:
    """Pack everything a grid needs but its deployments.

    Raises `InputError` for an unknown fidelity.
    """
    if fidelity not in FIDELITIES:
        raise InputError(f"fidelity {fidelity!r}: expected one of {', '.join(FIDELITIES)}")
    model_records, layers = pack_models(models)
    machines = np.array([pack_machine(system, fidelity) for system in systems], dtype=MACHINE)
    records: list[Any] = []
    index = np.full((len(models), len(systems), len(recipes)), -1, dtype=np.int64)
    plans: dict[tuple[int, int, int], Kit] = {}
    for s, system in enumerate(systems):
        for r, recipe in enumerate(recipes):
            known: dict[frozenset[str], tuple[int, Kit]] = {}
            for m, model in enumerate(models):
                parts = used_parts(model)
                if parts not in known:
                    kit = pack_kit(recipe, system.accelerator, fidelity, parts)
                    known[parts] = (-1 if kit.record is None else len(records), kit)
                    if kit.record is not None:
                        records.append(kit.record)
                index[m, s, r], plans[m, s, r] = known[parts]
    kits = np.array(records, dtype=KIT) if records else np.zeros(1, dtype=KIT)
    return Packed(model_records, layers, machines, kits, index, plans)


def pack_deployments(rows: Sequence[tuple[int, int, int, int, int]]) -> NDArray[np.void]:
    """Records of `layout.DEPLOYMENT` from (tp, pp, dp, ep, moe_tp)."""
    return np.array([tuple(row) for row in rows], dtype=DEPLOYMENT)
