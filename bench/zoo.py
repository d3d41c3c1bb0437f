"""Every model on every system in one call of `roofline.decode`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.record import Row
from roofline.layout import Limit
from roofline.specs import list_specs

DEPLOYMENTS = [
    *({"tp": n} for n in (1, 2, 4, 8)),
    {"tp": 4, "pp": 2},
    {"tp": 8, "ep": 8},
    {"dp": 8, "ep": 8},
    {"tp": 4, "dp": 8, "ep": 32},
]


def zoo_rows(models: int, repeats: int) -> list[Row]:
    """Seconds of one call, sheets already read, over the first `models` models; and what share of its cells runs."""
    import roofline as rl

    axes: dict[str, Any] = {
        "models": list_specs("model")[:models],
        "systems": list_specs("system"),
        "deployments": DEPLOYMENTS,
        "batch": [1, 16, 64, 256],
        "context": [2048, 8192, 32768],
    }
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        ds = rl.decode(**axes)
        seconds.append(time.perf_counter() - start)
    limit = ds["limit"].values
    pair = (limit == Limit.NONE).any(axis=tuple(range(2, limit.ndim)))
    about = {
        "call": "rl.decode, all shipped recipes of the models",
        "models": ds.sizes["model"],
        "systems": ds.sizes["system"],
        "recipes": ds.sizes["recipe"],
        "deployments": len(DEPLOYMENTS),
        "cells": int(limit.size),
        "cells that run": round(float(np.mean(limit == Limit.NONE)), 3),
        "pairs of model and system that run": f"{int(pair.sum())} of {pair.size}",
    }
    return [Row("every model on every system", "one call", "s", parameters=about).measured(seconds[1:])]
