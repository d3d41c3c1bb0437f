"""Cores of softmax attention: what a pair of tokens and a token seen cost, equations (4) to (6)."""

from __future__ import annotations

from roofline.kernels._jit import inlined, kernel
from roofline.layout import Attention

GQA, MLA, LINEAR = int(Attention.GQA), int(Attention.MLA), int(Attention.LINEAR)
NO_ATTENTION = int(Attention.NONE)


@kernel
def kv_heads_per_rank(layer, tp):
    """KV heads one rank holds; they replicate once tp exceeds them."""
    return max(1, layer.kv_heads // tp)


@inlined
def gqa_coefficients(layer, sequences, new, tp, core):
    """Core of GQA: FLOP per pair; bytes = fixed + per_seen * seen: equation (4)."""
    heads, both = layer.heads // tp, layer.head_dim + layer.v_head
    rows = sequences * new
    cached = 1.0 * kv_heads_per_rank(layer, tp) * both * core.w_weight * sequences
    fixed = cached * new + rows * heads * (layer.head_dim * core.w_act + layer.v_head * core.w_out)
    return 2.0 * sequences * heads * both, fixed, cached


@kernel
def absorbed_coefficients(layer, sequences, new, tp, core):
    """Core of absorbed MLA: FLOP per pair; bytes = fixed + per_seen * seen: equation (5)."""
    heads = layer.heads // tp
    latent, rope = layer.kv_lora, layer.qk_rope
    rows = sequences * new
    cached = (latent + rope) * core.w_weight * sequences
    fixed = cached * new + rows * heads * ((latent + rope) * core.w_act + latent * core.w_out)
    return 2.0 * sequences * heads * (2 * latent + rope), fixed, cached


@kernel
def expanded_coefficients(layer, sequences, new, tp, core, w_expand):
    """Core of un-absorbed MLA: FLOP per pair; bytes = fixed + per_seen * seen: equation (6)."""
    heads = layer.heads // tp
    rows = sequences * new
    fixed = (layer.kv_lora + layer.qk_rope) * core.w_weight * sequences * new + rows * heads * (
        (layer.qk_nope + layer.qk_rope) * core.w_act + layer.v_head * core.w_out
    )
    per_seen = sequences * heads * (layer.qk_nope + layer.v_head) * w_expand
    return 2.0 * sequences * heads * (layer.qk_nope + layer.qk_rope + layer.v_head), fixed, per_seen


@kernel
def absorb_operation(layer, rows, tp, width, w_latent, w_width, part):
    """FLOP and bytes of multiplying by one half of the up-projection, per head: section 5."""
    heads = layer.heads // tp
    flop = 2.0 * rows * heads * layer.kv_lora * width
    weights = heads * layer.kv_lora * width * part.w_weight
    return flop, weights + rows * heads * (layer.kv_lora * w_latent + width * w_width)


@kernel
def expansion_coefficients(layer, sequences, tp, part, core, w_expand):
    """Expanding cached latents to K and V: FLOP per seen token; bytes = fixed + per_seen * seen: section 5."""
    heads = layer.heads // tp
    both = heads * (layer.qk_nope + layer.v_head)
    per_seen = sequences * ((layer.kv_lora + layer.qk_rope) * core.w_weight + both * w_expand)
    return 2.0 * sequences * layer.kv_lora * both, layer.kv_lora * both * part.w_weight, per_seen
