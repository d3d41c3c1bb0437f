"""The system that an accelerator's name stands for: one scale-up domain of it in a default host.

Every number that the accelerator's sheet does not give is of grade `estimated` here.
"""

from __future__ import annotations

import re
from typing import Any

from roofline.errors import InputError
from roofline.specs import folders as places
from roofline.specs.hardware import Accelerator, Facility, ScaleUp, System
from roofline.specs.load import load_sheet
from roofline.specs.records import Folders

DOMAIN = 8
"""Accelerators of a scale-up domain where no system sheet tells."""

HOP_S = 0.5e-6
"""Latency of a scale-up hop where no system sheet tells [s]."""

HOST_W_PER_ACCELERATOR = 1352.0 / 8
"""DC watts of CPUs, NICs, switches and fans per accelerator, as in an eight-accelerator box [W]."""

PSU_LOAD = (0.05, 0.1, 0.2, 0.5, 1.0)
PSU_EFFICIENCY = (0.886, 0.924, 0.945, 0.964, 0.956)
PSU_MARGIN = 1.5
"""Rated watts of the supplies over the largest DC load: room for a failed one."""

LIQUID_ABOVE_W = 1100.0
"""TDP above which air is no longer usual."""

_ACCELERATOR_LINE = re.compile(r"^accelerator:\s*[\"']?([\w.\-]+)", re.MULTILINE)


def around(accelerator: Accelerator, *, folders: Folders = None) -> dict[str, Any]:
    """Fields of a `System` of one scale-up domain of `accelerator` with a default host.

    The network is that of the first system sheet built of this accelerator, if there is one. Without a scale-up
    rate the domain is one accelerator.
    """
    network = _network(accelerator, folders)
    count = network.domain
    host_w = HOST_W_PER_ACCELERATOR * count
    largest_dc_w = accelerator.power.tdp_w * count + host_w
    cooling = "liquid" if accelerator.power.tdp_w > LIQUID_ABOVE_W else "air"
    estimated = {"ref": "default host: see roofline.specs.default_host", "grade": "estimated"}
    fields = ("accelerators", "max_systems", "scale_up", "power")
    return {
        "id": f"{accelerator.id}-x{count}",
        "name": f"{count} x {accelerator.name}, default host (estimated)",
        "notes": "Not a product: one scale-up domain of the accelerator with a host of estimated power.",
        "kind": "box" if count <= DOMAIN else "rack",
        "accelerator": accelerator,
        "accelerators": count,
        "scale_up": network,
        "power": {
            "host_dc_w": {"host": host_w},
            "psu": {"rated_w": PSU_MARGIN * largest_dc_w, "load": PSU_LOAD, "efficiency": PSU_EFFICIENCY},
            "max_w": largest_dc_w / PSU_EFFICIENCY[-1],
        },
        "cooling": cooling,
        "facility": load_sheet(Facility, cooling, folders=folders),
        "sources": dict.fromkeys(fields, estimated),
    }


def _network(accelerator: Accelerator, folders: Folders) -> ScaleUp:
    if accelerator.scale_up_bytes_per_s is None:
        return ScaleUp(domain=1, topology="switched", hop_s=HOP_S, in_switch_reduction=False)
    for folder in places.search_path("system", folders):
        for path in places.sheet_files(folder).values():
            text = path.read_text(encoding="utf-8", errors="replace")
            match = _ACCELERATOR_LINE.search(text)
            if not match or match[1].lower() not in {accelerator.id.lower(), *map(str.lower, accelerator.aliases)}:
                continue
            try:
                return System.load(path, folders=folders).scale_up
            except InputError:
                continue  # a broken sheet is reported where it is itself asked for
    return ScaleUp(domain=DOMAIN, topology="switched", hop_s=HOP_S, in_switch_reduction=False)
