"""Serving requests from a deployment: time to first token, time per token, throughput and energy under load."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.evaluate import Grid
from roofline.grid.variables import LIMIT_FLAGS
from roofline.serving.bands import tier_coords
from roofline.serving.deployed import deployed
from roofline.serving.queueing import open_loop
from roofline.serving.replica import ClosedLoop, closed_loop
from roofline.serving.service import Open, Requests, Service, number
from roofline.serving.workload import Workload
from roofline.specs.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from roofline.serving.deployed import Deployed

_DIMS = ("model", "system", "recipe", "deployment")

MEANS = {
    "ttft": ("s", "mean time to first token (TTFT)"),
    "tpot": ("s", "mean time per output token of a request (TPOT)"),
    "request_latency": ("s", "mean time of a request of mean length"),
    "batch": ("1", "mean sequences decoding in one replica"),
    "request_rate": ("1/s", "requests a second of one replica"),
    "output_tokens_per_s": ("1/s", "output tokens a second of one replica"),
    "tokens_per_s_per_gpu": ("1/s", "output tokens a second per accelerator"),
    "tokens_per_s_per_user": ("1/s", "output tokens a second of one sequence once it decodes"),
    "power": ("W", "mean draw of one accelerator"),
    "joules_per_token": ("J", "energy per output token, prompts included, accelerators only"),
}
"""Figure of a load -> (units, meaning)."""

_SPREAD = {
    "ttft_p50": ("s", "median time to first token"),
    "ttft_p99": ("s", "time to first token that 99 % of requests stay below"),
    "tpot_p99": ("s", "time per output token that 99 % of requests stay below"),
    "load": ("1", "rate over the largest that the replica sustains"),
}


def serve(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    workload: Workload | Mapping[str, Any] | str | PathLike[str],
    concurrency: axes.Counts | None = None,
    rate: float | Sequence[float] | None = None,
    cv: float | None = None,
    tp: axes.Counts = 1,
    pp: axes.Counts = 1,
    dp: axes.Counts = 1,
    ep: axes.Counts | None = None,
    moe_tp: axes.Counts | None = None,
    deployments: Iterable[Mapping[str, int]] | None = None,
    chunk: int = 2048,
    slots: int | None = None,
    stack: Any = "default",
) -> xr.Dataset:
    """Continuous batching with chunked prefill on every model x system x recipe x deployment, under every load.

    workload : lengths of the requests: a `roofline.serving.Workload`, or what `Workload.of` reads: "8k/1k", a preset's
        name, a CSV of isl and osl, a mapping.
    concurrency : a closed loop of so many clients a replica; or rate : requests a second to a replica, with `cv` the
        coefficient of variation of the times between them (1: Poisson). Default those of the workload.
    chunk : most prompt tokens in a step, on each attention rank.   stack : a stack's name, path, mapping or sheet.
    slots : most sequences of a replica, shared evenly by its attention ranks, at least one each; default what memory
        holds with ISL + OSL reserved for each.
    Degrees and deployments as in `roofline.decode`.

    A replica with dp attention ranks is dp equal ranks in lockstep. Each has its share of the clients, and of the rate:
    a Poisson stream that is dealt out at random stays Poisson, from another cv a rank has 1 + (cv^2 - 1)/dp, squared.
    Where dp does not divide the clients, figures lie linearly between those of the whole numbers of a rank.

    Returns a Dataset with dims (model, system, recipe, deployment, load), load named concurrency or rate: ttft, tpot,
    request_latency, batch, rates, power, joules_per_token (accelerators; `roofline.rollup` has the others), with a rate
    also percentiles and the load; `limit` where a deployment does not run, `reason` where a figure is outside what was
    compared with a simulator (docs/queueing.md) and where there is no steady state (NaN then).
    Fidelity `serving`: the kernel fidelity with a serving stack. Coordinates `tier` and `energy_tier` say what figures
    rest on; `ds.roofline.band("tpot")` is the band of one (docs/bands.md).
    Raises `InputError` for bad input. Equations: docs/queueing.md; (19), (20) of docs/equations.md.
    """
    asked = Workload.of(workload)
    if concurrency is None and rate is None:
        concurrency, rate = asked.concurrency, asked.rate
    if (concurrency is None) == (rate is None):
        raise InputError("serve: give either concurrency (a closed loop) or rate (open arrivals)")
    if cv is not None and rate is None:
        raise InputError(f"cv = {cv!r}: of the times between arrivals of a rate; a closed loop of clients has none")
    requests, cv = asked.requests, asked.rate_cv if cv is None else cv
    loads, name = _loads(concurrency, rate)
    sheet, size = Stack.load(stack), axes.count("chunk", chunk)
    most = None if slots is None else axes.count("slots", slots)
    grid = Grid(models, systems, recipes, axes.deployments(tp, pp, dp, ep, moe_tp, deployments), "kernel")
    about = MEANS | ({} if rate is None else _SPREAD)
    shape = (*grid.shape, loads.size)
    values = {key: np.full(shape, np.nan) for key in about}
    limit, reason = np.zeros(shape, dtype=np.int8), np.full(shape, "", dtype=object)
    groups, records = grid.deployments.accelerators, grid.records()
    # With a cached share, `requests` has what is computed of a prompt alone.
    prefix = asked.mean_isl - float(requests.points()[0].mean()) if asked.cached_share else 0.0
    for config, at in enumerate(np.ndindex(grid.shape)):
        replica = deployed(grid, records, config, requests, sheet, size, most, prefix)
        if isinstance(replica, int):
            limit[at] = replica
            continue
        for n, load in enumerate(loads):
            found, why = figures(replica, requests, load, None if rate is None else cv, groups[at[3]])
            reason[(*at, n)] = why
            for key, value in found.items():
                values[key][(*at, n)] = value
    dims = (*_DIMS, name)
    data: dict[str, Any] = {
        key: (dims, values[key], {"units": u, "long_name": text}) for key, (u, text) in about.items()
    }
    data["limit"] = (dims, limit, LIMIT_FLAGS)
    data["reason"] = (
        dims,
        reason,
        {"long_name": "why a figure is outside what was compared with a simulator, or is none"},
    )
    text = "clients of one replica" if rate is None else "requests a second to one replica"
    coords = grid.coords() | {name: (name, loads, {"units": "1" if rate is None else "1/s", "long_name": text})}
    coords |= tier_coords(grid.systems, sheet)
    attributes = grid.attributes("output") | {
        "fidelity": "serving",
        "pass": "serve",
        "band_kind": "closed" if rate is None else "open",
        "stack": sheet.id or sheet.name,
        "mean_isl": f"{asked.mean_isl:g}",
        "mean_osl": f"{asked.mean_osl:g}",
        "isl_cv": f"{asked.isl_cv:g}",
        "osl_cv": f"{asked.osl_cv:g}",
        "mean_computed": f"{asked.mean_computed:g}",
        "chunk": str(size),
        "reservation": "ISL + OSL",
    }
    attributes["sheets"] += f" stack/{sheet.id}={sheet.digest}"
    return xr.Dataset(data, coords=coords, attrs=attributes | ({} if rate is None else {"cv": str(cv)}))


def _loads(concurrency: axes.Counts | None, rate: float | Sequence[float] | None) -> tuple[Any, str]:
    if rate is None:
        assert concurrency is not None
        return axes.counts("concurrency", concurrency), "concurrency"
    listed = [rate] if isinstance(rate, int | float) else list(rate)
    if not listed:
        raise InputError("rate: none given; give at least one")
    return np.array([number(f"rate[{i}]", value, above=0.0) for i, value in enumerate(listed)]), "rate"


def figures(
    replica: Deployed, requests: Requests, load: float, cv: float | None, accelerators: int
) -> tuple[dict[str, float], str]:
    """Figures of a replica under one load, and why they are to be doubted. cv None: a closed loop.

    The loops are those of one attention rank; rates and the batch are `ranks` times its.
    """
    service, ranks = replica.service, replica.ranks
    spread: dict[str, float] = {}
    if cv is None:
        closed, busy = _shared_loop(service, requests, int(load), ranks)
        ttft, tpot, tokens_per_s, batch = closed.ttft_s, closed.tpot_s, closed.output_tokens_per_s, closed.batch
        per_s, share, why = closed.request_rate, closed.prefill_share, closed.reason
    else:
        opened, busy = open_loop(service, requests, Open(float(load) / ranks, _split_cv(cv, ranks))), float(ranks)
        ttft, tpot, tokens_per_s, batch = opened.ttft_s, opened.tpot_s, opened.output_tokens_per_s, opened.batch
        per_s, share, why = opened.rate, opened.prefill_utilisation, opened.reason
        spread = {
            "ttft_p50": opened.ttft_percentile(50).value,
            "ttft_p99": opened.ttft_percentile(99).value,
            "tpot_p99": opened.tpot_percentile(99).value,
            "load": opened.load,
        }
    _, osl = requests.points()
    watts = _mean_watts(replica, batch, share, cv is not None)
    tokens_per_s = busy * tokens_per_s
    found = {
        "ttft": ttft,
        "tpot": tpot,
        "request_latency": ttft + (tpot * (float(osl.mean()) - 1.0) if osl.mean() > 1.0 else 0.0),
        "batch": busy * batch,
        "request_rate": busy * per_s if np.isfinite(ttft) else np.nan,
        "output_tokens_per_s": tokens_per_s,
        "tokens_per_s_per_gpu": tokens_per_s / accelerators,
        "tokens_per_s_per_user": 1.0 / tpot,
        "power": watts,
        "joules_per_token": watts * accelerators / tokens_per_s,
    }
    reasons = [f"on each of {ranks} attention ranks: {why}" if why and ranks > 1 else why]
    if busy < ranks:
        reasons.append("fewer clients than attention ranks")
    return found | spread, "; ".join(filter(None, reasons))


def _shared_loop(service: Service, requests: Requests, clients: int, ranks: int) -> tuple[ClosedLoop, float]:
    """The closed loop of one of `ranks` that share `clients`, and how many of them are busy.

    Fewer clients than ranks: one on each of as many ranks. Else linear between the whole numbers of clients of a rank
    below and above.
    """
    if clients < ranks:
        return closed_loop(service, requests, 1), float(clients)
    each, left = divmod(clients, ranks)
    below = closed_loop(service, requests, each)
    if left == 0:
        return below, float(ranks)
    above, part = closed_loop(service, requests, each + 1), left / ranks

    def between(low: float, high: float) -> float:
        return low + part * (high - low)

    return ClosedLoop(
        ttft_s=between(below.ttft_s, above.ttft_s),
        tpot_s=between(below.tpot_s, above.tpot_s),
        request_rate=between(below.request_rate, above.request_rate),
        output_tokens_per_s=between(below.output_tokens_per_s, above.output_tokens_per_s),
        batch=between(below.batch, above.batch),
        prefill_share=between(below.prefill_share, above.prefill_share),
        reason=below.reason or above.reason,
    ), float(ranks)


def _split_cv(cv: float, ranks: int) -> float:
    """Coefficient of variation of the gaps of a renewal stream of which each rank takes arrivals at random.

    A geometric number of gaps lies between two that one rank takes: cv^2 becomes 1 + (cv^2 - 1)/ranks.
    """
    return cv if ranks == 1 else sqrt(1.0 + (cv * cv - 1.0) / ranks)


def _mean_watts(replica: Deployed, batch: float, share: float, open_arrivals: bool) -> float:
    """Mean draw of one accelerator [W].

    batch : decoding sequences of one attention rank.
    share : of steps that hold a chunk (closed loop), or of time with a prompt in work (open arrivals).
    Time without any sequence, which open arrivals leave, is charged as the emptiest step.
    """
    if not np.isfinite(batch):
        return float("nan")
    service, b = replica.service, np.arange(replica.service.slots + 1)

    def at(values: Any) -> float:
        return float(np.interp(batch, b, values))

    if open_arrivals:
        chunk_time = min(share, 1.0)
    else:
        mixed, alone = share * at(service.mixed_s), (1.0 - share) * at(service.decode_s)
        chunk_time = mixed / (mixed + alone)
    return chunk_time * at(replica.mixed_w) + (1.0 - chunk_time) * at(replica.decode_w)
