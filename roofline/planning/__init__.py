"""Plans: the best way to serve a workload under an SLO, searched over all there are."""

from roofline.planning.plan import plan

__all__ = ["plan"]
