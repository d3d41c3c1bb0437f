"""Sections 8 and 10: layers to stages, stages to steps and prompts, and what they draw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from roofline.layout import Bound, Component, Limit
from tests.oracle.attention import attention_forms
from tests.oracle.collectives import gather, hand_over, layer_collectives
from tests.oracle.feedforward import feedforward_operations
from tests.oracle.limits import limit_of, memory_of
from tests.oracle.operations import Operation, Shape, Tally, Transfer, ceil_div, gemm, move, run, shape_of, tied

Plain = dict[str, Any]


@dataclass(frozen=True)
class Pass:
    """One micro-batch going through the whole model."""

    embed: Tally
    layers: Tally
    head: Tally
    hop: Transfer
    operations: list[Plain]  # per kind of layer, with its count and how often a step runs it

    def whole(self) -> Tally:
        total = Tally()
        for part in (self.embed, self.layers, self.head):
            total.add(part)
        return total

    def slowest(self, layers: int, pp: int, clock: str) -> float:
        """Time of the slowest stage; `clock` is `time` or `serial`."""
        embed, body, head = (getattr(part, clock) for part in (self.embed, self.layers, self.head))
        if pp == 1:
            return float(embed + body + head)
        per_stage = ceil_div(layers, pp)
        first_share = per_stage / layers
        last_share = max(0, layers - (pp - 1) * per_stage) / layers
        return float(max(embed + first_share * body, last_share * body + head))


def describe(kind: int, count: int, operations: list[Operation], transfers: list[Transfer]) -> list[Plain]:
    """Operation by operation.

    kind : index of the layer row, those of a draft module after those of the model; -1 for the ends of the model,
    -2 between stages, -3 for the ends of a draft module.   count : how often a step has it.
    """
    out: list[Plain] = []
    for op in operations:
        out.append(
            {
                "kind": kind,
                "name": op.name,
                "part": op.part,
                "count": count,
                "flop": op.flop,
                "bytes": op.moved_bytes,
                "time": op.time,
                "bound": op.bound,
            }
        )
    for transfer in transfers:
        out.append(
            {
                "kind": kind,
                "name": transfer.name,
                "part": "network",
                "count": count,
                "flop": 0.0,
                "bytes": 0.0,
                "time": transfer.time,
                "bound": Bound.NETWORK if transfer.bytes_s > transfer.fixed_s else Bound.LATENCY,
            }
        )
    return out


def layer(
    model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape
) -> tuple[Tally, list[Operation], list[Transfer]]:
    """Section 8, one layer in its cheapest form."""
    transfers = layer_collectives(model, row, kit, machine, shape)
    rest = feedforward_operations(model, row, kit, machine, shape)
    best: tuple[Tally, list[Operation], list[Transfer]] | None = None
    for form in attention_forms(model, row, kit, machine, shape):
        operations = form + rest
        tally = run(operations, transfers, kit, machine)
        # forms exactly as fast (behind the network, or moving the same bytes) are so in any order: the first stands
        close = best is not None and tally.time != best[0].time and tied(tally.time, best[0].time)
        if best is None or tally.time < best[0].time:
            best = tally, operations, transfers
        best[0].ties += close
    assert best is not None  # every row has at least the empty form
    return best


def embedding(model: Plain, kit: Plain, machine: Plain, shape: Shape) -> Operation:
    """The look-up of every row that enters."""
    moved = shape.rows * model["hidden"] * (kit["w_embed"] + kit["w_hidden"])
    eta, fixed = kit["elementwise_eta_memory"], kit["elementwise_fixed_s"]
    return move("embedding", Component.HEAD, machine, moved, eta, fixed)


def lm_head(model: Plain, kit: Plain, machine: Plain, shape: Shape) -> tuple[Operation, list[Transfer]]:
    """Logits of the rows that need them, and what gathers the vocabulary."""
    rows = shape.rank_batch if shape.prefill else shape.rows
    local_vocab = ceil_div(model["vocab"], shape.tp)
    product = gemm("lm_head", "head", Component.HEAD, kit, machine, rows, model["hidden"], local_vocab)
    gathers: list[Transfer] = []
    if shape.tp > 1:
        size = rows * model["vocab"] * kit["w_gather_logit"]
        gathers.append(gather("vocabulary gather", machine, size, shape.tp))
    return product, gathers


def draft_pass(model: Plain, kit: Plain, machine: Plain, shape: Shape, times: int) -> tuple[Tally, list[Plain]]:
    """Tally of one draft: join, rows of the module, lm_head. Operations of the `times` that a step has."""
    one = replace(shape, new_tokens=1)
    hidden, rows = model["hidden"], one.rank_batch
    join = [
        embedding(model, kit, machine, one),
        gemm("join draft", "attn", Component.HEAD, kit, machine, rows, 2 * hidden, hidden),
    ]
    product, gathers = lm_head(model, kit, machine, one)
    total = run(join, [], kit, machine)
    total.add(run([product], gathers, kit, machine))
    listed = describe(-3, times, [*join, product], gathers)
    for kind, row in enumerate(model["draft_rows"], start=len(model["rows"])):
        tally, operations, transfers = layer(model, row, kit, machine, one)
        total.add(tally, row["count"])
        listed += describe(kind, times * row["count"], operations, transfers)
    return total, listed


def one_pass(model: Plain, kit: Plain, machine: Plain, shape: Shape, with_head: bool, drafts: int = 0) -> Pass:
    """Embedding, layers, lm_head of one micro-batch, and the drafts of its step with the lm_head."""
    listed: list[Plain] = []
    body = Tally()
    for kind, row in enumerate(model["rows"]):
        tally, operations, transfers = layer(model, row, kit, machine, shape)
        body.add(tally, row["count"])
        listed += describe(kind, row["count"], operations, transfers)
    look_up = embedding(model, kit, machine, shape)
    head = Tally()
    if with_head:
        product, gathers = lm_head(model, kit, machine, shape)
        head = run([product], gathers, kit, machine)
        listed += describe(-1, 1, [product], gathers)
    if drafts:
        draft, operations_of_drafts = draft_pass(model, kit, machine, shape, drafts)
        head.add(draft, drafts)
        listed += operations_of_drafts
    if shape.pp > 1:
        listed += describe(-2, shape.pp - 1, [], [hand_over(model, kit, machine, shape)])
    hop = hand_over(model, kit, machine, shape) if shape.pp > 1 else Transfer("hand-over", 0.0, 0.0, Component.PIPELINE)
    return Pass(run([look_up], [], kit, machine), body, head, hop, describe(-1, 1, [look_up], []) + listed)


def first_largest(classes: dict[Bound, float]) -> Bound:
    best = Bound.COMPUTE
    for bound in (Bound.MEMORY, Bound.NETWORK, Bound.LATENCY):
        if classes[bound] > classes[best]:
            best = bound
    return best


def draw(machine: Plain, compute_s: float, moved_bytes: float, share: float, time: float) -> tuple[float, float, float]:
    """Equation (16): (watts of one accelerator, u_f, u_m); `share` is what one rank does of C and D."""
    u_f = compute_s * share / time
    u_m = moved_bytes / machine["bytes_per_s"] * share / time
    x = machine["power_a"] * math.sqrt(u_f) + machine["power_b"] * u_m
    return machine["idle_w"] + (machine["tdp_w"] - machine["idle_w"]) * (1 - 1 / (1 + x + x * x / 2)), u_f, u_m


def add_hops(tally: Tally, hop: Transfer, hops: int, kit: Plain) -> None:
    """Hand-overs into the classes; in `ideal` they are counted in `serial` alone."""
    if not kit["bound"]:
        tally.classes[Bound.LATENCY] += hops * hop.fixed_s
        tally.classes[Bound.NETWORK] += hops * hop.bytes_s


def operations_of(
    model: Plain,
    machine: Plain,
    kit: Plain,
    deployment: Plain,
    batch: int,
    new_tokens: int,
    context: int,
    prefill: bool,
    drafts: int = 0,
) -> list[Plain]:
    """Every operation of one micro-batch's pass and its drafts, each for one layer of its kind."""
    shape = shape_of(deployment, batch, new_tokens, context, prefill)
    return one_pass(model, kit, machine, shape, with_head=True, drafts=drafts).operations


def refuse(limit: Limit) -> Plain:
    return {"limit": limit, "bound": Bound.NONE}


def decode(
    model: Plain,
    machine: Plain,
    kit: Plain | None,
    deployment: Plain,
    batch: int,
    context: int,
    new_tokens: int = 1,
    drafts: int = 0,
    tokens_per_step: float | None = None,
) -> Plain:
    """One decode step; equations (15), (16), (17). Only `limit` and `bound` where the cell cannot run.

    drafts : draft passes of the step, beside the pass that checks `new_tokens` (drafts + 1 of them).
    tokens_per_step : tau, what rates and energy count of a sequence's step; all `new_tokens` where not given.
    """
    limit = limit_of(model, machine, kit, deployment, batch, new_tokens, context, False, drafts)
    if limit or kit is None:
        return refuse(limit)
    tau = new_tokens if tokens_per_step is None else tokens_per_step
    shape = shape_of(deployment, batch, new_tokens, context, False)
    passed = one_pass(model, kit, machine, shape, with_head=True, drafts=drafts)
    whole, hops, m = passed.whole(), shape.pp - 1, shape.micro_batches
    hop_in_step = 0.0 if kit["bound"] else passed.hop.time
    step = max(whole.time + hops * hop_in_step, m * passed.slowest(model["layers"], shape.pp, "time"))
    serial = max(whole.serial + hops * passed.hop.time, m * passed.slowest(model["layers"], shape.pp, "serial"))
    add_hops(whole, passed.hop, hops, kit)
    whole.components[Component.PIPELINE] = step - whole.time
    watts, drawn_f, drawn_m = draw(machine, whole.drawn_compute, whole.drawn_moved, m / shape.pp, step)
    _, u_f, u_m = draw(machine, whole.compute, whole.moved, m / shape.pp, step)
    return {
        "limit": Limit.NONE,
        "step": step,
        "serial": serial,
        "classes": whole.classes,
        "bound": first_largest(whole.classes),
        "components": whole.components,
        "C": whole.drawn_compute,
        "D": whole.drawn_moved,
        "memory": memory_of(model, machine, kit, deployment, batch, new_tokens, context, False, drafts),
        "power": watts,
        "u_f": u_f,
        "u_m": u_m,
        "drawn_f": drawn_f,
        "drawn_m": drawn_m,
        "energy": shape.group * watts * step,
        "joules_per_token": shape.group * watts * step / (batch * tau),
        "tokens_per_s_per_user": tau / step,
        "tokens_per_s_per_accelerator": batch * tau / (step * shape.group),
        "ties": whole.ties,
        "operations": passed.operations,
    }


def prefill(
    model: Plain, machine: Plain, kit: Plain | None, deployment: Plain, batch: int, isl: int, cached: int, chunk: int
) -> Plain:
    """A prompt of `isl` tokens, `cached` of them already there; equations (15p), (16), (17)."""
    largest = min(chunk, isl - cached)
    limit = limit_of(model, machine, kit, deployment, batch, largest, isl, True)
    if limit or kit is None:
        return refuse(limit)
    total, operations = Tally(), []
    clocks: dict[str, list[tuple[float, float, float]]] = {"time": [], "serial": []}  # (slowest, stages, hop) a chunk
    pp, m, group, hops = deployment["pp"], 0, 0, deployment["pp"] - 1
    done = cached
    while done < isl:
        new_tokens = min(chunk, isl - done)
        done += new_tokens
        shape = shape_of(deployment, batch, new_tokens, done, True)
        m, group = shape.micro_batches, shape.group
        passed = one_pass(model, kit, machine, shape, with_head=done == isl)
        whole = passed.whole()
        for clock, entries in clocks.items():
            hop = 0.0 if kit["bound"] and clock == "time" else passed.hop.time
            entries.append((passed.slowest(model["layers"], pp, clock), getattr(whole, clock), hop))
        add_hops(whole, passed.hop, hops, kit)
        total.add(whole)
        operations += passed.operations
    times = {clock: prompt_time(entries, pp, m) for clock, entries in clocks.items()}
    time = times["time"]
    total.components[Component.PIPELINE] = time - total.time
    watts, drawn_f, drawn_m = draw(machine, total.drawn_compute, total.drawn_moved, m / pp, time)
    _, u_f, u_m = draw(machine, total.compute, total.moved, m / pp, time)
    return {
        "limit": Limit.NONE,
        "time": time,
        "serial": times["serial"],
        "classes": total.classes,
        "bound": first_largest(total.classes),
        "components": total.components,
        "C": total.drawn_compute,
        "D": total.drawn_moved,
        "memory": memory_of(model, machine, kit, deployment, batch, largest, isl, True),
        "power": watts,
        "u_f": u_f,
        "u_m": u_m,
        "drawn_f": drawn_f,
        "drawn_m": drawn_m,
        "energy": group * watts * time,
        "ties": total.ties,
        "joules_per_token": group * watts * time / (batch * (isl - cached)),
        "tokens_per_s_per_user": (isl - cached) / time,
        "tokens_per_s_per_accelerator": batch * (isl - cached) / (time * group),
        "operations": operations,
    }


def prompt_time(entries: list[tuple[float, float, float]], pp: int, m: int) -> float:
    """Equation (15p) from (slowest, sum_stages, hop) of each chunk."""
    if pp == 1:
        return sum(stages for _, stages, _ in entries)
    return sum(m * s for s, _, _ in entries) + max(stages + (pp - 1) * hop - s for s, stages, hop in entries)
