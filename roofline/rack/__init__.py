"""From the accelerator's meter to the rack's and the utility's: energy of a deployed replica."""

from roofline.rack.energy import rollup

__all__ = ["rollup"]
