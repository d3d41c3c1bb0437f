"""The Gemma families: norms before and after, windows in most layers, tied embeddings."""

from __future__ import annotations

from roofline.specs.hf.config import Config
from roofline.specs.hf.rows import Modules, Row, Shape, experts, ffn, gqa, heads_of, kinds, layer, seen, start

FULL, SLIDING = "full_attention", "sliding_attention"


def gemma(config: Config) -> Shape:
    """Gemma: a gated feed-forward and one width per head apart from hidden/heads."""
    shape = start(config, tied=True)
    heads, kv_heads, width = heads_of(config, shape.hidden)
    attention = gqa(heads, kv_heads, width, bias=_bias(config))
    count = config.count("num_hidden_layers")
    kinds(config, count, [FULL])
    shape.layers = [layer(attention, ffn=ffn(3, config.count("intermediate_size")))] * count
    return shape


def gemma2(config: Config) -> Shape:
    """Gemma 2: four norms a layer; a window in every other layer, first of all in the first."""
    shape = start(config, tied=True)
    heads, kv_heads, width = heads_of(config, shape.hidden)
    return _local_and_global(config, shape, 2, heads, kv_heads, width, qk_norm=False)


def gemma3(config: Config) -> Shape:
    """Gemma 3: as Gemma 2 with a window in five layers of six and norms on Q and K.

    Its published files leave out what is the default of the family.
    """
    config.must("use_qk_norm", True)
    defaults = {"vocab_size": 262208, "max_position_embeddings": 131072, "num_attention_heads": 8}
    defaults |= {"num_key_value_heads": 4, "head_dim": 256}
    taken = [name for name in defaults if config.data.get(name) is None]
    full = config.with_data(defaults | {key: value for key, value in config.data.items() if value is not None})
    shape = start(full, tied=True)
    heads, kv_heads, width = heads_of(full, shape.hidden)
    shape = _local_and_global(full, shape, 6, heads, kv_heads, width, qk_norm=True)
    config.ignore(*(config.data.keys() - full.unread().keys()))
    if taken:
        shape.notes.append(f"Not in the file, so as the family has it: {', '.join(taken)}.")
    return shape


def gemma4(config: Config) -> Shape:
    """Gemma 4 without per-layer embeddings: wider heads, and values from the key projection, in layers without window.

    With experts, the dense feed-forward runs beside them: they are described as shared experts.
    """
    config.off("hidden_size_per_layer_input", why="per-layer embeddings are not described by a sheet")
    config.ignore("vocab_size_per_layer_input", "use_bidirectional_attention")
    config.off("num_kv_shared_layers", why="layers that take their KV cache from others are not described by a sheet")
    config.off("use_double_wide_mlp", why="a wider feed-forward in some layers is not understood")
    shape = start(config, tied=True)
    count = config.count("num_hidden_layers")
    types = kinds(config, count, (FULL, SLIDING))
    if types is None:
        raise config.error("layer_types", "missing", value="")
    heads, kv_heads, width = heads_of(config, shape.hidden)
    common = {"qk_norm": True, "bias": _bias(config)}
    window = seen(shape, config.count("sliding_window"))
    shares = config.flag("attention_k_eq_v")
    global_kv = config.count("num_global_key_value_heads", default=kv_heads)
    wide = config.count("global_head_dim", default=width)
    rows = {
        SLIDING: gqa(heads, kv_heads, width, window=window, **common),
        FULL: gqa(heads, global_kv if shares else kv_heads, wide, shared_kv=shares, **common),
    }
    inner = config.count("intermediate_size")
    if config.flag("enable_moe_block"):
        number, top_k = config.count("num_experts"), config.count("top_k_experts")
        # each expert has a scale of its own, counted as a term of the router
        mixture = experts(number, top_k, config.count("moe_intermediate_size"), router_bias=True, shared_inner=inner)
        # beside the four norms: one more before, two more after the feed-forwards, and that of the router
        shape.layers = [layer(rows[kind], norms=8, experts=mixture) for kind in types]
        shape.modules = Modules(dense_ffn="", shared_experts="mlp", experts="experts")
        shape.notes.append("The dense feed-forward that runs beside the experts stands here as shared experts.")
    else:
        config.ignore("num_experts", "top_k_experts", "moe_intermediate_size")
        shape.layers = [layer(rows[kind], norms=4, ffn=ffn(3, inner)) for kind in types]
    return shape


def _bias(config: Config) -> str:
    return "all" if config.flag("attention_bias") else "none"


def _local_and_global(
    config: Config, shape: Shape, every: int, heads: int, kv_heads: int, width: int, *, qk_norm: bool
) -> Shape:
    """Layers with a window, but each `every`-th (or as `layer_types` says)."""
    count = config.count("num_hidden_layers")
    every = config.count("sliding_window_pattern", "_sliding_window_pattern", default=every)
    config.off("use_bidirectional_attention", why="attention to later tokens is not understood")
    types = kinds(config, count, (FULL, SLIDING))
    if types is None:
        types = [SLIDING if (index + 1) % every else FULL for index in range(count)]
    more: Row = {"bias": _bias(config), "qk_norm": qk_norm}
    window = seen(shape, config.count("sliding_window"))
    rows = {
        SLIDING: gqa(heads, kv_heads, width, window=window, **more),
        FULL: gqa(heads, kv_heads, width, **more),
    }
    inner = ffn(3, config.count("intermediate_size"))
    shape.layers = [layer(rows[kind], norms=4, ffn=inner) for kind in types]
    return shape
