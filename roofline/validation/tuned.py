"""Named constants laid over packed records, so that a fit changes numbers without packing anything again.

A name is GROUP.CLASS.FIELD or GROUP/RECIPE.CLASS.FIELD:

  hopper.gemm.eta_memory           times the share of bandwidth of all GEMMs on that generation
  hopper/fp8-block.experts.fixed_s times the fixed time of experts in that recipe
  b200-hgx.collectives.fixed_s     times the fixed times of its collectives; eta: of the shares of link rates
  trtllm.stack.step_s              seconds of that family of servers, in place of its sheet's
  sglang/blackwell.stack.wait_steps  the same on one generation; trtllm/dp: where attention is data parallel
  vllm-hopper.stack.ttft_s         of all that is served by that sheet; sglang: by those of its family too
  all.decode_attention.eta_memory  on every accelerator

Efficiencies stay within 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PARTS: Mapping[str, tuple[str, ...]] = {
    "gemm": ("attn", "ffn", "shared", "router", "head"),
    "experts": ("expert",),
    "attention": ("decode_core", "context_core", "index"),
    "decode_attention": ("decode_core",),
    "context_attention": ("context_core",),
    "scan": ("scan",),
}
"""Classes of operations -> parts of a kit."""

PART_FIELDS = ("eta_compute", "eta_memory", "fixed_s")

KIT_FIELDS: Mapping[str, Mapping[str, str]] = {
    "elementwise": {"eta_memory": "elementwise_eta_memory", "fixed_s": "elementwise_fixed_s"},
    "permute": {"eta_memory": "permute_eta_memory"},
    "top_k": {"eta_memory": "top_k_eta_memory", "fixed_s": "top_k_fixed_s"},
    "experts": {"skew": "expert_skew"},
}
"""Classes whose numbers a kit has by themselves: field of the class -> field of the kit."""

COLLECTIVES: Mapping[str, tuple[str, ...]] = {
    "fixed_s": ("one_shot_s", "two_shot_s", "gather_s", "exchange_s", "p2p_s", "out_s"),
    "eta": ("eta_reduce", "eta_gather", "eta_exchange", "eta_p2p", "eta_out"),
}

STACK_FIELDS = ("step_s", "sequence_s", "ttft_s", "wait_steps")
"""Of a stack, as its sheet has them."""

ALL, UNDER_DP = "all", "dp"


@dataclass(frozen=True)
class Named:
    """What records belong to: text of each row.

    kit_accelerator, machine_accelerator, kit_recipe : ids of sheets.   kit_generation, machine_generation : families.
    """

    kit_accelerator: NDArray[np.str_]
    kit_generation: NDArray[np.str_]
    kit_recipe: NDArray[np.str_]
    machine_accelerator: NDArray[np.str_]
    machine_generation: NDArray[np.str_]


@dataclass(frozen=True)
class Constant:
    """A tuned name taken apart.   recipe : what stands after the slash, or nothing."""

    group: str
    recipe: str
    kind: str
    field: str
    value: float

    @classmethod
    def of(cls, name: str, value: float) -> Constant:
        """Raises InputError for a name that is not of the form above, and for a value that is not finite and >= 0."""
        parts = name.split(".")
        if len(parts) != 3:
            raise InputError(f"{name}: give GROUP.CLASS.FIELD, such as hopper.gemm.eta_memory or trtllm.stack.step_s")
        group, _, recipe = parts[0].partition("/")
        if not np.isfinite(value) or value < 0.0:
            raise InputError(f"{name} = {value!r}: give a finite number >= 0")
        known = set(fields_of(parts[1]))
        if not known:
            raise unknown_name("class of constants", parts[1], [*PARTS, *KIT_FIELDS, "collectives", "stack"])
        if parts[2] not in known:
            raise unknown_name(f"field of {parts[1]}", parts[2], known)
        return cls(group, recipe, parts[1], parts[2], float(value))


def fields_of(kind: str) -> Iterable[str]:
    """Fields that a class of constants has; none for an unknown class."""
    if kind == "stack":
        return STACK_FIELDS
    if kind == "collectives":
        return [*COLLECTIVES, *(field for fields in COLLECTIVES.values() for field in fields)]
    return [*(PART_FIELDS if kind in PARTS else ()), *KIT_FIELDS.get(kind, ())]


def constants(tuned: Mapping[str, float] | None) -> list[Constant]:
    """All of a mapping, those of all groups first, so that a narrower name comes after a wider one."""
    found = [Constant.of(name, value) for name, value in (tuned or {}).items()]
    return sorted(found, key=lambda constant: (constant.group != ALL, bool(constant.recipe)))


def tune(
    kits: NDArray[np.void], machines: NDArray[np.void], named: Named, found: Sequence[Constant]
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Kits and machines with the constants applied; the records themselves where none applies to them.

    Factors multiply; a group that no record is of changes nothing.
    """
    kits, machines = kits.copy(), machines.copy()
    for constant in found:
        if constant.kind == "stack":
            continue
        if constant.kind == "collectives":
            rows = _rows(constant, named.machine_accelerator, named.machine_generation)
            for field in COLLECTIVES.get(constant.field, (constant.field,)):
                _scale(machines[field], rows, constant.value, field.startswith("eta"))
            continue
        rows = _rows(constant, named.kit_accelerator, named.kit_generation)
        if constant.recipe:
            rows = rows & (named.kit_recipe == constant.recipe)
        own = KIT_FIELDS.get(constant.kind, {}).get(constant.field)
        share = constant.field.startswith("eta")
        if own is not None:
            _scale(kits[own], rows, constant.value, share)
        else:
            for part in PARTS[constant.kind]:
                _scale(kits[part][constant.field], rows, constant.value, share)
    return kits, machines


@dataclass(frozen=True)
class Servers:
    """What serves each case: family of servers, generation of accelerators, attention ranks of a replica, and the
    stack's sheet with its family: that of another server may stand for it."""

    framework: NDArray[np.str_]
    generation: NDArray[np.str_]
    ranks: NDArray[np.int64]
    sheet: NDArray[np.str_]
    family: NDArray[np.str_]

    def values(self, base: Mapping[str, Floats], found: Sequence[Constant]) -> dict[str, Floats]:
        """Stack constants of each case, float64[n] by field of `STACK_FIELDS`, with the tuned ones in place."""
        values = {field: base[field].copy() for field in STACK_FIELDS}
        for constant in found:
            if constant.kind == "stack":
                rows = (self.framework == constant.group) | (constant.group == ALL)
                rows |= (self.sheet == constant.group) | (self.family == constant.group)
                if constant.recipe == UNDER_DP:
                    rows &= self.ranks > 1
                elif constant.recipe:
                    rows &= self.generation == constant.recipe
                values[constant.field][rows] = constant.value
        return values


def _rows(constant: Constant, accelerator: NDArray[np.str_], generation: NDArray[np.str_]) -> NDArray[np.bool_]:
    if constant.group == ALL:
        return np.ones(accelerator.size, dtype=bool)
    found: NDArray[np.bool_] = (accelerator == constant.group) | (generation == constant.group)
    return found


def _scale(column: NDArray[np.float64], rows: NDArray[np.bool_], factor: float, share: bool) -> None:
    scaled = column[rows] * factor
    column[rows] = np.minimum(scaled, 1.0) if share else scaled
