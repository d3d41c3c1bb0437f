"""Models that are more than attention over all tokens and a feed-forward, as dicts, from their published configs."""

from __future__ import annotations

from typing import Any

from roofline.layout import Attention
from tests.oracle.cases import DEEPSEEK_V3, dense_row, linear_row, model_of

Plain = dict[str, Any]

NO_ATTENTION = {"attention": int(Attention.NONE), "heads": 0, "kv_heads": 0, "head_dim": 0, "v_head": 0, "norms": 1}


def mamba2_row(count: int, heads: int, head_width: int, groups: int, state: int) -> Plain:
    """A Mamba-2 layer: convolution of 4, chunks of 128 tokens."""
    inside = 2 * 128 * (state * groups // heads + head_width)
    return linear_row(count, heads, groups, state, head_width, gates=1, conv=4, state_flop=4, chunk_flop=inside)


# Nemotron-H-56B: 54 Mamba-2, 10 attention and 54 feed-forward layers, each alone in its layer.
MAMBA_OF_NEMOTRON_H = mamba2_row(54, 256, 64, 8, 256)
NEMOTRON_H_56B = model_of(
    [
        MAMBA_OF_NEMOTRON_H,
        dense_row(10, 64, 8, 128, 0) | {"norms": 1},
        dense_row(54, 0, 0, 0, 32768) | NO_ATTENTION | {"ffn_matrices": 2},
    ],
    8192,
    131072,
)

# Qwen3-Next-80B-A3B: three gated delta nets to one gated attention, all with 512 experts of which a token meets 10.
_EXPERTS_OF_QWEN = {"experts": 512, "top_k": 10, "expert_inner": 512, "expert_hidden": 2048, "shared_inner": 512}
DELTA_OF_QWEN: Plain = linear_row(
    36, 32, 16, 128, 128, gates=2, conv=4, state_flop=6, chunk_flop=2 * 64 * 5 * 128 + 2 * 64 * 64 // 3
) | {**_EXPERTS_OF_QWEN, "norms": 2}
QWEN3_NEXT = model_of(
    [DELTA_OF_QWEN, dense_row(12, 16, 2, 256, 0) | _EXPERTS_OF_QWEN | {"gated": 1}], 2048, 151936, 262144
)

# DeepSeek-V3.2: DeepSeek-V3 with an indexer in every layer that selects 2048 tokens; one module drafts.
INDEXER_OF_DEEPSEEK = {"selected": 2048, "index_heads": 64, "index_dim": 128}
_MODULE = {"draft_rows": [DEEPSEEK_V3["rows"][1] | {"count": 1}], "draft_modules": 1}
DEEPSEEK_V3_MTP: Plain = DEEPSEEK_V3 | _MODULE
DEEPSEEK_V32: Plain = DEEPSEEK_V3 | {
    "rows": [row | INDEXER_OF_DEEPSEEK for row in DEEPSEEK_V3["rows"]],
    "draft_rows": [row | INDEXER_OF_DEEPSEEK for row in _MODULE["draft_rows"]],
    "draft_modules": 1,
    "max_context": 163840,
}

# Llama 4 Maverick: 36 layers see back to the start of their chunk of 8192 tokens, every fourth sees all; experts in
# every second layer, of which a token meets one.
_CHUNKED = {"window": 8192, "chunked": 1}
_EXPERTS_OF_LLAMA = {
    "ffn_inner": 0,
    "experts": 128,
    "top_k": 1,
    "expert_inner": 8192,
    "expert_hidden": 5120,
    "shared_inner": 8192,
}
LLAMA_4_MAVERICK = model_of(
    [
        dense_row(24, 40, 8, 128, 16384) | _CHUNKED,
        dense_row(12, 40, 8, 128, 0) | _EXPERTS_OF_LLAMA | _CHUNKED,
        dense_row(12, 40, 8, 128, 0) | _EXPERTS_OF_LLAMA,
    ],
    5120,
    202048,
    1048576,
)

# Experts of Nemotron-3-Super-120B-A12B: ungated, in a width of 1024 of the hidden 4096.
LATENT_EXPERTS: Plain = dense_row(1, 32, 2, 128, 0) | {
    "ffn_matrices": 2,
    "experts": 512,
    "top_k": 22,
    "expert_inner": 2688,
    "expert_hidden": 1024,
    "shared_inner": 5376,
}
