"""A system to a record of `layout.MACHINE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.layout import MACHINE, Topology

if TYPE_CHECKING:
    from roofline.specs.hardware import System
    from roofline.specs.pack.fidelity import Fidelity


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
    axes = (*sorted(system.scale_up.axes, reverse=True), 1, 1, 1)
    machine["axis_x"], machine["axis_y"], machine["axis_z"] = axes[:3]
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
    machine["tdp_w"] = np.nan if power.tdp_w is None else power.tdp_w
    machine["idle_w"] = np.nan if power.tdp_w is None or power.idle_w is None else power.idle_w
    machine["power_a"], machine["power_b"] = power.draw_a, power.draw_b
    return machine[0]
