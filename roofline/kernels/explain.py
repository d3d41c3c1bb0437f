"""One pass, operation by operation: the same building blocks as the sweeps, with a trace.

Only the attention core is written again, for one context, from the coefficients that the sweeps use.
"""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import entry, kernel
from roofline.kernels.attention import (
    GQA,
    MLA,
    absorb_operation,
    absorbed_coefficients,
    expanded_coefficients,
    expansion_coefficients,
    gqa_coefficients,
)
from roofline.kernels.contexts import see
from roofline.kernels.draft import draft_ends
from roofline.kernels.ops import LATENCY, LINK, MOVED, PEAK, SLOTS, TRACE, add_collective, add_operation, ceil_div
from roofline.kernels.sparse import add_index
from roofline.kernels.step import ends, hop, layer_tally
from roofline.layout import Operation

MOST_OPERATIONS = 40  # of one kind of layer, both forms of latent attention included
_CORE, _EXPAND = np.int64(Operation.CORE), np.int64(Operation.EXPAND_CACHE)
_ABSORB_QUERY, _ABSORB_VALUE = np.int64(Operation.ABSORB_QUERY), np.int64(Operation.ABSORB_VALUE)
_NONE, _ONE = np.int64(0), np.int64(1)
_HAND_OVER = np.int64(Operation.HAND_OVER)
COLUMNS = TRACE + 1

ENDS, PIPELINE, DRAFT_ENDS = np.int64(-1), np.int64(-2), np.int64(-3)
"""Kinds that are not of a layer: embedding and lm_head, hand-over, and what a draft pass has of its own."""


@kernel
def add_core(tally, layer, kit, tp, context, sequences, new, prompt, absorbed, bandwidth):
    """Add the attention core of one layer at one context, with its indexer; MLA in one of two forms.

    absorbed : the form that reads selected tokens alone; the expanded one, but in `bound`, works on all.
    """
    core, bound = kit.context_core if prompt else kit.decode_core, kit.bound == 1
    part, rows = kit.attn, sequences * new
    at, visible = np.empty(1), np.empty((2, 1))
    at[0] = context
    masked = layer.attention == MLA and not absorbed and not bound
    see(visible, _NONE, at, layer, 0 * layer.selected if masked else layer.selected, new, bound)
    pairs, seen = visible[0, 0], visible[1, 0]
    if layer.index_heads > 0:
        add_index(tally, layer, context, sequences, new, kit, bandwidth)
    if layer.attention == GQA:
        per_pair, fixed, per_seen = gqa_coefficients(layer, sequences, new, tp, core)
    elif absorbed:
        flop, size = absorb_operation(layer, rows, tp, layer.qk_nope, part.w_out, part.w_act, part)
        add_operation(tally, _ABSORB_QUERY, flop, size, part, bandwidth)
        flop, size = absorb_operation(layer, rows, tp, layer.v_head, part.w_act, part.w_out, part)
        add_operation(tally, _ABSORB_VALUE, flop, size, part, bandwidth)
        per_pair, fixed, per_seen = absorbed_coefficients(layer, sequences, new, tp, core)
    else:
        per_token, fixed, per_seen = expansion_coefficients(layer, sequences, tp, part, core, kit.w_expand)
        add_operation(tally, _EXPAND, per_token * seen, fixed + per_seen * seen, part, bandwidth)
        per_pair, fixed, per_seen = expanded_coefficients(layer, sequences, new, tp, core, kit.w_expand)
    add_operation(tally, _CORE, per_pair * pairs, fixed + per_seen * seen, core, bandwidth)


@kernel
def layer_time(tally, kit, bandwidth):
    """Time of one layer from its tally: a sum in series, the largest roof in `ideal` (section 8)."""
    if kit.bound == 1:
        return max(max(tally[PEAK], tally[MOVED] / bandwidth), tally[LINK])
    return tally[LATENCY] + tally[1] + tally[2] + tally[3]


@kernel
def keep(rows, used, tally, kind):
    """Append the trace of a tally to `rows`, marked with the kind of layer it is of; returns rows used."""
    for n in range(int(tally[SLOTS])):
        rows[used, 0] = kind
        for column in range(TRACE):
            rows[used, 1 + column] = tally[SLOTS + 1 + TRACE * n + column]
        used += 1
    tally[SLOTS] = 0.0
    return used


@kernel
def keep_layers(
    rows, used, tally, first, start, stop, model, layers, machine, kit, deployment, sequences, together, context, new,
    prompt,
):  # fmt: skip
    """Trace one layer of each kind in rows [start, stop), numbered from `first`; returns rows used."""
    bandwidth, tp, tokens = machine.bytes_per_s, deployment.tp, together * new
    times = np.empty(2)
    for i in range(start, stop):
        layer = layers[i]
        absorbed = True
        if layer.attention == MLA:  # the form is chosen as the sweeps do, by the time of the layer
            for form in range(2):
                layer_tally(tally, layer, model, machine, kit, deployment, sequences, new, tokens, prompt)
                add_core(tally, layer, kit, tp, context, sequences, new, prompt, form == 0, bandwidth)
                tally[SLOTS] = 0.0
                times[form] = layer_time(tally, kit, bandwidth)
            absorbed = times[0] <= times[1]
        layer_tally(tally, layer, model, machine, kit, deployment, sequences, new, tokens, prompt)
        if layer.attention == GQA or layer.attention == MLA:
            add_core(tally, layer, kit, tp, context, sequences, new, prompt, absorbed, bandwidth)
        used = keep(rows, used, tally, first + i - start)
    return used


@entry
def _trace_pass(rows, models, layers, machines, kits, deployments, config, batch, context, new, prompt, drafts):
    model, machine = models[config.model], machines[config.machine]
    kit, deployment = kits[config.kit], deployments[config.deployment]
    together = ceil_div(batch, min(batch, deployment.pp))
    sequences = ceil_div(together, deployment.dp)
    tally = np.zeros(SLOTS + 1 + TRACE * MOST_OPERATIONS)
    other = np.zeros(SLOTS + 1 + TRACE * MOST_OPERATIONS)
    ends(tally, other, model, machine, kit, deployment, sequences * new, sequences if prompt else sequences * new)
    used = keep(rows, _NONE, tally, ENDS)
    top, end = model.first_layer, model.last_layer
    used = keep_layers(
        rows, used, tally, _NONE, top, end, model, layers, machine, kit, deployment, sequences, together,
        context, new, prompt,
    )  # fmt: skip
    used = keep(rows, used, other, ENDS)
    if deployment.pp > 1:
        fixed, sending = hop(machine, kit, deployment, model, sequences * new)
        tally[SLOTS] = 0.0
        add_collective(tally, _HAND_OVER, fixed, sending)
        used = keep(rows, used, tally, PIPELINE)
    if drafts > 0:
        draft_ends(tally, other, model, machine, kit, deployment, sequences)
        used = keep(rows, used, tally, DRAFT_ENDS)
        used = keep_layers(
            rows, used, tally, end - top, model.first_draft, model.last_draft, model, layers, machine, kit, deployment,
            sequences, together, context, _ONE, prompt,
        )  # fmt: skip
        used = keep(rows, used, other, DRAFT_ENDS)
    return used


def trace_pass(
    models, layers, machines, kits, deployments, configs, batch, context, new_tokens=1, prompt=False, drafts=0
):
    """Operations of one pass of configs[0], each for one layer of its kind and one micro-batch.

    Record arrays as `sweep.decode_grid`.   batch, context : int.   prompt : bool   a prefill pass of `new_tokens`.
    drafts : int   where any, the operations of ONE draft pass follow.
    Returns float64[n, COLUMNS]: kind of layer, Operation, FLOP, bytes, and the times fixed, of compute, of memory and
    of links [s] (time = fixed + max(compute, memory) + links). Kinds count the model's rows of layers from 0 and then
    those of its draft module; ENDS, PIPELINE and DRAFT_ENDS stand for what is in no layer.
    """
    arrays = [a.view(np.recarray) for a in (models, layers, machines, kits, deployments, configs)]
    model = arrays[0][arrays[5][0].model]
    kinds = int(model.last_layer - model.first_layer + model.last_draft - model.first_draft)
    rows = np.zeros((MOST_OPERATIONS * (kinds + 4), COLUMNS))
    cell = int(batch), float(context), int(new_tokens), bool(prompt), int(drafts)
    return rows[: _trace_pass(rows, *arrays[:5], arrays[5][0], *cell)]
