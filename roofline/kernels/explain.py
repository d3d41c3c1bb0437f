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
    causal_pairs,
    expanded_coefficients,
    expansion_coefficients,
    gqa_coefficients,
)
from roofline.kernels.ops import LATENCY, LINK, MOVED, PEAK, SLOTS, TRACE, add_collective, add_operation, ceil_div
from roofline.kernels.step import ends, hop, layer_tally
from roofline.layout import Operation

MOST_OPERATIONS = 40  # of one kind of layer, both forms of latent attention included
_CORE, _EXPAND = np.int64(Operation.CORE), np.int64(Operation.EXPAND_CACHE)
_ABSORB_QUERY, _ABSORB_VALUE = np.int64(Operation.ABSORB_QUERY), np.int64(Operation.ABSORB_VALUE)
_HAND_OVER = np.int64(Operation.HAND_OVER)
COLUMNS = TRACE + 1


@kernel
def add_core(tally, layer, kit, tp, context, sequences, new, prompt, absorbed, bandwidth):
    """Add the attention core of one layer at one context; MLA in the absorbed or the expanded form."""
    core = kit.context_core if prompt else kit.decode_core
    part, window, rows = kit.attn, 1.0 * layer.window, sequences * new
    pairs = causal_pairs(new, context, window)
    seen = min(context, window + new - 1.0)
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


@entry
def _trace_pass(rows, models, layers, machines, kits, deployments, config, batch, context, new, prompt):
    model, machine = models[config.model], machines[config.machine]
    kit, deployment = kits[config.kit], deployments[config.deployment]
    together = ceil_div(batch, min(batch, deployment.pp))
    sequences = ceil_div(together, deployment.dp)
    bandwidth, tp = machine.bytes_per_s, deployment.tp
    tally = np.zeros(SLOTS + 1 + TRACE * MOST_OPERATIONS)
    other = np.zeros(SLOTS + 1 + TRACE * MOST_OPERATIONS)
    ends(tally, other, model, machine, kit, deployment, sequences * new, sequences if prompt else sequences * new)
    used = keep(rows, 0, tally, -1)
    for i in range(model.first_layer, model.last_layer):
        layer = layers[i]
        kind = i - model.first_layer
        absorbed = True
        if layer.attention == MLA:  # the form is chosen as the sweeps do, by the time of the layer
            times = np.empty(2)
            for form in range(2):
                layer_tally(tally, layer, model, machine, kit, deployment, sequences * new, together * new, prompt)
                add_core(tally, layer, kit, tp, context, sequences, new, prompt, form == 0, bandwidth)
                tally[SLOTS] = 0.0
                times[form] = layer_time(tally, kit, bandwidth)
            absorbed = times[0] <= times[1]
        layer_tally(tally, layer, model, machine, kit, deployment, sequences * new, together * new, prompt)
        if layer.attention != 0:
            add_core(tally, layer, kit, tp, context, sequences, new, prompt, absorbed, bandwidth)
        used = keep(rows, used, tally, kind)
    used = keep(rows, used, other, -1)
    if deployment.pp > 1:
        fixed, sending = hop(machine, kit, deployment, model, sequences * new)
        tally[SLOTS] = 0.0
        add_collective(tally, _HAND_OVER, fixed, sending)
        used = keep(rows, used, tally, -2)
    return used


def trace_pass(models, layers, machines, kits, deployments, configs, batch, context, new_tokens=1, prompt=False):
    """Operations of one pass of configs[0], each for one layer of its kind and one micro-batch.

    Record arrays as `sweep.decode_grid`.   batch, context : int.   prompt : bool   a prefill pass of `new_tokens`.
    Returns float64[n, COLUMNS]: kind of layer (index among the model's; -1 ends, -2 pipeline), Operation, FLOP, bytes,
    and the times fixed, of compute, of memory and of links [s] (time = fixed + max(compute, memory) + links).
    """
    arrays = [a.view(np.recarray) for a in (models, layers, machines, kits, deployments, configs)]
    kinds = int(arrays[0][arrays[5][0].model].last_layer - arrays[0][arrays[5][0].model].first_layer)
    rows = np.zeros((MOST_OPERATIONS * (kinds + 2), COLUMNS))
    used = _trace_pass(rows, *arrays[:5], arrays[5][0], int(batch), float(context), int(new_tokens), bool(prompt))
    return rows[:used]
