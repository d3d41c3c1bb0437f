"""Section 14: attention of every layer on one system, its feed-forward on another; one cell at a time.

A model is as elsewhere, but each of its rows says apart what of `other_params` its attention side holds (`other_a`) and
what its feed-forward side holds (`other_f`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roofline.layout import Attention, Component, Limit
from tests.oracle.collectives import layer_collectives, out_rate
from tests.oracle.feedforward import feedforward_operations
from tests.oracle.limits import deployment_limit, memory_of, row_weight_bytes, work_bytes
from tests.oracle.operations import Shape, Tally, ceil_div, gemm, in_series, shape_of
from tests.oracle.steps import draft_pass, draw, embedding, layer, lm_head

Plain = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """A machine with a kit and a deployment."""

    machine: Plain
    kit: Plain
    deployment: Plain


def on_a(row: Plain) -> Plain:
    """What A runs of a layer but its router: attention, and every norm."""
    return row | {"ffn_inner": 0, "experts": 0, "shared_inner": 0, "other_params": row["other_a"]}


def on_f(row: Plain) -> Plain:
    """What F runs of a layer, and its router."""
    return row | {"attention": int(Attention.NONE), "norms": 0, "index_heads": 0, "other_params": row["other_f"]}


def half(model: Plain, side: Any) -> Plain:
    return model | {name: [side(row) for row in model[name]] for name in ("rows", "draft_rows")}


def attention_side(model: Plain, row: Plain, side: Side, shape: Shape) -> Tally:
    """One layer on A, its router after the attention."""
    tally, _, _ = layer(model, on_a(row), side.kit, side.machine, shape)
    if row["experts"]:
        width = model["hidden"], row["experts"]
        router = gemm("router", "router", Component.EXPERTS, side.kit, side.machine, shape.rows, *width)
        tally.add(in_series([router], []))
    return tally


def feed_forward_side(model: Plain, row: Plain, side: Side, shape: Shape) -> Tally:
    """One layer on F."""
    operations = feedforward_operations(model, on_f(row), side.kit, side.machine, shape)
    transfers = layer_collectives(model, on_f(row), side.kit, side.machine, shape)
    return in_series([op for op in operations if op.name != "router"], transfers)


def link(model: Plain, row: Plain, a: Side, f: Side, shapes: tuple[Shape, Shape]) -> tuple[float, float]:
    """Equation (26): time from A to F and back."""
    if not row["ffn_inner"] and not row["experts"]:
        return 0.0, 0.0
    fixed = max(side.machine["out_s"] + side.machine["out_hop_s"] for side in (a, f))
    of_a, of_f = shapes
    at_f = of_f.rows / of_f.tp
    sent = of_a.rows / of_a.tp
    returned = sent if row["attention"] != Attention.NONE else of_a.rows

    def over(at_a: float, width: float) -> float:
        size = model["hidden"] * width
        return float(fixed + max(size * at_a / out_rate(a.machine), size * at_f / out_rate(f.machine)))

    return over(sent, f.kit["w_dispatch"]), over(returned, f.kit["w_combine"])


def memory_on_a(model: Plain, side: Side, batch: int, new_tokens: int, reserved: int, drafts: int) -> float:
    """Equation (17) of the attention half, and the routers."""
    mine = half(model, on_a)
    held = memory_of(mine, side.machine, side.kit, side.deployment, batch, new_tokens, reserved, False, drafts)
    routers = sum(row["count"] * row["experts"] for row in model["rows"])
    if drafts:
        routers += model["draft_modules"] * sum(row["count"] * row["experts"] for row in model["draft_rows"])
    return float(held["total"] + routers * model["hidden"] * side.kit["router"]["w_weight"])


def memory_on_f(model: Plain, side: Side, shape: Shape, drafts: int) -> float:
    """Weights of the feed-forward half without routers, and the activations of one micro-batch."""
    mine, kit = half(model, on_f), side.kit | {"router": side.kit["router"] | {"w_weight": 0.0}, "w_logit": 0.0}
    weights = sum(row["count"] * row_weight_bytes(mine, row, kit, shape) for row in mine["rows"])
    if drafts:
        module = sum(row["count"] * row_weight_bytes(mine, row, kit, shape) for row in mine["draft_rows"])
        weights += model["draft_modules"] * module
    return float(weights + work_bytes(mine, kit, shape))


def fits(side: Side, memory: float) -> bool:
    machine = side.machine
    return bool(memory + machine["reserve_bytes"] <= machine["memory_bytes"] * machine["memory_fraction"])


@dataclass
class Step:
    """Seconds of a step so far, and what each side did in it."""

    time: float
    a: Tally
    f: Tally
    link: float = 0.0


def go_round(
    step: Step, times: int, model: Plain, rows: list[Plain], a: Side, f: Side, cell: tuple[int, int, int, list[int]]
) -> None:
    """Add `times` passes through `rows`: equations (27) and (28).   cell : (m, Bm, new tokens, contexts)."""
    m, together, new_tokens, contexts = cell
    of_f = shape_of(f.deployment, together, new_tokens, new_tokens, False)
    fill = 0.0
    for row in rows:
        mine = Tally()
        for context in contexts:
            of_a = shape_of(a.deployment, together, new_tokens, context, False)
            mine.add(attention_side(model, row, a, of_a), 1 / len(contexts))
        theirs = feed_forward_side(model, row, f, of_f)
        out, back = link(model, row, a, f, (of_a, of_f))
        stages = [mine.time, theirs.time, out, back]
        step.time += times * row["count"] * max(m * max(stages), sum(stages))
        fill = max(fill, min(sum(stages) - max(stages), (m - 1) * max(stages)))
        step.a.add(mine, times * row["count"] * m)
        step.f.add(theirs, times * row["count"] * m)
        step.link += times * row["count"] * m * max(out, back)
    step.time += times * fill


def ends_of(model: Plain, side: Side, shape: Shape, drafts: int) -> Tally:
    """Embedding and lm_head of the whole batch, and those of each draft."""
    product, gathers = lm_head(model, side.kit, side.machine, shape)
    total = in_series([embedding(model, side.kit, side.machine, shape), product], gathers)
    if drafts:
        one, _ = draft_pass(model | {"draft_rows": []}, side.kit, side.machine, shape, drafts)
        total.add(one, drafts)
    return total


def attention_ffn(
    model: Plain, a: Side, f: Side, batch: int, micro_batches: int, contexts: list[int], reserved: int, drafts: int = 0
) -> Plain:
    """One step, section 14; `memory_a`, `memory_f` and `limit`, and the rest where it runs."""
    new_tokens = 1 + drafts
    m = min(micro_batches, batch)
    together = ceil_div(batch, m)
    of_f = shape_of(f.deployment, together, new_tokens, new_tokens, False)
    found: Plain = {}
    limits = []
    for name, mine, side, context in (("memory_a", on_a, a, reserved), ("memory_f", on_f, f, new_tokens)):
        limit = deployment_limit(half(model, mine), side.machine, side.kit, side.deployment, context, drafts)
        if limit in (Limit.NONE, Limit.CONTEXT):
            if name == "memory_a":
                found[name] = memory_on_a(model, a, batch, new_tokens, reserved, drafts)
            else:
                found[name] = memory_on_f(model, f, of_f, drafts)
        limits.append(Limit.MEMORY if limit == Limit.NONE and not fits(side, found[name]) else limit)
    found["limit"] = limits[0] or limits[1]
    if found["limit"]:
        return found
    ends = ends_of(model, a, shape_of(a.deployment, batch, new_tokens, contexts[0], False), drafts)
    step = Step(ends.time, ends, Tally())
    go_round(step, 1, model, model["rows"], a, f, (m, together, new_tokens, contexts))
    if drafts:
        go_round(step, drafts, model, model["draft_rows"], a, f, (m, together, 1, contexts))
    return found | {
        "step_s": step.time,
        "attention_s": step.a.time,
        "feed_forward_s": step.f.time,
        "link_s": step.link,
        "watts_a": draw(a.machine, step.a.drawn_compute, step.a.drawn_moved, 1.0, step.time)[0],
        "watts_f": draw(f.machine, step.f.drawn_compute, step.f.drawn_moved, 1.0, step.time)[0],
    }
