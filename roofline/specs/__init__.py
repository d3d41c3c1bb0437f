"""Sheets of hardware and models: read, validated, traced to their sources. `pack` turns them into records."""

from roofline.specs.efficiency import Efficiency
from roofline.specs.hardware import Accelerator, Facility, System
from roofline.specs.load import list_specs
from roofline.specs.model import Model
from roofline.specs.prices import Prices
from roofline.specs.recipe import Recipe
from roofline.specs.records import Source
from roofline.specs.stack import Stack

__all__ = [
    "Accelerator",
    "Efficiency",
    "Facility",
    "Model",
    "Prices",
    "Recipe",
    "Source",
    "Stack",
    "System",
    "list_specs",
]
