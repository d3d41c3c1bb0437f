"""Decode pools with attention on one system and feed-forwards on another, as candidates of a plan: section 14."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.layout import Limit
from roofline.planning.attention_ffn import AttentionFFN, attention_ffn
from roofline.planning.match import Half, Pools, Terms
from roofline.planning.question import batch_grid
from roofline.rack.best import native_recipes, nearest_reason
from roofline.rack.energy import PowerFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from roofline.planning.choose import Choice, Chooser
    from roofline.specs import Recipe, System

    Floats = NDArray[np.float64]

MOST_BATCH = 16384
"""Sequences of one attention replica, all of its ranks."""


@dataclass(frozen=True)
class Apart:
    """Decode steps of one recipe and number of drafts with its feed-forwards on a system."""

    system: System
    recipe: Recipe
    drafts: int
    steps: AttentionFFN

    def described(self, place: int) -> tuple[dict[str, float], dict[str, str]]:
        """Figures and texts of one candidate, by its flat index."""
        a, f, m, b = np.unravel_index(place, self.steps.step_s.shape)
        tp, pp, dp, ep, moe_tp = self.steps.deployments_a[a]
        figures = {
            "concurrency": float(self.steps.batch[b]),
            "batch": float(self.steps.batch[b]),
            "drafts": float(self.drafts),
            "micro_batches": float(self.steps.micro_batches[m]),
            "ffn_accelerators": float(self.steps.accelerators_f[f]),
            "memory": float(self.steps.memory_a[a, f, m, b]),
            "tp": float(tp),
            "pp": float(pp),
            "dp": float(dp),
            "ep": float(ep),
            "moe_tp": float(moe_tp),
        }
        texts = {
            "recipe": axes.label(self.recipe),
            "deployment": self.steps.labels_a[a],
            "ffn_system": axes.label(self.system),
            "ffn_deployment": self.steps.labels_f[f],
        }
        return figures, texts


def decode_apart(
    chooser: Chooser, system: int, workload: int, slo: int, terms: Terms
) -> Iterator[tuple[Pools, Apart] | Choice]:
    """Pools whose attention is on a system of the space, for every system that may take the feed-forwards.

    Or why there are none with one of them.
    """
    from roofline.planning.choose import Choice

    if not chooser.feed_forward:
        raise InputError("attention_ffn: give ffn_systems, the systems that run the feed-forwards, e.g. groq3-lpx")
    limits, asked = chooser.question.slos[slo], chooser.question.workloads[workload]
    attention = chooser.space.systems[system]
    for other in chooser.feed_forward:
        for apart in _steps(chooser, attention, other, workload):
            table = chooser.question.steps[workload, 0, apart.drafts]
            steps, stack = apart.steps, chooser.question.stack
            ranks = np.array([row[2] for row in steps.deployments_a])[:, None, None, None]
            own_s = stack.step_s + stack.sequence_s * np.ceil(steps.batch / ranks)
            step_s = steps.step_s + own_s
            tpot = table.kappa * step_s
            rate = steps.batch / (table.steps * step_s)
            group_a = np.broadcast_to(steps.accelerators_a[:, None, None, None], step_s.shape)
            group_f = np.broadcast_to(steps.accelerators_f[None, :, None, None], step_s.shape)
            halves = tuple(
                Half(
                    PowerFacts.of(one),
                    group.ravel(),
                    ((watts * steps.step_s + idle_w * own_s) / step_s).ravel(),
                    idle_w,
                    chooser.objective.price(one),
                )
                for one, group, watts, idle_w in (
                    (attention, group_a, steps.watts_a, _idle(attention)),
                    (other, group_f, steps.watts_f, _idle(other)),
                )
            )
            cost = _cost(halves, rate.ravel(), terms, asked.mean_osl)
            runs = (steps.limit == 0).ravel()
            late = tpot.ravel() / limits.tpot_s
            late = np.maximum(late, terms.tokens_after * tpot.ravel() / limits.latency_s)
            fits = runs & (late <= 1.0) & np.isfinite(cost)
            if not fits.any():
                yield _why(Choice, runs, late, cost, steps, any(half.facts.limited for half in halves))
                continue
            kept = _best_each(cost, fits, steps.step_s.shape)
            pools = Pools(
                cost[kept],
                rate.ravel()[kept],
                tpot.ravel()[kept],
                kept,
                tuple(Half(h.facts, h.group[kept], h.watts[kept], h.idle_w, h.price) for h in halves),
            )
            yield pools, apart


def _steps(chooser: Chooser, attention: System, other: System, workload: int) -> list[Apart]:
    """Steps in every recipe that the attention side computes and every number of drafts the model can make."""
    key = (id(attention), id(other), workload)
    if key not in chooser.apart:
        space, question = chooser.space, chooser.question
        asked = question.workloads[workload]
        contexts = [int(length) for length in question.contexts(asked)]
        reserved = max(round(asked.mean_isl + asked.mean_osl), *contexts)
        found = []
        for recipe in native_recipes(space.model, attention):
            for n, drafts in enumerate(question.drafts):
                if drafts.count and space.model.mtp is None:
                    continue
                steps = attention_ffn(
                    space.model, attention, other, recipe, batch=batch_grid(MOST_BATCH), contexts=contexts,
                    reserved=reserved, drafts=drafts.count,
                )  # fmt: skip
                found.append(Apart(other, recipe, n, steps))
        chooser.apart[key] = found
    known: list[Apart] = chooser.apart[key]
    return known


def _idle(system: System) -> float:
    power = system.accelerator.power
    return np.nan if power.tdp_w is None or power.idle_w is None else power.idle_w


def _cost(halves: tuple[Half, ...], rate: Floats, terms: Terms, osl: float) -> Floats:
    """Cost of an output token (25), float64[n]."""
    size = np.sum([half.group for half in halves], axis=0)
    if terms.load > 0.0:
        from roofline.kernels.reduce import TIE_SHARE

        found: Floats = size * (np.ceil(terms.load / rate) + TIE_SHARE * terms.load / rate)
        return found
    cost: Floats = terms.alpha * np.sum([half.price * half.group for half in halves], axis=0) / (rate * osl)
    if terms.beta:
        for half in halves:
            placed = half.facts.placed(half.watts, half.group, terms.boundary, terms.basis, terms.vintage)  # type: ignore[arg-type]
            mean = terms.duty * placed.busy_w + (1.0 - terms.duty) * placed.idle_w
            cost = cost + terms.beta * mean * half.group / placed.used / (terms.duty * rate * osl)
    return cost


def _best_each(cost: Floats, fits: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Flat index of the cheapest candidate of each pair of deployments that has one."""
    pairs = shape[0] * shape[1]
    table = np.where(fits, cost, np.inf).reshape(pairs, -1)
    at = np.argmin(table, axis=1)
    has = np.isfinite(table[np.arange(pairs), at])
    found: NDArray[np.int64] = (np.arange(pairs) * table.shape[1] + at)[has]
    return found


def _why(make: Any, runs: NDArray[np.bool_], late: Floats, cost: Floats, steps: AttentionFFN, limited: bool) -> Choice:
    """Why nothing is a candidate: a limit missed, undisclosed watts or too few, or what a kernel says."""
    if not runs.any():
        limits = steps.limit.reshape(-1, 1)
        return make(limit=int(nearest_reason(limits)[0]) if limits.size else int(Limit.MEMORY))  # type: ignore[no-any-return]
    if not np.isfinite(cost[runs]).any():
        return make(limit=int(Limit.RACK if limited else Limit.POWER))  # type: ignore[no-any-return]
    return make(factor=float(late[runs].min()), missed="tpot")  # type: ignore[no-any-return]
