"""From the cost of a token to serving requests: a simulator of continuous batching and closed forms beside it."""

from roofline.serving.lengths import Pairs
from roofline.serving.queueing import Breaking, OpenLoop, breaking_rate, open_loop
from roofline.serving.replica import Capacity, ClosedLoop, Figure, capacity, closed_loop
from roofline.serving.service import Closed, Lognormal, Open, Requests, Service, Trace
from roofline.serving.simulate import SimulationResult, simulate
from roofline.serving.slo import SLO, Violation
from roofline.serving.steps import StepTable, step_table
from roofline.serving.under_load import serve
from roofline.serving.workload import Workload

__all__ = [
    "SLO",
    "Breaking",
    "Capacity",
    "Closed",
    "ClosedLoop",
    "Figure",
    "Lognormal",
    "Open",
    "OpenLoop",
    "Pairs",
    "Requests",
    "Service",
    "SimulationResult",
    "StepTable",
    "Trace",
    "Violation",
    "Workload",
    "breaking_rate",
    "capacity",
    "closed_loop",
    "open_loop",
    "serve",
    "simulate",
    "step_table",
]
