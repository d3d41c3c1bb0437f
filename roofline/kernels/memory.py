"""Memory of the fullest rank: equation (17)."""

from __future__ import annotations

from roofline.kernels._jit import kernel
from roofline.kernels.attention import attention_params, cache_bytes_per_token, first_projection_width
from roofline.kernels.feedforward import feedforward_params
from roofline.kernels.moe import expert_load
from roofline.kernels.ops import ceil_div
from roofline.layout import Attention

_MLA = int(Attention.MLA)


@kernel
def weight_bytes(model, layers, kit, deployment):
    """Weights on the rank of the fullest pipeline stage [B], with what is replicated."""
    tp, hidden = deployment.tp, model.hidden
    stack = 0.0
    for i in range(model.first_layer, model.last_layer):
        layer = layers[i]
        row = kit.attn.w_weight * attention_params(layer, hidden, tp)
        row += feedforward_params(layer, hidden, deployment, kit) + 2.0 * layer.other_params
        stack += layer.count * row
    vocab = ceil_div(model.vocab, tp)
    embed = kit.w_embed * vocab * hidden
    head = kit.head.w_weight * vocab * hidden
    if deployment.pp > 1 or model.tied == 1:
        ends = max(embed, head)
    else:
        ends = embed + head
    return stage_share(model, deployment) * stack + ends


@kernel
def stage_share(model, deployment):
    """Share of all layers that the fullest stage holds (rho)."""
    return ceil_div(model.layers, deployment.pp) / model.layers


@kernel
def work_bytes(model, layers, kit, deployment, rows, tokens, head_rows):
    """Activations of the largest pass [B]."""
    tp = deployment.tp
    width, routed = 0.0, 0.0
    for i in range(model.first_layer, model.last_layer):
        layer = layers[i]
        if layer.attention == _MLA:
            attention = (layer.heads // tp) * (layer.qk_nope + layer.qk_rope)
        else:
            attention = first_projection_width(layer, tp) if layer.attention > 0 else 0
        inner = max(ceil_div(layer.ffn_inner, tp), ceil_div(layer.shared_inner, tp))
        width = max(width, max(1.0 * attention, 1.0 * (layer.ffn_matrices - 1) * inner))
        if layer.experts > 0:
            _, load = expert_load(
                layer.experts, layer.top_k, deployment.ep, tokens, kit.fullest_rank == 1, kit.expert_skew
            )
            each = layer.expert_hidden + (layer.ffn_matrices - 1) * ceil_div(layer.expert_inner, deployment.moe_tp)
            routed = max(routed, load * each)
    logits = head_rows * ceil_div(model.vocab, tp)
    return kit.w_hidden * (rows * (4.0 * model.hidden + width) + routed) + kit.w_logit * logits


@kernel
def capacity_bytes(machine):
    """Memory a serving process may fill [B]."""
    return machine.memory_bytes * machine.memory_fraction - machine.reserve_bytes


@kernel
def cache_bytes_per_sequence(model, layers, kit, deployment, context):
    """KV cache of one sequence of `context` tokens on the fullest rank [B]."""
    size = 0.0
    for i in range(model.first_layer, model.last_layer):
        layer = layers[i]
        per_token = cache_bytes_per_token(layer, deployment.tp, kit.decode_core.w_weight)
        size += layer.count * per_token * min(context, 1.0 * layer.window)
    return stage_share(model, deployment) * size


@kernel
def largest_batch(model, layers, machine, kit, deployment, context, new):
    """Largest number of sequences in one replica whose decode pass fits: equation (17) solved for B; 0 if none fits."""
    free = capacity_bytes(machine) - weight_bytes(model, layers, kit, deployment)
    cache = cache_bytes_per_sequence(model, layers, kit, deployment, context)
    if not _fits(model, layers, kit, deployment, free, cache, 1, new):
        return 0
    low, high = 1, 2
    while high < 1 << 40 and _fits(model, layers, kit, deployment, free, cache, high, new):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(model, layers, kit, deployment, free, cache, middle, new):
            low = middle
        else:
            high = middle
    return low


@kernel
def _fits(model, layers, kit, deployment, free, cache, batch, new):
    sequences = ceil_div(batch, min(batch, deployment.pp))
    rows = ceil_div(sequences, deployment.dp) * new
    work = work_bytes(model, layers, kit, deployment, rows, sequences * new, rows)
    return cache * ceil_div(batch, deployment.dp) + work <= free
