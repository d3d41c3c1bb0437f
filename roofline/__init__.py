"""LLM inference on accelerators from first principles: time, energy and tokens per MWh of a token, with named axes.

Importing this package is light: a public name is imported from its home when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "decode": "roofline.grid",
    "prefill": "roofline.grid",
    "largest_batch": "roofline.grid",
    "rollup": "roofline.rack",
    "serve": "roofline.serving",
    "plan": "roofline.planning",
    "pareto": "roofline.planning",
    "pairs": "roofline.planning",
    "metrics": "roofline.planning",
    "site": "roofline.planning",
    "Bill": "roofline.rack.cost",
    "explain": "roofline.insight",
    "validate": "roofline.validation.run",
    "compare": "roofline.insight.compare",
    "Side": "roofline.insight.mixtures",
    "check_claim": "roofline.insight.claims",
    "power_cap": "roofline.insight.power_cap",
    "sensitivity": "roofline.insight.sensitivity",
    "uncertainty": "roofline.insight.uncertainty",
    "sobol": "roofline.insight.sobol",
    "rerun": "roofline.insight.studies",
    "feasibility": "roofline.rack",
    "heatmap": "roofline.report",
    "System": "roofline.specs",
    "Model": "roofline.specs",
    "Accelerator": "roofline.specs",
    "Facility": "roofline.specs",
    "Recipe": "roofline.specs",
    "Efficiency": "roofline.specs",
    "Stack": "roofline.specs",
    "Workload": "roofline.serving",
    "SLO": "roofline.serving",
    "InputError": "roofline.errors",
}

_MAKE_DATASETS = frozenset(
    {
        "feasibility",
        "serve",
        "decode",
        "prefill",
        "rollup",
        "heatmap",
        "plan",
        "pareto",
        "pairs",
        "metrics",
        "site",
        "compare",
        "power_cap",
        "rerun",
        "sensitivity",
        "sobol",
        "uncertainty",
    }
)

__all__ = [
    "SLO",
    "Accelerator",
    "Bill",
    "Efficiency",
    "Facility",
    "InputError",
    "Model",
    "Recipe",
    "Side",
    "Stack",
    "System",
    "Workload",
    "__version__",
    "check_claim",
    "compare",
    "decode",
    "explain",
    "feasibility",
    "heatmap",
    "largest_batch",
    "metrics",
    "pairs",
    "pareto",
    "plan",
    "power_cap",
    "prefill",
    "rerun",
    "rollup",
    "sensitivity",
    "serve",
    "site",
    "sobol",
    "uncertainty",
    "validate",
]

if TYPE_CHECKING:
    from roofline.errors import InputError
    from roofline.grid import decode, largest_batch, prefill
    from roofline.insight.claims import check_claim
    from roofline.insight.compare import compare
    from roofline.insight.explain import explain
    from roofline.insight.mixtures import Side
    from roofline.insight.power_cap import power_cap
    from roofline.insight.sensitivity import sensitivity
    from roofline.insight.sobol import sobol
    from roofline.insight.studies import rerun
    from roofline.insight.uncertainty import uncertainty
    from roofline.planning.metrics import metrics
    from roofline.planning.pairs import pairs
    from roofline.planning.pareto import pareto
    from roofline.planning.plan import plan
    from roofline.planning.site import site
    from roofline.rack import feasibility, rollup
    from roofline.rack.cost import Bill
    from roofline.report import heatmap
    from roofline.serving import SLO, Workload, serve
    from roofline.specs import Accelerator, Efficiency, Facility, Model, Recipe, Stack, System
    from roofline.validation.run import validate


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    if name in _MAKE_DATASETS:
        import_module("roofline.report.accessor")  # ds.roofline is there as soon as a Dataset can be
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted(__all__)
