"""The system that an accelerator's name stands for: one scale-up domain of it in a default host.

Every number that the accelerator's sheet does not give is of grade `estimated` here.
"""

from __future__ import annotations

import re
from typing import Any

from roofline.errors import InputError
from roofline.specs import folders as places
from roofline.specs.hardware import Accelerator, Facility, ScaleOut, ScaleUp, System
from roofline.specs.load import load_sheet
from roofline.specs.records import Folders

DOMAIN = 8
"""Accelerators of a scale-up domain where neither the accelerator's sheet nor a system's tells."""

HOP_S = 0.5e-6
"""Latency of a scale-up hop where no system sheet tells [s]."""

OUT_HOP_S = 2e-6
"""Latency of a scale-out hop where no system sheet tells: a NIC, a switch, a NIC [s]."""

REPLICA = 128
"""Accelerators that a replica may span over scale-out where no system sheet tells, if a domain has not more."""

LARGEST_RACK = 256
"""Domains of more accelerators than this are called pods."""

HOST_W_PER_ACCELERATOR = 1352.0 / 8
"""DC watts of CPUs, NICs, switches and fans per accelerator where no system tells, as in a box of eight [W]."""

NETWORK_W_PER_ACCELERATOR = 473.6 / 8
"""Watts of the network outside per accelerator where no system tells, as of a box of eight [W]."""

PSU_LOAD = (0.05, 0.1, 0.2, 0.5, 1.0)
PSU_EFFICIENCY = (0.886, 0.924, 0.945, 0.964, 0.956)
PSU_MARGIN = 1.5
"""Rated watts of the supplies over the largest DC load: room for a failed one."""

LIQUID_ABOVE_W = 1100.0
"""TDP above which air is no longer usual; asked only where no system tells [W]."""

_ACCELERATOR_LINE = re.compile(r"^accelerator:\s*[\"']?([\w.\-]+)", re.MULTILINE)


def around(accelerator: Accelerator, *, folders: Folders = None) -> dict[str, Any]:
    """Fields of a `System` of one scale-up domain of `accelerator` with a default host.

    The network is what the accelerator's own sheet says of it, else that of the system sheet built of this accelerator
    with the largest domain, else one of this module's constants; without a scale-up rate the domain is one. Power,
    cooling and facility are that system's, its watts scaled to one domain where the domain is not the whole system,
    else of this module's constants. Domains are joined only where the accelerator's sheet gives a scale-out rate.
    """
    system = _built_of(accelerator, folders)
    network = _network(accelerator, system)
    count = network.domain
    like = _like(accelerator, system, count) if system else _of_constants(accelerator, count, folders)
    out = accelerator.scale_out_bytes_per_s
    estimated = {"ref": "default host: see roofline.specs.default_host", "grade": "estimated"}
    fields = ["accelerators", "max_systems", "scale_up", "power", *(["scale_out"] if out else [])]
    notes = "with the host " + (f"of {system.name}." if system else "of estimated power.")
    return {
        "id": f"{accelerator.id}-x{count}",
        "name": f"{count} x {accelerator.name}, default host (estimated)",
        "notes": f"Not a product: one scale-up domain of the accelerator {notes}",
        "kind": "box" if count <= DOMAIN else "rack" if count <= LARGEST_RACK else "pod",
        "accelerator": accelerator,
        "accelerators": count,
        "max_systems": max(1, REPLICA // count) if out else 1,
        "scale_up": network,
        "scale_out": ScaleOut(bytes_per_s=out, hop_s=OUT_HOP_S) if out else None,
        "sources": dict.fromkeys(fields, estimated),
        **like,
    }


def _network(accelerator: Accelerator, system: System | None) -> ScaleUp:
    """The scale-up network of one domain."""
    like = system.scale_up if system else None
    if not accelerator.scale_up_bytes_per_s and not (like and like.bytes_per_s):
        return ScaleUp(domain=1, topology="switched", hop_s=like.hop_s if like else HOP_S, in_switch_reduction=False)
    domain, topology = accelerator.scale_up_domain, accelerator.scale_up_topology
    if like is None:
        return ScaleUp(
            domain=domain or DOMAIN,
            topology=topology or "switched",
            axes=accelerator.scale_up_axes,
            hop_s=HOP_S,
            in_switch_reduction=False,
        )
    if topology is None and domain in (None, like.domain):
        return like
    topology = topology or ("switched" if like.topology == "torus" else like.topology)  # a torus of other extents: none
    return ScaleUp(
        domain=domain or like.domain,
        topology=topology,
        axes=accelerator.scale_up_axes,
        hop_s=like.hop_s,
        in_switch_reduction=like.in_switch_reduction and topology == "switched",
        bytes_per_s=like.bytes_per_s,
    )


def _like(accelerator: Accelerator, system: System, count: int) -> dict[str, Any]:
    """What a domain takes from a system: host, supplies and rating by its share of the system's accelerators.

    An accelerator of a higher TDP than the system's own (a changed copy) raises rating and supplies by the difference,
    and has no provisioned watts: those were published for the part as shipped. What is undisclosed stays so.
    """
    power, share = system.power, count / system.accelerators
    own, shipped = accelerator.power.tdp_w, system.accelerator.power.tdp_w
    hotter_w = max(0.0, own - shipped) * count / PSU_EFFICIENCY[-1] if own and shipped else 0.0
    watts: dict[str, Any] = {
        "host_dc_w": {part: share * watts for part, watts in power.host_dc_w.items()},
        "network_w": share * power.network_w,
        "provisioned_w_per_accelerator": {} if hotter_w else dict(power.provisioned_w_per_accelerator),
    }
    if power.psu:
        rated_w = share * power.psu.rated_w + PSU_MARGIN * hotter_w
        watts["psu"] = {"rated_w": rated_w, "load": power.psu.load, "efficiency": power.psu.efficiency}
    if power.max_w:
        watts["max_w"] = share * power.max_w + hotter_w
    return {"power": watts, "cooling": system.cooling, "facility": system.facility}


def _of_constants(accelerator: Accelerator, count: int, folders: Folders) -> dict[str, Any]:
    """The same where no system tells."""
    host_w, tdp_w = HOST_W_PER_ACCELERATOR * count, accelerator.power.tdp_w
    watts: dict[str, Any] = {"host_dc_w": {"host": host_w}, "network_w": NETWORK_W_PER_ACCELERATOR * count}
    if tdp_w is not None:
        largest_dc_w = tdp_w * count + host_w
        watts["psu"] = {"rated_w": PSU_MARGIN * largest_dc_w, "load": PSU_LOAD, "efficiency": PSU_EFFICIENCY}
        watts["max_w"] = largest_dc_w / PSU_EFFICIENCY[-1]
    cooling = "liquid" if tdp_w and tdp_w > LIQUID_ABOVE_W else "air"
    return {"power": watts, "cooling": cooling, "facility": load_sheet(Facility, cooling, folders=folders)}


def _built_of(accelerator: Accelerator, folders: Folders) -> System | None:
    """The sound system sheet of this accelerator with the largest scale-up domain, the first of equals.

    Sheets of an earlier folder win over those of a later one whatever their domain.
    """
    for folder in places.search_path("system", folders):
        found: list[System] = []
        for path in places.sheet_files(folder).values():
            text = path.read_text(encoding="utf-8", errors="replace")
            match = _ACCELERATOR_LINE.search(text)
            if not match or match[1].lower() not in {accelerator.id.lower(), *map(str.lower, accelerator.aliases)}:
                continue
            try:
                found.append(System.load(path, folders=folders))
            except InputError:
                continue  # a broken sheet is reported where it is itself asked for
        if found:
            return max(found, key=lambda system: system.scale_up.domain)
    return None
