"""Section 12: a step of continuous batching in which one micro-batch carries a chunk of a prompt on each rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roofline.layout import Attention, Component, Limit
from tests.oracle.attention import (
    gqa_operations,
    indexer_operations,
    mla_absorbed,
    mla_projections,
    mla_unabsorbed,
)
from tests.oracle.collectives import layer_collectives
from tests.oracle.feedforward import feedforward_operations
from tests.oracle.limits import deployment_limit, memory_of, row_cache_bytes, work_bytes
from tests.oracle.linear import linear_operations
from tests.oracle.operations import Operation, Shape, Tally, Transfer, ceil_div, in_series, shape_of, tied
from tests.oracle.steps import Pass, decode, embedding, lm_head, one_pass

Plain = dict[str, Any]


@dataclass(frozen=True)
class MixedShape(Shape):
    """The decoding sequences of a micro-batch, and `chunk` rows of a prompt beside them on each attention rank."""

    chunk: int = 0  # q

    @property
    def rows(self) -> int:  # M
        return super().rows + self.chunk

    @property
    def expert_tokens(self) -> int:  # T
        return super().expert_tokens + self.dp * self.chunk


def beside(shape: Shape, chunk: int, prefill: bool) -> MixedShape:
    """A decode pass with `chunk` rows more a rank; `prefill` says whose exchange and collectives it goes through."""
    degrees = {name: getattr(shape, name) for name in ("tp", "pp", "dp", "ep", "moe_tp")}
    return MixedShape(shape.batch, shape.new_tokens, shape.context, prefill, **degrees, chunk=chunk)


def shared_by_all_rows(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Projections of attention: those of the indexer too."""
    if row["attention"] == Attention.NONE:
        return []
    if row["attention"] == Attention.MLA:
        listed = mla_projections(model, row, kit, machine, shape)
    elif row["attention"] == Attention.GQA:
        listed = gqa_operations(model, row, kit, machine, shape)
    else:
        listed = linear_operations(model, row, kit, machine, shape)
    if row["attention"] != Attention.LINEAR:
        listed = listed + indexer_operations(model, row, kit, machine, shape)
    return [op for op in listed if op.component == Component.ATTENTION_PROJECTION]


def of_own_sequences(
    model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape
) -> tuple[list[Operation], bool]:
    """Core or scan, index and top k of one kind of sequences; whether the forms of MLA cost nearly the same."""
    if row["attention"] == Attention.NONE:
        return [], False
    if row["attention"] == Attention.LINEAR:
        scan = linear_operations(model, row, kit, machine, shape)
        return [op for op in scan if op.component == Component.ATTENTION_CORE], False
    indexing = indexer_operations(model, row, kit, machine, shape)
    chosen, close = [], False
    if row["attention"] == Attention.GQA:
        chosen = gqa_operations(model, row, kit, machine, shape)
    else:
        chosen, unabsorbed = (form(row, kit, machine, shape) for form in (mla_absorbed, mla_unabsorbed))
        times = [sum(op.time for op in form) for form in (chosen, unabsorbed)]
        close = tied(times[0], times[1])
        if times[1] < times[0]:
            chosen = unabsorbed
    return [op for op in chosen + indexing if op.component == Component.ATTENTION_CORE], close


def mixed_layer(
    model: Plain, row: Plain, kit: Plain, machine: Plain, with_chunk: Shape, decoding: Shape, prompt: Shape
) -> Tally:
    """One layer of the micro-batch that carries the chunks, as its fullest rank does it."""
    operations = shared_by_all_rows(model, row, kit, machine, with_chunk)
    near = 0
    for sequences in (decoding, prompt):
        own, close = of_own_sequences(model, row, kit, machine, sequences)
        operations += own
        near += close
    operations += feedforward_operations(model, row, kit, machine, with_chunk)
    tally = in_series(operations, layer_collectives(model, row, kit, machine, with_chunk))
    tally.ties = near  # only these move C and D
    return tally


def mixed_pass(
    model: Plain, kit: Plain, machine: Plain, deployment: Plain, cell: tuple[int, int, int], chunk: int, length: int
) -> Pass:
    """X with the chunks, without its hand-overs. cell : (B, L, Q).   length : l."""
    batch, context, new_tokens = cell
    decoding = shape_of(deployment, batch, new_tokens, context, False)
    prompt = shape_of(deployment, 1, chunk, length, True)
    with_chunk = beside(decoding, chunk, prefill=True)
    body = Tally()
    for row in model["rows"]:
        body.add(mixed_layer(model, row, kit, machine, with_chunk, decoding, prompt), row["count"])
    product, gathers = lm_head(model, kit, machine, beside(decoding, 1, prefill=False))
    look_up = embedding(model, kit, machine, with_chunk)
    nothing = Transfer("hand-over", 0.0, 0.0, Component.PIPELINE)
    return Pass(in_series([look_up], []), body, in_series([product], gathers), nothing, [])


def mixed_memory(
    model: Plain,
    machine: Plain,
    kit: Plain,
    deployment: Plain,
    cell: tuple[int, int, int],
    chunk: int,
    length: int,
) -> Plain:
    """Bytes of the fullest rank: the decode step's, one sequence more, and activations of both."""
    batch, context, new_tokens = cell
    held = memory_of(model, machine, kit, deployment, batch, new_tokens, context, False)
    decoding = shape_of(deployment, batch, new_tokens, context, False)
    stage = ceil_div(model["layers"], decoding.pp) / model["layers"]
    prompt = stage * sum(row["count"] * row_cache_bytes(row, kit, decoding, length) for row in model["rows"])
    hidden = work_bytes(model, kit | {"w_logit": 0.0}, beside(decoding, chunk, prefill=True))
    logits = kit["w_logit"] * (decoding.rows + 1) * ceil_div(model["vocab"], decoding.tp)
    total = held["weights"] + held["cache"] + prompt + hidden + logits
    fits = total + machine["reserve_bytes"] <= machine["memory_bytes"] * machine["memory_fraction"]
    return {"cache": held["cache"] + prompt, "work": hidden + logits, "total": total, "fits": bool(fits)}


def mixed(
    model: Plain,
    machine: Plain,
    kit: Plain | None,
    deployment: Plain,
    batch: int,
    context: int,
    new_tokens: int,
    chunk: int,
    chunk_context: int,
) -> Plain:
    """One mixed step, equation (19). Only `limit`, and `memory` where there is one, where the cell cannot run.

    C, D : seconds at dense peak and bytes that power is of, of the micro-batch that carries the chunks.
    decode_step : t_dec.
    ties : choices between MLA forms that cost the same to rounding, so that C and D may be those of the other.
    ValueError where the kit is of fidelity `ideal`.
    """
    if kit is not None and kit["bound"]:
        raise ValueError("a mixed step is defined where operations are in series")
    limit = deployment_limit(model, machine, kit, deployment, max(context, chunk_context))
    if kit is None or limit not in (Limit.NONE, Limit.CONTEXT):
        return {"limit": limit, "memory": None}
    cell = batch, context, new_tokens
    memory = mixed_memory(model, machine, kit, deployment, cell, chunk, chunk_context)
    if limit == Limit.NONE and not memory["fits"]:
        limit = Limit.MEMORY
    if limit:
        return {"limit": limit, "memory": memory["total"]}
    roomy = machine | {"memory_bytes": float("inf")}  # what fits with the chunk fits without it, but for rounding
    alone = decode(model, roomy, kit, deployment, batch, context, new_tokens)
    without = one_pass(model, kit, machine, shape_of(deployment, batch, new_tokens, context, False), with_head=True)
    carrying = mixed_pass(model, kit, machine, deployment, cell, chunk, chunk_context)
    layers, pp = model["layers"], deployment["pp"]
    more = carrying.slowest(layers, pp, "time") - without.slowest(layers, pp, "time")
    whole = carrying.whole()
    return {
        "limit": Limit.NONE,
        "step": alone["step"] + max(0.0, more),
        "decode_step": alone["step"],
        "C": whole.drawn_compute,
        "D": whole.drawn_moved,
        "memory": memory["total"],
        "ties": whole.ties,
    }
