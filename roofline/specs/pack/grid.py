"""Everything a grid needs but its deployments, packed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.layout import DEPLOYMENT, KIT, MACHINE
from roofline.specs.pack.fidelity import FIDELITIES, Fidelity
from roofline.specs.pack.kit import Kit, pack_kit
from roofline.specs.pack.machine import pack_machine
from roofline.specs.pack.model import pack_models, used_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.specs.hardware import System
    from roofline.specs.model import Model
    from roofline.specs.recipe import Recipe


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
