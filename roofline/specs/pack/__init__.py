"""Sheets to records: the only way into kernels.

A *fidelity* is decided here: `ideal` packs every efficiency as 1, every fixed time as 0 and every activation as
0 bytes; `kernel` packs what the efficiency sheet says. Kernels do not know the difference but for
`kit.bound` (docs/equations.md section 8).
"""

from roofline.specs.pack.fidelity import FIDELITIES, Fidelity
from roofline.specs.pack.grid import Packed, pack, pack_deployments
from roofline.specs.pack.kit import Kit, PartPlan, pack_kit
from roofline.specs.pack.machine import pack_machine
from roofline.specs.pack.model import pack_models, used_parts

__all__ = [
    "FIDELITIES",
    "Fidelity",
    "Kit",
    "Packed",
    "PartPlan",
    "pack",
    "pack_deployments",
    "pack_kit",
    "pack_machine",
    "pack_models",
    "used_parts",
]
