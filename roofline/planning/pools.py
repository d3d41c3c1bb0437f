"""Two pools: one that computes prompts and one that decodes, of one system or of two, rates matched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.grid import axes
from roofline.layout import Limit
from roofline.planning.apart import Apart, decode_apart
from roofline.planning.match import Half, Pair, Pools, Terms, half_draw, match
from roofline.planning.question import LOADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.planning.choose import Choice, Chooser
    from roofline.planning.space import Space

    Floats = NDArray[np.float64]


def in_pools(chooser: Chooser, mode: str, system: int, workload: int, slo: int) -> Choice:
    """The best pair of pools whose decode pool is of a system, or why there is none.

    mode : disaggregated, or attention_ffn where the decode pool has its feed-forwards on another system.
    """
    from roofline.kernels.candidates import DECODE_POOL, PREFILL_POOL
    from roofline.planning.choose import Choice

    terms = terms_of(chooser, workload, slo)
    decoders: list[tuple[Pools, Apart | None]] = []
    refused = undecoded = Choice(limit=int(Limit.ACCELERATORS))
    if mode == "attention_ffn":
        for one in decode_apart(chooser, system, workload, slo, terms):
            if isinstance(one, Choice):
                undecoded = nearer(undecoded, one)
            else:
                decoders.append(one)
    else:
        pools = pools_of(chooser, chooser.space, chooser.found, DECODE_POOL, system, workload, slo)
        if pools is None:
            mine = chooser.space.of_system(system)
            undecoded = chooser.none(chooser.found, mine, DECODE_POOL, system, workload, slo)
        else:
            decoders.append((pools, None))
    best: tuple[Pair, Space, dict[str, Any], Pools, int, Pools, Apart | None] | None = None
    for space, found, side in _prompt_sides(chooser, system):
        prefill = pools_of(chooser, space, found, PREFILL_POOL, side, workload, slo)
        if prefill is None:
            mine = space.of_system(side)
            unprompted = chooser.none(found, mine, PREFILL_POOL, system, workload, slo)
            refused = nearer(refused, unprompted if decoders else farther(undecoded, unprompted))
            continue
        if not decoders:
            refused = nearer(refused, undecoded)
        for decode, apart in decoders:
            pair = match(prefill, decode, terms)
            if pair is None:
                fastest = prefill.first_s.min() + terms.tokens_after * decode.first_s.min()
                if fastest > terms.latency_s:
                    refused = nearer(refused, Choice(factor=float(fastest / terms.latency_s), missed="latency"))
            elif best is None or pair.cost < best[0].cost:
                best = pair, space, found, prefill, side, decode, apart
    return refused if best is None else joined(chooser, mode, *best, None, workload, slo)


def nearer(one: Choice, other: Choice) -> Choice:
    """Of two reasons the one that says more: a limit missed by less, then any other than a number of accelerators."""
    if one.missed or other.missed:
        return min((x for x in (one, other) if x.missed), key=lambda x: x.factor)
    return other if one.limit == int(Limit.ACCELERATORS) else one


def farther(one: Choice, other: Choice) -> Choice:
    """Of the reasons why neither pool of a pair is there the one that holds for both: a pair misses by its worse."""
    if not (one.missed and other.missed):
        return other if one.missed else one
    return max((one, other), key=lambda x: x.factor)


def pools_of(
    chooser: Chooser, space: Space, found: dict[str, Any], number: int, system: int, workload: int, slo: int
) -> Pools | None:
    """Pools of a system within the limits that cost little more than the cheapest, one a deployment; None for none.

    Where a unit may not exceed a number of accelerators, all that leave room for another pool.
    """
    from roofline.kernels import reduce as of
    from roofline.kernels.bounds import POOL_SLACK
    from roofline.kernels.candidates import PREFILL_POOL

    mine = space.of_system(system)
    best = found["best"][mine, number, workload, slo]
    cost = best[:, of.F_COST]
    fits = np.isfinite(cost)
    if chooser.most_accelerators is not None:
        fits &= space.group[mine] < chooser.most_accelerators
    if not fits.any():
        return None
    if not chooser.exact:
        fits &= cost <= POOL_SLACK * cost[fits].min()
    kept, best = mine[fits], best[fits]
    first_s = best[:, of.F_TTFT if number == PREFILL_POOL else of.F_TPOT]
    half = half_of(space, system, kept, best[:, of.F_WATTS], chooser.objective.price(space.systems[system]))
    return Pools(best[:, of.F_COST], best[:, of.F_RATE], first_s, kept, (half,))


def half_of(space: Space, system: int, configs: NDArray[np.int64], watts: Floats, price: float) -> Half:
    """The accelerators of replicas of one system that draw `watts` each.   price : as of `Half`."""
    idle_w = float(space.packed.machines[system]["idle_w"])
    return Half(space.facts[system], space.group[configs], watts, idle_w, price)


def terms_of(chooser: Chooser, workload: int, slo: int) -> Terms:
    """How pairs of pools are judged."""
    asked, limits = chooser.question.workloads[workload], chooser.question.slos[slo]
    objective = chooser.objective
    alpha, beta = objective.prices(chooser.space.systems)[0]
    return Terms(
        alpha=float(alpha > 0.0),  # what an accelerator costs on each system is with its pools
        beta=float(beta),
        osl=asked.mean_osl,
        duty=asked.duty,
        boundary=objective.boundary,
        basis=objective.basis,
        vintage=objective.vintage,
        load=(asked.rate or 0.0) if chooser.question.loaded else 0.0,
        latency_s=limits.latency_s,
        tokens_after=chooser.question.steps[workload, 0, 0].osl_at[limits.percentile_of("latency")] - 1.0,
        most_accelerators=chooser.most_accelerators,
    )


def _prompt_sides(chooser: Chooser, system: int) -> list[tuple[Space, dict[str, Any], int]]:
    """Spaces with what was found in them, and their systems that compute prompts for a system."""
    sides = [(chooser.space, chooser.found, system)]
    if chooser.prompts is None:
        return sides
    from roofline.kernels.candidates import PREFILL_POOL

    link = float(chooser.space.links[system])
    if link not in chooser.elsewhere:
        links = np.minimum(chooser.prompts.links, link)  # the hand-over is at the slower side's rate
        chooser.elsewhere[link] = chooser.prompts.search(
            chooser.question,
            chooser.objective,
            [PREFILL_POOL],
            links,
            prune=not chooser.exact,
            parallel=chooser.parallel,
        )
    return sides + [(chooser.prompts, chooser.elsewhere[link], s) for s in range(len(chooser.prompts.systems))]


def joined(
    chooser: Chooser,
    mode: str,
    pair: Pair,
    space: Space,
    found: dict[str, Any],
    prefill: Pools,
    side: int,
    decode: Pools,
    apart: Apart | None,
    decoding: tuple[Floats, NDArray[np.int64]] | None,
    workload: int,
    slo: int,
) -> Choice:
    """A pair of pools in full.

    space, found, side : what the prefill pools are of.   decoding : figures and place of the decode pool where it is
    not the best of its configuration.
    """
    from roofline.kernels import reduce as of
    from roofline.kernels.candidates import PREFILL_POOL
    from roofline.planning.choose import Choice

    first = int(prefill.kept[pair.prefill])
    at = found["at"][first, PREFILL_POOL, workload, slo]
    x, y = pair.prefill_replicas, pair.decode_replicas
    choice = Choice(cost=pair.cost)
    ttft, tpot = float(prefill.first_s[pair.prefill]), float(decode.first_s[pair.decode])
    size = x * int(prefill.group[pair.prefill]) + y * int(decode.group[pair.decode])
    asked, loaded = chooser.question.workloads[workload].rate, chooser.question.loaded
    replicas = np.nan if asked is None else 1.0 if loaded else float(np.ceil(asked / pair.rate))
    latency = ttft + terms_of(chooser, workload, slo).tokens_after * tpot
    chooser.common(choice, workload, ttft, tpot, latency, pair.rate, size, replicas)
    parts = [
        (half.facts, float(half_draw(pools, half, n, count, pair.rate)), int(half.group[n]), count)
        for pools, n, count in ((prefill, pair.prefill, x), (decode, pair.decode, y))
        for half in pools.halves
    ]
    chooser.energy(choice, parts, pair.rate, workload)
    pools = ("prefill_power", "decode_power", "ffn_power")
    choice.figures |= {name: part[1] for name, part in zip(pools, parts, strict=False)}  # none apart, no ffn_power
    figures, texts = _decoding(chooser, int(decode.kept[pair.decode]), apart, decoding, workload, slo)
    choice.figures |= figures
    choice.texts |= texts
    choice.figures["concurrency"] *= y
    degrees = space.degrees(first)
    choice.figures |= {
        "chunk": float(chooser.question.chunks[int(at[of.I_CHUNK])]),
        "prefill_replicas": float(x),
        "decode_replicas": float(y),
        "prefill_batch": float(at[of.I_BATCH] * degrees["dp"]),
        "prefill_load": LOADS[int(at[of.I_LOAD])],
        "prefill_accelerators": float(x * int(prefill.group[pair.prefill])),
    } | {f"prefill_{name}": float(value) for name, value in degrees.items()}
    choice.texts |= {
        "mode": mode,
        **chooser.names(space, first, "prefill_"),
        "prefill_system": axes.label(space.systems[side]),
    }
    return choice


def _decoding(
    chooser: Chooser,
    kept: int,
    apart: Apart | None,
    decoding: tuple[Floats, NDArray[np.int64]] | None,
    workload: int,
    slo: int,
) -> tuple[dict[str, float], dict[str, str]]:
    """Figures and texts of a replica that decodes."""
    from roofline.kernels import reduce as of
    from roofline.kernels.candidates import DECODE_POOL

    if apart is not None:
        return apart.described(kept)
    best, at = decoding or (
        chooser.found["best"][kept, DECODE_POOL, workload, slo],
        chooser.found["at"][kept, DECODE_POOL, workload, slo],
    )
    degrees = chooser.space.degrees(kept)
    figures = {
        "concurrency": float(best[of.F_SEQUENCES]),
        "batch": float(at[of.I_BATCH] * degrees["dp"]),
        "drafts": float(chooser.question.drafts[int(at[of.I_DRAFTS])].count),
        "config": float(kept),
    }
    return figures | {name: float(value) for name, value in degrees.items()}, chooser.names(chooser.space, kept)
