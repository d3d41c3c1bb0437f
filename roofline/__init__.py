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
    "explain": "roofline.insight",
    "validate": "roofline.validation.run",
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
    {"feasibility", "serve", "decode", "prefill", "rollup", "heatmap", "plan", "pareto", "pairs", "metrics"}
)

__all__ = [
    "SLO",
    "Accelerator",
    "Efficiency",
    "Facility",
    "InputError",
    "Model",
    "Recipe",
    "Stack",
    "System",
    "Workload",
    "__version__",
    "decode",
    "explain",
    "feasibility",
    "heatmap",
    "largest_batch",
    "metrics",
    "pairs",
    "pareto",
    "plan",
    "prefill",
    "rollup",
    "serve",
    "validate",
]

if TYPE_CHECKING:
    from roofline.errors import InputError
    from roofline.grid import decode, largest_batch, prefill
    from roofline.insight.explain import explain
    from roofline.planning.metrics import metrics
    from roofline.planning.pairs import pairs
    from roofline.planning.pareto import pareto
    from roofline.planning.plan import plan
    from roofline.rack import feasibility, rollup
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
