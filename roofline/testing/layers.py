"""Hypothesis strategies for kinds of layer: what an attention sees, how it is built, what follows it.

They draw plain dicts with the LAYER fields of roofline/layout.py that they decide; `strategies` joins them to models.
"""

from __future__ import annotations

from hypothesis import strategies as st

from roofline.layout import NO_WINDOW, Attention
from roofline.testing.records import Plain

Draw = st.DrawFn

HEADS = st.sampled_from([1, 2, 4, 6, 7, 8, 16, 20, 32, 64, 128])
WIDTHS = st.one_of(st.sampled_from([64, 128, 1024, 4096, 8192]), st.sampled_from([1, 61, 509, 2053]))
WINDOWS = st.sampled_from([1, 2, 128, 1023, 4096])

NO_ATTENTION = dict.fromkeys(
    (
        *("heads", "kv_heads", "head_dim", "chunked", "gated", "selected", "index_heads", "index_dim"),
        *("q_lora", "kv_lora", "qk_nope", "qk_rope", "v_head", "gates", "conv", "state_flop", "chunk_flop"),
    ),
    0,
) | {"attention": int(Attention.NONE), "window": NO_WINDOW}
"""The attention fields of a layer that has none; kinds of attention set theirs."""

NO_EXPERTS = dict.fromkeys(("experts", "top_k", "expert_inner", "expert_hidden", "shared_inner"), 0)


@st.composite
def windowed(draw: Draw) -> Plain:
    """A sliding window, from one token up."""
    return {"window": draw(WINDOWS)}


@st.composite
def chunked(draw: Draw) -> Plain:
    """Chunked-local: tokens see back to the start of their chunk."""
    return {"window": draw(st.one_of(WINDOWS, st.sampled_from([7, 8192]))), "chunked": 1}


@st.composite
def selecting(draw: Draw, indexer: bool | None = None) -> Plain:
    """Sparse attention over selected tokens. indexer : the layer's own, or the selection of an earlier layer."""
    own = draw(st.booleans()) if indexer is None else indexer
    index = {"index_heads": draw(st.sampled_from([1, 3, 64])), "index_dim": draw(st.sampled_from([1, 61, 128]))}
    return {"selected": draw(st.sampled_from([1, 5, 512, 2048]))} | (index if own else {})


def seeing_all() -> st.SearchStrategy[Plain]:
    """Every token before and the token itself."""
    return st.just({})


@st.composite
def gqa(draw: Draw, sight: st.SearchStrategy[Plain] | None = None) -> Plain:
    """Grouped-query attention: the query heads divide evenly over the KV heads; some with gates or wide values.

    sight : which tokens it sees; as drawn where not given.
    """
    heads = draw(HEADS)
    head_dim = draw(st.sampled_from([1, 64, 113, 128, 256]))
    sights = st.one_of(windowed(), chunked(), selecting(), seeing_all()) if sight is None else sight
    attention: Plain = NO_ATTENTION | {
        "attention": int(Attention.GQA),
        "heads": heads,
        "kv_heads": draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0])),
        "head_dim": head_dim,
        "v_head": draw(st.sampled_from([head_dim, head_dim, 128, 31])),
        "gated": draw(st.sampled_from([0, 0, 1])),
    }
    attention |= draw(sights)
    return attention


@st.composite
def mla(draw: Draw, sight: st.SearchStrategy[Plain] | None = None) -> Plain:
    """Multi-head latent attention, with and without compressed queries, over all tokens or over selected ones."""
    heads, nope, rope = draw(HEADS), draw(st.sampled_from([32, 128])), draw(st.sampled_from([0, 31, 64]))
    sights = st.one_of(seeing_all(), selecting()) if sight is None else sight
    attention: Plain = NO_ATTENTION | {
        "attention": int(Attention.MLA),
        "heads": heads,
        "kv_heads": heads,
        "head_dim": nope + rope,
        "q_lora": draw(st.sampled_from([0, 97, 768, 1536])),
        "kv_lora": draw(st.sampled_from([1, 127, 512])),
        "qk_nope": nope,
        "qk_rope": rope,
        "v_head": draw(st.sampled_from([32, 128])),
    }
    attention |= draw(sights)
    return attention


@st.composite
def linear(draw: Draw) -> Plain:
    """Linear attention: like Mamba-2 (scalar decay, groups of B and C) or like a gated delta net."""
    heads = draw(HEADS)
    key_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    key_width, value_width = draw(st.sampled_from([1, 16, 128, 256])), draw(st.sampled_from([1, 61, 64, 128]))
    chunk = draw(st.sampled_from([1, 64, 256]))
    delta = draw(st.booleans())
    if delta:
        inside = 2 * chunk * (3 * key_width + 2 * value_width) + 2 * chunk * chunk // 3
    else:
        inside = 2 * chunk * (key_width * key_heads // heads + value_width)
    return NO_ATTENTION | {
        "attention": int(Attention.LINEAR),
        "heads": heads,
        "kv_heads": key_heads,
        "head_dim": key_width,
        "v_head": value_width,
        "gates": 2 if delta else 1,
        "conv": draw(st.sampled_from([1, 2, 4])),
        "state_flop": 6 if delta else 4,
        "chunk_flop": inside,
    }


def no_attention() -> st.SearchStrategy[Plain]:
    """A layer without attention."""
    return st.just(dict(NO_ATTENTION))


@st.composite
def dense_ffn(draw: Draw) -> Plain:
    """A dense feed-forward, or none."""
    feedforward: Plain = NO_EXPERTS | {"ffn_inner": draw(st.one_of(st.just(0), WIDTHS))}
    return feedforward


@st.composite
def experts(draw: Draw, hidden: int) -> Plain:
    """Routed experts, maybe with shared ones, maybe in a latent width, maybe all of them chosen."""
    count = draw(st.sampled_from([1, 2, 7, 8, 16, 64, 128, 256, 512]))
    return {
        "ffn_inner": 0,
        "experts": count,
        "top_k": draw(st.one_of(st.integers(1, min(count, 10)), st.just(min(count, 16)))),
        "expert_inner": draw(WIDTHS),
        "expert_hidden": draw(st.one_of(st.just(hidden), st.just(max(1, hidden // 4)))),
        "shared_inner": draw(st.one_of(st.just(0), WIDTHS)),
    }


@st.composite
def layer_rows(
    draw: Draw, hidden: int, routed: bool | None = None, attention: st.SearchStrategy[Plain] | None = None
) -> Plain:
    """One kind of layer.

    routed : with experts or without, as drawn where not given.   attention : its attention; any where not given.
    """
    any_kind = st.one_of(gqa(), gqa(), mla(), mla(), linear(), no_attention())
    drawn = draw(any_kind if attention is None else attention)
    mixed = draw(st.booleans()) if routed is None else routed
    feedforward = draw(experts(hidden)) if mixed else draw(dense_ffn())
    extra = {
        "count": draw(st.integers(1, 40)),
        "norms": draw(st.sampled_from([0, 2, 2, 4])),
        "ffn_matrices": draw(st.sampled_from([2, 3])),
        "other_params": draw(st.sampled_from([0, 2 * hidden, 12345])),
    }
    row: Plain = drawn | feedforward | extra
    return row
