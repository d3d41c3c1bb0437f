"""Plans: the best way to serve a workload under an SLO, searched over all there are."""

from roofline.planning.metrics import metrics
from roofline.planning.pairs import pairs
from roofline.planning.pareto import pareto
from roofline.planning.plan import plan
from roofline.planning.site import site

__all__ = ["metrics", "pairs", "pareto", "plan", "site"]
