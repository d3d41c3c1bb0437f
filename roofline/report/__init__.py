"""Results as tables, files and pictures. Everything here takes a Dataset and computes no physics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {"heatmap": "roofline.report.headline", "save": "roofline.report.files", "table": "roofline.report.tables"}

__all__ = ["heatmap", "save", "table"]

if TYPE_CHECKING:
    from roofline.report.files import save
    from roofline.report.headline import heatmap
    from roofline.report.tables import table


def __getattr__(name: str) -> Any:
    """Import on first use, so that a table does not pay for matplotlib."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
