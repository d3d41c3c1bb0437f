"""Linear attention (Mamba-2, gated delta net): section 5l. Nothing here depends on the context."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.attention import kv_heads_per_rank
from roofline.kernels.ops import add_operation
from roofline.layout import Operation

_SCAN = np.int64(Operation.SCAN)


@kernel
def convolved_channels(layer, tp):
    """Channels of the short convolution on one rank: values, and a query and a key of each key head."""
    return (layer.heads // tp) * layer.v_head + 2 * kv_heads_per_rank(layer, tp) * layer.head_dim


@kernel
def linear_columns(layer, tp):
    """Outputs of the projection in: the channels, an output gate as wide as the values, and the gates of each head."""
    heads = layer.heads // tp
    return convolved_channels(layer, tp) + heads * layer.v_head + layer.gates * heads


@kernel
def state_elements(layer, tp):
    """Elements of the recurrent state of one sequence on one rank."""
    return (layer.heads // tp) * layer.head_dim * layer.v_head


@kernel
def convolution_elements(layer, tp):
    """Elements of past inputs that the short convolution keeps of one sequence on one rank."""
    return convolved_channels(layer, tp) * (layer.conv - 1)


@kernel
def state_bytes(layer, tp, kit):
    """What one sequence keeps in one layer on one rank, however long it is [B]."""
    return state_elements(layer, tp) * kit.scan.w_weight + convolution_elements(layer, tp) * kit.w_conv


@kernel
def add_scan(tally, layer, sequences, new, tp, kit, prompt, bandwidth):
    """Add the recurrence over the new tokens of each sequence: equation (5l).

    A decode pass keeps the state after each of its tokens until it is known which of them are accepted.
    """
    heads, rows = layer.heads // tp, sequences * new
    each = 1.0 * layer.state_flop * layer.head_dim * layer.v_head
    if prompt:
        each += kit.chunk_work * layer.chunk_flop
    writes = 1 if prompt or kit.bound == 1 else new
    state = state_elements(layer, tp) * kit.scan.w_weight * (1 + writes)
    convolution = 2.0 * convolution_elements(layer, tp) * kit.w_conv
    moved = sequences * (state + convolution)
    moved += rows * (linear_columns(layer, tp) * kit.scan.w_act + heads * layer.v_head * kit.scan.w_out)
    add_operation(tally, _SCAN, rows * heads * each, moved, kit.scan, bandwidth)
