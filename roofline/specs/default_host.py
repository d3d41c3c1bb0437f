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
"""DC watts of CPUs, NICs, switches and fans per accelerator where no system tells, as in a box of eight [W]."""

PSU_LOAD = (0.05, 0.1, 0.2, 0.5, 1.0)
PSU_EFFICIENCY = (0.886, 0.924, 0.945, 0.964, 0.956)
PSU_MARGIN = 1.5
"""Rated watts of the supplies over the largest DC load: room for a failed one."""

LIQUID_ABOVE_W = 1100.0
"""TDP above which air is no longer usual; asked only where no system tells [W]."""

_ACCELERATOR_LINE = re.compile(r"^accelerator:\s*[\"']?([\w.\-]+)", re.MULTILINE)


def around(accelerator: Accelerator, *, folders: Folders = None) -> dict[str, Any]:
    """Fields of a `System` of one scale-up domain of `accelerator` with a default host.

    Network, power, cooling and facility are those of the first system sheet built of this accelerator, its watts
    scaled to one domain where the domain is not the whole system. The constants of this module stand in where no
    system is built of it. Without a scale-up rate the domain is one accelerator.
    """
    system = _built_of(accelerator, folders)
    like = _like(accelerator, system) if system else _of_constants(accelerator, folders)
    count = like["scale_up"].domain
    estimated = {"ref": "default host: see roofline.specs.default_host", "grade": "estimated"}
    fields = ("accelerators", "max_systems", "scale_up", "power")
    notes = "with the host " + (f"of {system.name}." if system else "of estimated power.")
    return {
        "id": f"{accelerator.id}-x{count}",
        "name": f"{count} x {accelerator.name}, default host (estimated)",
        "notes": f"Not a product: one scale-up domain of the accelerator {notes}",
        "kind": "box" if count <= DOMAIN else "rack",
        "accelerator": accelerator,
        "accelerators": count,
        "sources": dict.fromkeys(fields, estimated),
        **like,
    }


def _like(accelerator: Accelerator, system: System) -> dict[str, Any]:
    """What a domain takes from a system: host, supplies and rating by its share of the system's accelerators.

    An accelerator of a higher TDP than the system's own (a changed copy) raises rating and supplies by the difference,
    and has no provisioned watts: those were published for the part as shipped.
    """
    network = system.scale_up
    if accelerator.scale_up_bytes_per_s is None and network.bytes_per_s is None:
        network = network.model_copy(update={"domain": 1})
    count, power = network.domain, system.power
    share = count / system.accelerators
    hotter_w = max(0.0, accelerator.power.tdp_w - system.accelerator.power.tdp_w) * count / PSU_EFFICIENCY[-1]
    return {
        "scale_up": network,
        "power": {
            "host_dc_w": {part: share * watts for part, watts in power.host_dc_w.items()},
            "psu": {
                "rated_w": share * power.psu.rated_w + PSU_MARGIN * hotter_w,
                "load": power.psu.load,
                "efficiency": power.psu.efficiency,
            },
            "max_w": share * power.max_w + hotter_w,
            "provisioned_w_per_accelerator": {} if hotter_w else dict(power.provisioned_w_per_accelerator),
        },
        "cooling": system.cooling,
        "facility": system.facility,
    }


def _of_constants(accelerator: Accelerator, folders: Folders) -> dict[str, Any]:
    """The same where no system tells."""
    count = DOMAIN if accelerator.scale_up_bytes_per_s else 1
    host_w = HOST_W_PER_ACCELERATOR * count
    largest_dc_w = accelerator.power.tdp_w * count + host_w
    cooling = "liquid" if accelerator.power.tdp_w > LIQUID_ABOVE_W else "air"
    return {
        "scale_up": ScaleUp(domain=count, topology="switched", hop_s=HOP_S, in_switch_reduction=False),
        "power": {
            "host_dc_w": {"host": host_w},
            "psu": {"rated_w": PSU_MARGIN * largest_dc_w, "load": PSU_LOAD, "efficiency": PSU_EFFICIENCY},
            "max_w": largest_dc_w / PSU_EFFICIENCY[-1],
        },
        "cooling": cooling,
        "facility": load_sheet(Facility, cooling, folders=folders),
    }


def _built_of(accelerator: Accelerator, folders: Folders) -> System | None:
    """The first system sheet of this accelerator that is sound."""
    for folder in places.search_path("system", folders):
        for path in places.sheet_files(folder).values():
            text = path.read_text(encoding="utf-8", errors="replace")
            match = _ACCELERATOR_LINE.search(text)
            if not match or match[1].lower() not in {accelerator.id.lower(), *map(str.lower, accelerator.aliases)}:
                continue
            try:
                return System.load(path, folders=folders)
            except InputError:
                continue  # a broken sheet is reported where it is itself asked for
    return None
