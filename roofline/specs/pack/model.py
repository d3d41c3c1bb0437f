"""Models to records of `layout.MODEL` and `layout.LAYER`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.layout import LAYER, MODEL, NO_WINDOW, Attention
from roofline.specs.attention import GatedDeltaNet, GroupedQueryAttention, LatentAttention, Mamba2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.specs.attention import Mixer
    from roofline.specs.model import Layers, Model


def _pack_layer(row: Layers, hidden: int) -> Any:
    record = np.zeros(1, dtype=LAYER)
    record["count"], record["norms"] = row.count, row.norms
    record["other_params"] = row.other_params(hidden)
    record["window"], record["expert_hidden"], record["ffn_matrices"] = NO_WINDOW, hidden, 3
    if row.attention is not None:
        _pack_attention(record, row.attention)
    if row.ffn is not None:
        record["ffn_matrices"], record["ffn_inner"] = row.ffn.matrices, row.ffn.inner
    if row.experts is not None:
        experts = row.experts
        record["experts"], record["top_k"], record["expert_inner"] = experts.count, experts.top_k, experts.inner
        record["expert_hidden"], record["ffn_matrices"] = experts.width(hidden), experts.matrices
        record["shared_inner"] = experts.shared_inner
    return record[0]


def _pack_attention(record: Any, attention: Mixer) -> None:
    match attention:
        case GroupedQueryAttention():
            record["attention"] = Attention.GQA
            record["heads"], record["kv_heads"] = attention.heads, attention.kv_heads
            record["head_dim"], record["v_head"] = attention.head_dim, attention.v_width
            record["window"] = attention.reach or NO_WINDOW
            record["chunked"], record["gated"] = attention.chunk is not None, attention.gate
        case LatentAttention():
            record["attention"] = Attention.MLA
            for name in ("heads", "q_lora", "kv_lora", "qk_nope", "qk_rope", "v_head"):
                record[name] = getattr(attention, name)
        case Mamba2() | GatedDeltaNet():
            record["attention"] = Attention.LINEAR
            record["heads"], record["kv_heads"], record["head_dim"], record["v_head"] = attention.shape
            for name in ("gates", "conv", "state_flop", "chunk_flop"):
                record[name] = getattr(attention, name)
    if attention.sparse is not None:
        record["selected"] = attention.sparse.top_k
        record["index_heads"], record["index_dim"] = attention.sparse.index_heads, attention.sparse.index_dim


def pack_models(models: Sequence[Model]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Records of `layout.MODEL`, and the rows of `layout.LAYER` they point into: a model's, then its drafts'."""
    rows: list[Any] = []
    packed = np.zeros(len(models), dtype=MODEL)
    for record, model in zip(packed, models, strict=True):
        record["first_layer"] = len(rows)
        rows += [_pack_layer(row, model.hidden) for row in model.layers]
        record["last_layer"] = record["first_draft"] = len(rows)
        if model.mtp is not None:
            rows += [_pack_layer(row, model.hidden) for row in model.mtp.layers]
            record["draft_modules"] = model.mtp.modules
        record["last_draft"] = len(rows)
        record["layers"], record["hidden"], record["vocab"] = model.layer_count, model.hidden, model.vocab
        record["tied"], record["route_groups"] = model.tied_embeddings, model.route_groups or 0
        record["max_context"] = model.max_context
    return packed, np.array(rows, dtype=LAYER)


def used_parts(model: Model) -> frozenset[str]:
    """Kit fields that a model's layers need arithmetic for, those of its draft module included."""
    parts = {"attn", "head"}
    for row in (*model.layers, *(model.mtp.layers if model.mtp else ())):
        if row.ffn is not None:
            parts.add("ffn")
        if row.experts is not None:
            shared = row.experts.shared_inner or row.experts.latent(model.hidden)
            parts |= {"expert", "router"} | ({"shared"} if shared else set())
        if isinstance(row.attention, Mamba2 | GatedDeltaNet):
            parts.add("scan")
        elif row.attention is not None and row.attention.sparse is not None and row.attention.sparse.index_heads:
            parts.add("index")
    return frozenset(parts)
