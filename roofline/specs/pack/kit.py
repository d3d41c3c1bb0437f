"""Recipe, accelerator and efficiency to a record of `layout.KIT`: which arithmetic a part runs in, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.layout import KIT, PART
from roofline.specs.formats import FORMATS, Format, MathType, activation_bytes, stand_ins, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from roofline.specs.efficiency import Efficiency, OperationEfficiency
    from roofline.specs.hardware import Accelerator
    from roofline.specs.pack.fidelity import Fidelity
    from roofline.specs.recipe import PartFormats, Recipe

_HIDDEN_BYTES = weight_bytes("bf16")  # residual stream, GEMM outputs, Q and O, expert results
_LOGIT_BYTES = weight_bytes("fp32")  # sampling keeps logits in fp32
_SCORE_BYTES = weight_bytes("fp32")  # index scores, written by the indexer and read by the selection

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
    "int4_g32": ("int4", "int8", "bf16"),
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
    if weights == "int4_g32" and weights not in table:
        weights = "int4"  # the same kernel with more scales
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
    reason = _pack_cores(kit, plans, recipe, accelerator, ideal, parts)
    if reason:
        return Kit(None, reason=reason)
    _pack_rest(kit, recipe, accelerator.efficiency, ideal)
    return Kit(kit[0], tuple(plans))


def _pack_cores(
    kit: Any,
    plans: list[PartPlan],
    recipe: Recipe,
    accelerator: Accelerator,
    ideal: bool,
    parts: frozenset[str] | None,
) -> str:
    """Pack what mixes tokens: attention over a cache, indexer, recurrence. Returns why it cannot run, or nothing."""
    operations, rates, formats = accelerator.efficiency.operations, accelerator.dense_flop_per_s, recipe.parts
    core = running_type(accelerator, formats.attention_math)
    if core is None:
        return f"{accelerator.name} has no arithmetic for attention in {formats.attention_math}"
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
    index = running_type(accelerator, formats.index_math)
    if index is None and (parts is None or "index" in parts):
        return f"{accelerator.name} has no arithmetic for the indexer in {formats.index_math}"
    key = activation_bytes(formats.index_cache)
    kit["index"] = _part(key, key, 0.0, rates[index or core], operations.index, ideal)
    plans.append(PartPlan("index", index or core, formats.index_math, "operations.index"))
    scan = running_type(accelerator, "bf16")  # a recurrence keeps the range of bf16 whatever attention runs in
    if scan is None and (parts is None or "scan" in parts):
        return f"{accelerator.name} has no arithmetic for linear attention in bf16"
    kit["scan"] = _part(
        weight_bytes(formats.state),
        _HIDDEN_BYTES,
        _HIDDEN_BYTES,
        rates[scan or core],
        operations.linear_attention,
        ideal,
    )
    plans.append(PartPlan("scan", scan or core, "bf16", "operations.linear_attention"))
    return ""


def _pack_rest(kit: Any, recipe: Recipe, efficiency: Efficiency, ideal: bool) -> None:
    formats, operations = recipe.parts, efficiency.operations
    kit["w_embed"] = weight_bytes(formats.embedding.weights)
    kit["w_reduce"] = activation_bytes(formats.collectives)
    kit["w_dispatch"] = activation_bytes(formats.dispatch)
    kit["w_combine"] = kit["w_conv"] = _HIDDEN_BYTES
    kit["elementwise_eta_memory"] = kit["permute_eta_memory"] = kit["expert_skew"] = kit["expert_tile"] = 1.0
    kit["top_k_eta_memory"] = 1.0
    kit["bound"] = ideal
    if ideal:  # activations, expanded K and V and full logits are not compulsory traffic
        return
    kit["w_expand"] = kit["w_hidden"] = kit["w_gather_logit"] = _HIDDEN_BYTES
    kit["w_logit"] = _LOGIT_BYTES
    kit["w_score"] = _SCORE_BYTES
    kit["chunk_work"] = 1.0
    kit["top_k_eta_memory"] = operations.top_k.eta_memory
    kit["top_k_fixed_s"] = operations.top_k.fixed_s
    kit["elementwise_eta_memory"] = operations.elementwise.eta_memory
    kit["elementwise_fixed_s"] = operations.elementwise.fixed_s
    kit["permute_eta_memory"] = operations.permute.eta_memory
    kit["w_permute"] = 1.0
    kit["expert_skew"] = efficiency.experts_skew
    kit["expert_tile"] = efficiency.experts_tile_rows.get(formats.experts.weights, 1)
    kit["fullest_rank"] = 1
