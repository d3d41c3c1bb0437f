"""Plain dicts with the field names of roofline/layout.py, as structured arrays for kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofline.layout import CONFIG, DEPLOYMENT, KIT, LAYER, MACHINE, MODEL, Attention

Plain = dict[str, Any]
Array = NDArray[Any]

PARTS = tuple(name for name in KIT.names or () if KIT[name].names)
"""Fields of a KIT that are PARTs."""


@dataclass(frozen=True)
class Setup:
    """A model on a machine: what a CONFIG record names. `kit` is None where the recipe cannot run.

    `model` is a MODEL dict with its LAYER dicts under `rows` and those of one multi-token-prediction module under
    `draft_rows` (an empty list where it has none); the others are dicts of their record's fields.
    """

    model: Plain
    machine: Plain
    kit: Plain | None
    deployment: Plain

    def on(self, **changes: Any) -> Setup:
        """The same setup with machine fields replaced."""
        return replace(self, machine=self.machine | changes)

    def deployed(self, **changes: int) -> Setup:
        """The same setup with deployment degrees replaced."""
        return replace(self, deployment=self.deployment | changes)

    def seeing(self, **changes: int) -> Setup:
        """The same setup with fields of every layer that has an attention with a cache replaced."""
        caching = (Attention.GQA, Attention.MLA)
        changed = {
            name: [row | changes if row["attention"] in caching else row for row in self.model[name]]
            for name in ("rows", "draft_rows")
        }
        return replace(self, model=self.model | changed)

    @property
    def accelerators(self) -> int:
        """G: accelerators of one replica."""
        d = self.deployment
        return int(d["tp"] * d["pp"] * d["dp"])


@dataclass(frozen=True)
class Records:
    """The arrays kernels take, one CONFIG per setup."""

    models: Array
    layers: Array
    machines: Array
    kits: Array
    deployments: Array
    configs: Array

    def arguments(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        """In the order kernels take them."""
        return self.models, self.layers, self.machines, self.kits, self.deployments, self.configs

    def only(self, order: Sequence[int]) -> Records:
        """The same arrays with the configs picked in `order`."""
        return replace(self, configs=np.ascontiguousarray(self.configs[list(order)]))

    def with_chunks(self) -> Array:
        """bool[config]: models with chunked-local layers, whose time does not grow with context."""
        held = [
            bool(self.layers["chunked"][m["first_layer"] : m["last_layer"]].any())
            or bool(self.layers["chunked"][m["first_draft"] : m["last_draft"]].any())
            for m in self.models
        ]
        chunked: Array = np.array(held, dtype=bool)[self.configs["model"]]
        return chunked

    def undisclosed(self) -> Array:
        """bool[config]: machines whose TDP is not published, so that nothing can be said of power."""
        unknown: Array = np.isnan(self.machines["tdp_w"])[self.configs["machine"]]
        return unknown


def as_record(plain: Plain, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """The tuple numpy stores as one record; nested dicts become nested tuples. KeyError where a field is missing."""
    names = dtype.names or ()
    return tuple(as_record(plain[n], dtype[n]) if dtype[n].names else plain[n] for n in names)


def as_array(plains: Iterable[Plain], dtype: np.dtype[Any]) -> Array:
    """Structured array of dicts."""
    return np.array([as_record(plain, dtype) for plain in plains], dtype=dtype)


def pack(setups: Sequence[Setup]) -> Records:
    """Setups as the arrays kernels take."""
    models: list[Plain] = []
    rows: list[Plain] = []
    kits: list[Plain] = []
    configs: list[Plain] = []
    for i, setup in enumerate(setups):
        first = len(rows)
        rows += setup.model["rows"]
        last = len(rows)
        rows += setup.model["draft_rows"]
        spans = {"first_layer": first, "last_layer": last, "first_draft": last, "last_draft": len(rows)}
        models.append(setup.model | spans)
        if setup.kit is not None:
            kits.append(setup.kit)
        kit = len(kits) - 1 if setup.kit is not None else -1
        configs.append({"model": i, "machine": i, "kit": kit, "deployment": i})
    return Records(
        as_array(models, MODEL),
        as_array(rows, LAYER),
        as_array((s.machine for s in setups), MACHINE),
        as_array(kits, KIT) if kits else np.zeros(1, KIT),
        as_array((s.deployment for s in setups), DEPLOYMENT),
        as_array(configs, CONFIG),
    )


KIT_FIXED_TIMES = ("elementwise_fixed_s", "top_k_fixed_s")
"""KIT fields that are times, those of its PARTs apart."""

KIT_ETAS = ("elementwise_eta_memory", "permute_eta_memory", "top_k_eta_memory")
"""KIT fields that are achieved shares of memory bandwidth, those of its PARTs apart."""


def idealised_kit(kit: Plain) -> Plain:
    """The `ideal` twin of a kit: same formats and peaks, nothing lost and nothing fixed (equations, section 2)."""
    twin = dict(kit)
    for name in PARTS:
        twin[name] = kit[name] | {"eta_compute": 1.0, "eta_memory": 1.0, "fixed_s": 0.0, "w_act": 0.0, "w_out": 0.0}
    twin |= dict.fromkeys(("w_expand", "w_hidden", "w_logit", "w_permute", "w_score", "chunk_work"), 0.0)
    twin |= dict.fromkeys(KIT_FIXED_TIMES, 0.0) | dict.fromkeys((*KIT_ETAS, "expert_skew", "expert_tile"), 1.0)
    return twin | {"fullest_rank": 0, "bound": 1}


FIXED_TIMES = ("up_hop_s", "out_hop_s", "one_shot_s", "two_shot_s", "gather_s", "exchange_s", "p2p_s", "out_s")
"""MACHINE fields that are times."""

LINK_ETAS = ("eta_reduce", "eta_gather", "eta_exchange", "eta_p2p", "eta_out")
"""MACHINE fields that are achieved shares of a link."""

RATES = ("bytes_per_s", "up_bytes_per_s", "out_bytes_per_s")
"""MACHINE fields that are bytes/s."""


def idealised_machine(machine: Plain) -> Plain:
    """The `ideal` twin of a machine: links at their rates, no fixed times."""
    return machine | dict.fromkeys(FIXED_TIMES, 0.0) | dict.fromkeys(LINK_ETAS, 1.0)


def idealised(setup: Setup) -> Setup:
    """The `ideal` twin of a setup."""
    kit = None if setup.kit is None else idealised_kit(setup.kit)
    return replace(setup, machine=idealised_machine(setup.machine), kit=kit)


def faster_clock(setup: Setup, k: float) -> Setup:
    """Every rate times k and every fixed time divided by k: the same machine on a clock k times as fast."""
    machine = dict(setup.machine)
    for name in RATES:
        machine[name] *= k
    for name in FIXED_TIMES:
        machine[name] /= k
    kit = None
    if setup.kit is not None:
        kit = dict(setup.kit)
        for name in PARTS:
            kit[name] = kit[name] | {"flop_per_s": kit[name]["flop_per_s"] * k, "fixed_s": kit[name]["fixed_s"] / k}
        for name in KIT_FIXED_TIMES:
            kit[name] = kit[name] / k
    return replace(setup, machine=machine, kit=kit)
