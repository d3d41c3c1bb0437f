"""From the accelerator's meter to the rack's and the utility's: energy of a deployed replica."""

from roofline.rack.best import best_over_deployments
from roofline.rack.energy import rollup
from roofline.rack.feasible import feasibility

__all__ = ["best_over_deployments", "feasibility", "rollup"]
