"""Which deployments are worth trying for a model on a system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roofline.grid.axes import Deployments, count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from roofline.grid.axes import Degrees
    from roofline.specs import Model, System

MOST_STAGES = 8
MOST_GROUP = 128
"""Accelerators of the largest replica that a search tries by itself."""


def candidates(model: Model, system: System, most_accelerators: int | None = None) -> Deployments:
    """Deployments by powers of two that can be legal, in order of the accelerators they take.

    tp within a scale-up domain; pp up to 8 stages; dp only with experts, which it spreads (for a dense model dp is
    the same as more replicas); the experts of a stage either whole on their ranks (ep = tp*dp) or sliced over all of
    them (ep = 1).
    most_accelerators : largest replica; default what the system can join.
    Raises `InputError` where that is not a positive whole number.
    """
    reach = system.accelerators * system.max_systems
    if most_accelerators is not None:
        reach = min(reach, count("most_accelerators", most_accelerators))
    return Deployments(tuple(_degrees(model, system, reach)))


def _degrees(model: Model, system: System, reach: int) -> Iterator[Degrees]:
    for group in _powers(reach):
        for tp in _powers(min(group, system.scale_up.domain)):
            for pp in _powers(min(group // tp, MOST_STAGES)):
                dp = group // (tp * pp)
                if not model.is_moe:
                    if dp == 1:
                        yield tp, pp, 1, 1, tp
                    continue
                stage = tp * dp
                for ep in dict.fromkeys((stage, 1)):
                    yield tp, pp, dp, ep, stage // ep


def every_shape(model: Model, system: System) -> Deployments:
    """All that can be legal of replicas that hold a model in few accelerators, in order of the accelerators they take.

    tp: every degree that the heads allow, within a scale-up domain; pp: every number of stages that leaves none of
    them short, up to one layer a stage; dp, with experts only, by powers of two, experts whole or sliced.
    """
    reach = system.accelerators * system.max_systems
    degrees = [tp for tp in range(1, min(reach, system.scale_up.domain) + 1) if _splits(model, tp)]
    layers = model.layer_count
    stages = sorted({-(-layers // per_stage) for per_stage in range(1, layers + 1)})
    rows: list[Degrees] = []
    for tp in degrees:
        for pp in stages:
            for dp in _powers(reach // (tp * pp)) if model.is_moe else [1] * (tp * pp <= reach):
                rows += (
                    [(tp, pp, dp, ep, tp * dp // ep) for ep in dict.fromkeys((tp * dp, 1))]
                    if model.is_moe
                    else [(tp, pp, 1, 1, tp)]
                )
    return Deployments(tuple(sorted(rows, key=lambda row: (row[0] * row[1] * row[2], row[1]))))


def every_deployment(model: Model, system: System, most_accelerators: int | None = None) -> Deployments:
    """All ways to lay a replica out over its accelerators, legal or not, fewest accelerators first.

    All degrees are powers of two, up to `most_accelerators` in a replica (default what the system can join, MOST_GROUP
    at most): every tp in a domain, up to 8 stages, dp the rest; every ep that divides a stage, each expert sliced over
    what is left (moe_tp). dp only with experts, which it spreads: for a dense model it is the same as more replicas.
    What a kernel refuses of them it says why (`layout.Limit`).
    Raises `InputError` where most_accelerators is not a positive whole number.
    """
    reach = min(system.accelerators * system.max_systems, MOST_GROUP)
    if most_accelerators is not None:
        reach = min(reach, count("most_accelerators", most_accelerators))
    rows: list[Degrees] = []
    for group in _powers(reach):
        for tp in _powers(min(group, system.scale_up.domain)):
            for pp in _powers(min(group // tp, MOST_STAGES)):
                dp = group // (tp * pp)
                if not model.is_moe:
                    rows += [(tp, pp, 1, 1, tp)] if dp == 1 else []
                    continue
                rows += [(tp, pp, dp, ep, tp * dp // ep) for ep in reversed(_powers(tp * dp))]
    return Deployments(tuple(rows))


def _splits(model: Model, tp: int) -> bool:
    """Whether the heads of every layer divide over tp."""
    for row in model.layers:
        if row.attention is None:
            continue
        heads, kv_heads = row.attention.head_counts
        if heads % tp or (kv_heads % tp and tp % kv_heads):
            return False
    return True


def _powers(most: int) -> list[int]:
    return [1 << n for n in range(most.bit_length()) if 1 << n <= most]
