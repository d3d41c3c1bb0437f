"""Well-known models and a well-known box as plain dicts, for tests that argue in real numbers."""

from __future__ import annotations

from typing import Any

from roofline.layout import LAYER, NO_WINDOW, Attention, Topology

Plain = dict[str, Any]


INDEX_BYTES = 132 / 128
"""B per element of an index cache in FP8: 128 numbers and a scale of 4 B."""

STATE_BYTES = 4.0
"""B per element of the state of linear attention, kept in FP32."""


def ideal_part(bytes_per_element: float, peak: float) -> Plain:
    return {
        "w_weight": bytes_per_element,
        "w_act": 0.0,
        "w_out": 0.0,
        "flop_per_s": peak,
        "eta_compute": 1.0,
        "eta_memory": 1.0,
        "fixed_s": 0.0,
    }


def ideal_kit(weight: float, cache: float, peak: float) -> Plain:
    parts = ("attn", "ffn", "expert", "shared", "router", "head")
    kit: Plain = {name: ideal_part(weight, peak) for name in parts}
    kit |= {name: ideal_part(cache, peak) for name in ("decode_core", "context_core")}
    kit |= {"index": ideal_part(INDEX_BYTES, peak), "scan": ideal_part(STATE_BYTES, peak)}
    absent = ("w_expand", "w_hidden", "w_logit", "w_permute", "elementwise_fixed_s", "w_score", "top_k_fixed_s")
    kit |= dict.fromkeys((*absent, "chunk_work"), 0.0) | {"w_conv": 2.0, "top_k_eta_memory": 1.0}
    kit |= {"w_embed": weight, "w_gather_logit": 2.0, "w_reduce": 2.0, "w_dispatch": weight, "w_combine": 2.0}
    kit |= {"elementwise_eta_memory": 1.0, "permute_eta_memory": 1.0, "expert_skew": 1.0, "expert_tile": 1.0}
    return kit | {"fullest_rank": 0, "bound": 1}


def ideal_box(bandwidth: float, memory_bytes: float = 80e9) -> Plain:
    machine: Plain = dict.fromkeys(
        ("up_hop_s", "out_hop_s", "one_shot_s", "two_shot_s", "gather_s", "exchange_s", "p2p_s", "out_s"), 0.0
    )
    machine |= dict.fromkeys(("eta_reduce", "eta_gather", "eta_exchange", "eta_p2p", "eta_out"), 1.0)
    machine |= {"bytes_per_s": bandwidth, "memory_bytes": memory_bytes, "memory_fraction": 1.0, "reserve_bytes": 0.0}
    machine |= {"accelerators": 8, "max_accelerators": 8, "domain": 8, "mesh": int(Topology.SWITCHED), "in_switch": 1}
    machine |= dict.fromkeys(("axis_x", "axis_y", "axis_z"), 1)
    machine |= {"up_bytes_per_s": 450e9, "out_bytes_per_s": 50e9}
    return machine | {"tdp_w": 700.0, "idle_w": 75.0, "power_a": 4.54, "power_b": 0.647}


def dense_row(count: int, heads: int, kv_heads: int, head_dim: int, inner: int, window: int = NO_WINDOW) -> Plain:
    row: Plain = dict.fromkeys(LAYER.names or (), 0)
    row |= {"count": count, "attention": int(Attention.GQA), "heads": heads, "kv_heads": kv_heads, "norms": 2}
    return row | {"head_dim": head_dim, "v_head": head_dim, "window": window, "ffn_matrices": 3, "ffn_inner": inner}


def linear_row(count: int, heads: int, key_heads: int, key_width: int, value_width: int, **fields: int) -> Plain:
    """A layer of linear attention and nothing else; `fields` for its gates, convolution and work."""
    row = dense_row(count, heads, key_heads, key_width, 0) | {"attention": int(Attention.LINEAR), "norms": 1}
    return row | {"v_head": value_width} | fields


def model_of(rows: list[Plain], hidden: int, vocab: int, max_context: int = 131072) -> Plain:
    layers = sum(row["count"] for row in rows)
    model: Plain = {"rows": rows, "layers": layers, "hidden": hidden, "vocab": vocab, "tied": 0, "route_groups": 0}
    return model | {"max_context": max_context, "draft_rows": [], "draft_modules": 0}


LLAMA_70B = model_of([dense_row(80, 64, 8, 128, 28672)], 8192, 128256)
TP8 = {"tp": 8, "pp": 1, "dp": 1, "ep": 1, "moe_tp": 1}

MLA_OF_DEEPSEEK: Plain = {
    "attention": int(Attention.MLA),
    "heads": 128,
    "kv_heads": 128,
    "head_dim": 192,
    "q_lora": 1536,
    "kv_lora": 512,
    "qk_nope": 128,
    "qk_rope": 64,
    "v_head": 128,
}
_DENSE = dense_row(3, 128, 128, 192, 18432) | MLA_OF_DEEPSEEK
_ROUTED = _DENSE | {
    "count": 58,
    "ffn_inner": 0,
    "experts": 256,
    "top_k": 8,
    "expert_inner": 2048,
    "expert_hidden": 7168,
    "shared_inner": 2048,
}
DEEPSEEK_V3 = model_of([_DENSE, _ROUTED], 7168, 129280) | {"route_groups": 4}
