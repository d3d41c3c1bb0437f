"""Steps of one deployment under many variants of its records: what all figures of a held answer are made of.

Memory never refuses a variant here: whether it fits is a figure of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from roofline.layout import CONFIG
from roofline.rack.energy import PowerFacts
from roofline.specs.pack import pack_deployments, pack_models

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.grid.axes import Degrees
    from roofline.grid.evaluate import Records
    from roofline.insight.parameters import Numbers, Varied
    from roofline.planning.objective import Objective
    from roofline.rack.energy import Boundary
    from roofline.specs import Model

    Floats = NDArray[np.float64]

FEW = 64
"""Variants below which threads cost more than they save."""


class Work(NamedTuple):
    """A pass, float64[n] each: its time [s], and one accelerator's work in it at peak compute and bandwidth [s]."""

    time_s: Floats
    compute_s: Floats
    memory_s: Floats


def draw_w(machines: NDArray[np.void], compute_share: Floats, memory_share: Floats) -> Floats:
    """Draw of one accelerator [W] from its shares of peak compute and of bandwidth: equation (16)."""
    x = machines["power_a"] * np.sqrt(compute_share) + machines["power_b"] * memory_share
    idle_w = machines["idle_w"]
    found: Floats = idle_w + (machines["tdp_w"] - idle_w) * (1.0 - 1.0 / (1.0 + x + 0.5 * x * x))
    return found


@dataclass(frozen=True)
class Replica:
    """A deployment of a model on one side of the numbers.   degrees : (tp, pp, dp, ep, moe_tp)."""

    model: Model
    degrees: Degrees
    side: int

    @property
    def group(self) -> int:
        """Accelerators."""
        tp, pp, dp, _, _ = self.degrees
        return tp * pp * dp

    def records(self, varied: Varied, roomy: bool = True) -> Records:
        """Record arrays as kernels take them, one configuration a variant.   roomy : with memory without end."""
        models, layers = pack_models([self.model])
        machines = varied.machines[self.side]
        if roomy:
            machines = machines.copy()
            machines["memory_bytes"] = np.inf
        configs = np.zeros(varied.size, dtype=CONFIG)
        configs["machine"] = configs["kit"] = np.arange(varied.size)
        return models, layers, machines, varied.kits[self.side], pack_deployments([self.degrees]), configs

    def decode(self, varied: Varied, batch: int, contexts: Floats, drafts: int = 0, drafted: bool = True) -> Work:
        """The decode step of `batch` sequences, mean over contexts.   drafted : whether drafts are made in it too."""
        from roofline.kernels.outputs import Var
        from roofline.kernels.sweep import decode_grid

        want = (Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY)
        found = decode_grid(
            *self.records(varied), self._each(varied, batch), contexts, 1 + drafts, drafts if drafted else 0,
            want=want, with_bound=False, parallel=varied.size > FEW,
        )["values"]  # fmt: skip
        step, compute, memory = (found[name][:, 0, :] for name in want)
        return Work(step.mean(axis=-1), (compute * step).mean(axis=-1), (memory * step).mean(axis=-1))

    def with_chunk(self, varied: Varied, batch: int, contexts: Floats, chunk: int, ends: Floats, drafts: int) -> Work:
        """What a chunk on each rank adds to that step [s], and the work of the micro-batch that has it, (21)."""
        from roofline.kernels.mixed import mixed_grid

        found = mixed_grid(
            *self.records(varied), self._each(varied, batch), contexts, 1 + drafts, chunk, ends, varied.size > FEW
        )
        more = (found["step"][:, 0] - found["decode"][:, 0, :, None]).mean(axis=(1, 2))
        peak, moved = (found[name][:, 0].mean(axis=(1, 2)) for name in ("peak", "moved"))
        return Work(more, peak, moved / varied.machines[self.side]["bytes_per_s"])

    def prompt(self, varied: Varied, batch: int, isl: int, new: int, chunk: int) -> Work:
        """`batch` prompts of which `new` tokens are computed, in chunks."""
        from roofline.kernels.outputs import Var
        from roofline.kernels.prefill import prefill_grid

        want = (Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY)
        found = prefill_grid(
            *self.records(varied), self._each(varied, batch), np.array([isl]), cached=isl - new, chunk=chunk,
            want=want, with_bound=False, parallel=varied.size > FEW,
        )["values"]  # fmt: skip
        time, compute, memory = (found[name][:, 0, 0] for name in want)
        return Work(time, compute * time, memory * time)

    def cache_bytes(self, varied: Varied, tokens: int) -> float:
        """What one sequence of so many tokens keeps on the fullest rank [B].

        That is what a second sequence on each rank adds to memory, activations apart.
        """
        from roofline.kernels.outputs import Var
        from roofline.kernels.sweep import decode_grid

        models, layers, machines, kits, deployments, configs = self.records(varied)
        bare = kits[:1].copy()
        bare["w_hidden"] = bare["w_logit"] = 0.0
        dp = self.degrees[2]
        batch = np.array([[dp, 2 * dp]], dtype=np.int64)
        found = decode_grid(
            models, layers, machines[:1], bare, deployments, configs[:1], batch, np.array([tokens]),
            want=(Var.MEMORY,), with_bound=False, parallel=False,
        )["values"][Var.MEMORY][0, :, 0]  # fmt: skip
        return float(found[1] - found[0])

    def _each(self, varied: Varied, batch: int) -> NDArray[np.int64]:
        return np.full((varied.size, 1), batch, dtype=np.int64)


def watts_around(
    numbers: Numbers, varied: Varied, replica: Replica, draw: Floats, objective: Objective, duty: float
) -> Floats:
    """Mean watts at the boundary for one replica whose accelerators draw `draw` [W] while it works, float64[n].

    duty : share of time that it works; the rest it idles.   Section 11 of docs/equations.md.
    """
    side, group = replica.side, np.array([replica.group])
    machines, around = varied.machines[side], varied.around[side]
    held: Any = PowerFacts.of(numbers.sides[side].system)  # one number each there, one a variant here
    facts = replace(
        held,
        idle_w=machines["idle_w"],
        tdp_w=machines["tdp_w"],
        host_w=around["host_w"],
        max_w=around["max_w"],
        psu_rated_w=around["psu_rated_w"],
        pue=around["pue"],
        fixed_overhead=around["fixed_overhead"],
        network_w=around["network_w"],
        provisioned_w={objective.vintage: around["reserved_w"]} if objective.vintage else {},
    )
    systems, _ = facts.placement(group)
    working = facts.at_work(draw, group)
    replicas = np.where(working > 0, working, np.nan)
    used = np.maximum(working, 1) * group
    if objective.basis == "provisioned":
        reserved: Floats = facts.reserved_watts(objective.boundary, objective.vintage, used, systems) / replicas
        return np.broadcast_to(reserved, draw.shape)
    rack: Boundary = "accelerator" if objective.boundary == "accelerator" else "rack"
    gain = 1.0 if rack == "accelerator" else around["psu_gain"]
    busy_w, idle_w = (facts.wall_watts(rack, watts, used, systems) / gain for watts in (draw, machines["idle_w"]))
    if objective.boundary == "facility":
        busy_w, idle_w = (facts.at_meter(watts, systems) for watts in (busy_w, idle_w))
    mean: Floats = (duty * busy_w + (1.0 - duty) * idle_w) / replicas
    return mean
