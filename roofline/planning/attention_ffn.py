"""Attention of every layer on one system, its feed-forward on another: section 14 of docs/equations.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.deployments import candidates
from roofline.planning.sides import (
    NO_LAYER,
    NOT_ON_F,
    TIME,
    Side,
    draft_rows,
    experts_of,
    feed_forward_kit,
    feeds,
    halves,
    model_of,
)
from roofline.specs import Model, Recipe, System
from roofline.specs.pack import pack_kit, used_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from roofline.grid.axes import Degrees
    from roofline.specs.model import Layers

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    GivenDeployments = axes.Deployments | Iterable[Mapping[str, int]] | None


@dataclass(frozen=True)
class AttentionFFN:
    """A decode step with attention on system A and feed-forward on system F.

    Arrays are over [deployment_a, deployment_f, micro_batches, batch] where nothing else is said; those that do not
    depend on an axis are views broadcast along it. Where `limit` is not 0, times and watts are NaN.

    step_s : s   one step of all sequences.
    attention_s, feed_forward_s, link_s : s   of it, how long A, F and the busier direction of the link work.
    memory_a, memory_f : B   of the fullest accelerator of each side; NaN where only a deployment is at fault.
    watts_a, watts_f : W   metered draw of one accelerator of each side; NaN also where its TDP is undisclosed.
    limit : int8   layout.Limit, that of A first.
    accelerators_a, accelerators_f : int64[deployment_a], int64[deployment_f].
    labels_a, labels_f : name of each deployment.   deployments_a, deployments_f : their (tp, pp, dp, ep, moe_tp).
    micro_batches, batch : int64   values of those axes.
    """

    step_s: Floats
    attention_s: Floats
    feed_forward_s: Floats
    link_s: Floats
    memory_a: Floats
    memory_f: Floats
    watts_a: Floats
    watts_f: Floats
    limit: NDArray[np.int8]
    accelerators_a: Ints
    accelerators_f: Ints
    labels_a: tuple[str, ...]
    labels_f: tuple[str, ...]
    deployments_a: tuple[Degrees, ...]
    deployments_f: tuple[Degrees, ...]
    micro_batches: Ints
    batch: Ints


def attention_ffn(
    model: axes.SheetLike,
    system_a: axes.SheetLike,
    system_f: axes.SheetLike,
    recipe_a: axes.SheetLike,
    recipe_f: axes.SheetLike | None = None,
    *,
    deployments_a: GivenDeployments = None,
    deployments_f: GivenDeployments = None,
    batch: axes.Counts,
    contexts: int | Iterable[int],
    reserved: int | None = None,
    micro_batches: axes.Counts = (1, 2, 3, 4),
    drafts: int = 0,
    fidelity: Literal["kernel"] = "kernel",
) -> AttentionFFN:
    """Decode steps of one attention replica on A joined with one feed-forward group on F, for every pair of both.

    model, system_a, system_f, recipe_a, recipe_f : names, paths, mappings or sheets; recipe_f defaults to recipe_a.
    deployments_a : default `grid.deployments.candidates` without pipelines.   deployments_f : default `groups_of` the
        sizes of F whose memory holds the weights.
    batch : sequences on A.   micro_batches : that they go round in.
    contexts : tokens, new ones included; the sequences of a batch are equally spread over them.
    reserved : tokens of a sequence that A's memory must hold; default the longest context.
    drafts : tokens drafted a sequence by the model's modules and checked in the same step.
    fidelity : `kernel`; a bound of layers cut in two would not be one.

    Equations (26) to (29) of docs/equations.md.
    Raises `InputError` for unknown names, values out of range, a pipeline, experts spread on A, a system without
    scale-out, and a model without attention or without feed-forwards.
    """
    if fidelity != "kernel":
        raise InputError(f"fidelity {fidelity!r}: attention and feed-forward are set apart in 'kernel' alone")
    whole = Model.load(model)
    a, f = System.load(system_a), System.load(system_f)
    for name, system in (("system_a", a), ("system_f", f)):
        if system.scale_out is None:
            raise InputError(f"{name}: {axes.label(system)} has no scale_out, over which the sides would be linked")
    formats_a = Recipe.load(recipe_a)
    formats_f = formats_a if recipe_f is None else Recipe.load(recipe_f)
    drafted = axes.count("drafts", drafts, least=0)
    sizes, rounds = axes.counts("batch", batch), axes.counts("micro_batches", micro_batches)
    lengths = _contexts(contexts, drafted + 1)
    held = int(lengths.max()) if reserved is None else axes.count("reserved", reserved)
    if held < lengths.max():
        raise InputError(f"reserved: {held} is less than the longest context, {int(lengths.max())}")
    model_a, model_f = halves(whole)
    routed = {"router"} if whole.is_moe or experts_of(draft_rows(whole)) else set()
    kit_a = pack_kit(formats_a, a.accelerator, fidelity, used_parts(model_a) | routed).record
    kit_f = pack_kit(formats_f, f.accelerator, fidelity, used_parts(model_f) - set(NOT_ON_F)).record
    side_a = Side(a, kit_a, _rows("deployments_a", deployments_a) or _replicas_of(whole, a))
    rows_f = _rows("deployments_f", deployments_f)
    side_f = Side(f, None if kit_f is None else feed_forward_kit(kit_f), rows_f or groups_of(whole, f))
    if rows_f is None:
        side_f = side_f.holding(model_f, drafted)
    return _Pair(model_a, model_f, side_a, side_f, drafted).steps(sizes, rounds, lengths, held)


def groups_of(model: Model, system: System) -> tuple[Degrees, ...]:
    """Groups of a system that can run a model's feed-forward: powers of two within one system, then whole systems.

    tp by powers of two within a scale-up domain, the rest dp; experts spread over as many accelerators as divide them
    and sliced over the others, or all sliced. A feed-forward without experts is tensor-parallel over the whole group.
    """
    sizes = [1 << n for n in range(system.accelerators.bit_length()) if 1 << n < system.accelerators]
    sizes += [system.accelerators * n for n in range(1, system.max_systems + 1)]
    experts = math.gcd(*experts_of((*model.layers, *draft_rows(model))))
    if not experts:
        return tuple((size, 1, 1, 1, size) for size in sizes)
    rows: list[Degrees] = []
    for size in sizes:
        tp = 1
        while size % tp == 0 and tp <= system.scale_up.domain:
            rows += [(tp, 1, size // tp, ep, size // ep) for ep in dict.fromkeys((math.gcd(experts, size), 1))]
            tp *= 2
    return tuple(rows)


def _replicas_of(model: Model, system: System) -> tuple[Degrees, ...]:
    rows = candidates(model, system).rows
    return tuple(dict.fromkeys((tp, 1, dp, 1, tp * dp) for tp, pp, dp, _, _ in rows if pp == 1))


def _rows(name: str, given: GivenDeployments) -> tuple[Degrees, ...] | None:
    if given is None:
        return None
    rows = given.rows if isinstance(given, axes.Deployments) else axes.deployments(rows=given).rows
    for index, (_, pp, _, ep, _) in enumerate(rows):
        if pp > 1:
            raise InputError(f"{name}[{index}]: pp = {pp}; layers go round between two systems: give pp = 1")
        if ep > 1 and name == "deployments_a":
            raise InputError(f"{name}[{index}]: ep = {ep}; no experts are on the attention side: give ep = 1")
    return rows


def _contexts(given: int | Iterable[int], least: int) -> Ints:
    """Lengths, repeated ones kept: they are nodes of equal weight."""
    items = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not items:
        raise InputError("contexts: no values; give at least one")
    lengths = np.array([axes.count("contexts", value) for value in items], dtype=np.int64)
    if lengths.min() < least:
        raise InputError(f"contexts: {int(lengths.min())} is less than the {least} new tokens it includes")
    return lengths


@dataclass(frozen=True)
class _Pair:
    """A model cut in two, and the two sides it runs on."""

    model_a: Model
    model_f: Model
    side_a: Side
    side_f: Side
    drafts: int

    def steps(self, batch: Ints, rounds: Ints, contexts: Ints, reserved: int) -> AttentionFFN:
        """The whole grid: `attention_ffn` with everything checked.   rounds : micro-batches."""
        side_a, side_f, new = self.side_a, self.side_f, 1 + self.drafts
        flights = np.minimum(rounds[:, None], batch)
        sizes, at = np.unique(-(-batch // flights), return_inverse=True)
        at = at.reshape(flights.shape)
        memory_a, limit_a = side_a.memory(self.model_a, batch, reserved, new, self.drafts, self._router_bytes())
        memory_f, limit_f = side_f.memory(self.model_f, sizes, new, new, self.drafts)
        ends = model_of(self.model_a, NO_LAYER, drafting=self.drafts > 0)
        load_a = np.repeat(side_a.loads([ends], batch, contexts[:1], new, self.drafts)[:, 0, :, None], rounds.size, 2)
        load_f = np.zeros((3, len(side_f.rows), *flights.shape))
        step = np.repeat(load_a[TIME, :, None], len(side_f.rows), 1)
        link = np.zeros_like(step)
        for times, rows_a, rows_f, tokens in self._passes():
            a = self._attention_loads(rows_a, rows_f, sizes, contexts, tokens)
            f = side_f.layers(rows_f, self.model_f, sizes, np.array([tokens]), tokens)
            fill = np.zeros_like(step)
            for kind, (row_a, row_f) in enumerate(zip(rows_a, rows_f, strict=True)):
                one_a, one_f, count = a[:, kind][..., at], f[:, kind][..., at], times * row_a.count
                out, back = self._link(row_a, row_f, sizes[at], tokens)
                t_a, t_f = one_a[TIME, :, None], one_f[TIME, None]
                most = np.maximum(np.maximum(t_a, t_f), np.maximum(out, back))
                round_trip = t_a + t_f + out + back
                step += count * np.maximum(flights * most, round_trip)
                fill = np.maximum(fill, np.minimum(round_trip - most, (flights - 1) * most))
                load_a += count * flights * one_a
                load_f += count * flights * one_f
                link += count * flights * np.maximum(out, back)
            step += times * fill
        limit = np.where(limit_a[:, None, None] != 0, limit_a[:, None, None], limit_f[:, at])

        def where_it_runs(values: Floats) -> Floats:
            return np.where(limit == 0, values, np.nan)

        busy_a, busy_f = load_a[:, :, None], load_f[:, None]
        return AttentionFFN(
            step_s=where_it_runs(step),
            attention_s=where_it_runs(busy_a[TIME]),
            feed_forward_s=where_it_runs(busy_f[TIME]),
            link_s=where_it_runs(link),
            memory_a=np.broadcast_to(memory_a[:, None, None], limit.shape),
            memory_f=np.broadcast_to(memory_f[:, at], limit.shape),
            watts_a=where_it_runs(side_a.watts(busy_a, step)),
            watts_f=where_it_runs(side_f.watts(busy_f, step)),
            limit=limit.astype(np.int8),
            accelerators_a=side_a.accelerators,
            accelerators_f=side_f.accelerators,
            labels_a=tuple(axes.deployment_label(row) for row in side_a.rows),
            labels_f=tuple(axes.deployment_label(row) for row in side_f.rows),
            deployments_a=side_a.rows,
            deployments_f=side_f.rows,
            micro_batches=rounds,
            batch=batch,
        )

    def _passes(self) -> Iterator[tuple[int, tuple[Layers, ...], tuple[Layers, ...], int]]:
        """(how often a step has it, its layers on A, on F, new tokens of a sequence): the check, then a draft."""
        yield 1, self.model_a.layers, self.model_f.layers, 1 + self.drafts
        if self.drafts:
            yield self.drafts, draft_rows(self.model_a), draft_rows(self.model_f), 1

    def _attention_loads(
        self, rows_a: Sequence[Layers], rows_f: Sequence[Layers], sizes: Ints, contexts: Ints, new: int
    ) -> Floats:
        """Loads on A of one layer of each kind, its router included: [3, row, deployment, size]."""
        loads = self.side_a.layers(rows_a, self.model_a, sizes, contexts, new)
        ranks = -(-sizes // self.side_a.dp[:, None]) * new
        for kind, row in enumerate(rows_f):
            if row.experts:
                loads[:, kind] += self.side_a.gemm("router", ranks, self.model_a.hidden, row.experts.count)
        return loads

    def _router_bytes(self) -> float:
        """Weights of the routers, which every rank of A holds [B]."""
        modules = self.model_f.mtp.modules if self.model_f.mtp and self.drafts else 0
        experts = sum(row.count * row.experts.count for row in self.model_f.layers if row.experts)
        experts += modules * sum(row.count * row.experts.count for row in draft_rows(self.model_f) if row.experts)
        kit = self.side_a.kit
        return 0.0 if kit is None else float(experts * self.model_a.hidden * kit["router"]["w_weight"])

    def _link(self, row_a: Layers, row_f: Layers, sizes: Ints, new: int) -> tuple[Floats, Floats]:
        """Time of a micro-batch of `sizes` from A to F, and back [s]: [deployment_a, deployment_f, *sizes.shape]."""
        a, f = self.side_a, self.side_f
        if not feeds(row_f):
            return np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1, 1))
        if f.kit is None:
            return np.full((1, 1, 1, 1), np.nan), np.full((1, 1, 1, 1), np.nan)
        all_a, all_f = (-(-sizes // side.dp[:, None, None]) * new for side in (a, f))
        share_a, share_f = all_a / a.tp[:, None, None], all_f / f.tp[:, None, None]
        latency = max(a.out_latency(), f.out_latency())

        def over(width: float, rows_a: Floats) -> Floats:
            size = self.model_a.hidden * width
            slower = np.maximum(size * rows_a[:, None] / a.out_rate(), size * share_f[None] / f.out_rate())
            time: Floats = latency + slower
            return time

        # The all-reduce after attention is counted whole; its second half gathers what comes back from F.
        returned = share_a if row_a.attention else all_a.astype(np.float64)
        return over(float(f.kit["w_dispatch"]), share_a), over(float(f.kit["w_combine"]), returned)
