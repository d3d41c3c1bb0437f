"""Families with one gated feed-forward a layer: Llama and what follows it."""

from __future__ import annotations

from roofline.specs.hf.config import Config
from roofline.specs.hf.rows import Row, Shape, ffn, gqa, heads_of, kinds, layer, seen, start

NO_WINDOW_GIVEN = "missing; give null where all tokens are visible (a missing one would mean the library's default)"


def llama(config: Config) -> Shape:
    """Llama; biases of attention on all four projections, of the feed-forward on all three."""
    shape = start(config)
    return _plain(config, shape, bias="all" if config.flag("attention_bias") else "none")


def granite(config: Config) -> Shape:
    """Granite: Llama with scalars on residuals, logits and embeddings."""
    return llama(config)


def mistral(config: Config) -> Shape:
    """Mistral; a window, where given, is that of every layer."""
    if "sliding_window" not in config.data:
        raise config.error("sliding_window", NO_WINDOW_GIVEN, value="")
    shape = start(config)
    return _plain(config, shape, window=config.count("sliding_window", default=None))


def phi3(config: Config) -> Shape:
    """Phi-3 and Phi-4: fused projections, no biases."""
    config.off("attention_bias", "mlp_bias", "lm_head_bias", why="Phi-3 has no biases")
    config.must("full_attn_mod", 1, why="windows in some layers only are not understood")
    config.ignore("interpolate_factor")
    shape = start(config)
    return _plain(config, shape, window=config.count("sliding_window", default=None))


def qwen2(config: Config) -> Shape:
    """Qwen 2 and 2.5: biases on Q, K and V."""
    config.must("attention_bias_qkv", True, why="Qwen 2 has biases on Q, K and V")
    shape = start(config)
    return _qwen(config, shape, bias="qkv")


def qwen3(config: Config) -> Shape:
    """Qwen 3: a norm of head width on Q and K; `attention_bias` means all four projections."""
    config.must("use_qk_norm", True)
    shape = start(config)
    config.count("head_dim")
    return _qwen(config, shape, bias="all" if config.flag("attention_bias") else "none", qk_norm=True)


def mimo(config: Config) -> Shape:
    """MiMo: Qwen 2 with layers for drafts, each of a full layer."""
    shape = start(config)
    bias = "qkv" if config.flag("attention_bias", default=True) else "none"
    shape = _qwen(config, shape, bias=bias)
    modules = config.count("num_nextn_predict_layers", default=0, least=0)
    if modules:
        shape.mtp = modules, [shape.layers[-1]]
    return shape


def glm4(config: Config) -> Shape:
    """GLM-4 0414: a norm before and after attention and feed-forward; biases on Q, K and V where asked for."""
    shape = start(config)
    return _plain(config, shape, norms=4, bias="qkv" if config.flag("attention_bias") else "none")


def olmo2(config: Config) -> Shape:
    """OLMo 2: norms after attention and feed-forward, and over all heads of Q and of K."""
    shape = start(config)
    return _plain(config, shape, bias="all" if config.flag("attention_bias") else "none", qk_norm="whole")


def cohere(config: Config) -> Shape:
    """Command R: attention and feed-forward side by side after one norm; tied unless told otherwise."""
    shape = start(config, tied=True)
    whole = "whole" if config.flag("use_qk_norm") else False
    return _plain(config, shape, norms=1, bias="all" if config.flag("attention_bias") else "none", qk_norm=whole)


def internlm2(config: Config) -> Shape:
    """InternLM 2: one flag for the biases of all projections of attention."""
    shape = start(config)
    return _plain(config, shape, bias="all" if config.flag("bias") else "none")


def nemotron_nas(config: Config) -> Shape:
    """Nemotron of a searched architecture (DeciLM): each layer has its own KV heads and feed-forward, or none."""
    config.off("attention_bias", "mlp_bias", why="biases are not understood for this family")
    config.ignore("num_key_value_heads", "intermediate_size")  # null here: block_configs says it
    shape = start(config)
    heads = config.count("num_attention_heads")
    width = config.count("head_dim", default=shape.hidden // heads)
    count = config.count("num_hidden_layers")
    dropped = 0
    for index, block in enumerate(config.items("block_configs", count) or []):
        row = _searched(config, index, block, shape.hidden, heads, width)
        if row is None:
            dropped += 1
        else:
            shape.layers.append(row)
    if not shape.layers:
        raise config.error("block_configs", "no layer does anything")
    if dropped:
        shape.notes.append(f"Layers with neither attention nor feed-forward are left out: {dropped} of {count}.")
    return shape


def _searched(config: Config, index: int, block: object, hidden: int, heads: int, width: int) -> Row | None:
    """One layer of a searched architecture; None where it does nothing."""
    where = f"block_configs[{index}]"
    attention, inner = (block.get("attention"), block.get("ffn")) if isinstance(block, dict) else (None, None)
    if not isinstance(attention, dict) or not isinstance(inner, dict):
        raise config.error("block_configs", f"{where}: expected attention and ffn", value="")
    known = {"no_op", "n_heads_in_group", "ffn_mult"}
    for name, value in {**attention, **inner}.items():
        if name not in known and value not in (None, False, 0):
            raise config.error("block_configs", f"{where}: {name} = {value!r} is not understood", value="")
    row = layer(norms=2 - bool(attention.get("no_op")) - bool(inner.get("no_op")))
    if not attention.get("no_op"):
        group = attention.get("n_heads_in_group")
        if not isinstance(group, int) or group < 1 or heads % group:
            raise config.error("block_configs", f"{where}: n_heads_in_group = {group!r} for {heads} heads", value="")
        row["attention"] = gqa(heads, heads // group, width)
    if not inner.get("no_op"):
        mult = inner.get("ffn_mult")
        if not isinstance(mult, int | float) or mult <= 0:
            raise config.error("block_configs", f"{where}: ffn_mult = {mult!r}", value="")
        # two thirds of the multiple of hidden, rounded up to a multiple of 256
        row["ffn"] = ffn(3, -(-int(2 * mult * hidden / 3) // 256) * 256)
    return row if len(row) > 2 else None


def _plain(
    config: Config,
    shape: Shape,
    *,
    bias: str = "none",
    norms: int = 2,
    window: int | None = None,
    qk_norm: bool | str = False,
) -> Shape:
    """Equal layers in the usual words."""
    count = config.count("num_hidden_layers")
    kinds(config, count, ["full_attention"] if window is None else ["sliding_attention"])
    heads, kv_heads, width = heads_of(config, shape.hidden)
    attention = gqa(heads, kv_heads, width, window=seen(shape, window), bias=bias, qk_norm=qk_norm)
    inner = ffn(3, config.count("intermediate_size"), bias=config.flag("mlp_bias"))
    shape.layers = [layer(attention, norms=norms, ffn=inner)] * count
    return shape


def _qwen(config: Config, shape: Shape, *, bias: str, qk_norm: bool = False) -> Shape:
    attentions = qwen_attention(config, shape, bias=bias, qk_norm=qk_norm)
    inner = ffn(3, config.count("intermediate_size"))
    shape.layers = [layer(attention, ffn=inner) for attention in attentions]
    return shape


def qwen_attention(config: Config, shape: Shape, *, bias: str = "none", qk_norm: bool = False) -> list[Row]:
    """Attention of each layer of a Qwen: where `use_sliding_window`, layers from `max_window_layers` on have one."""
    count = config.count("num_hidden_layers")
    window = config.count("sliding_window", default=None)
    used = config.flag("use_sliding_window") and window is not None
    config.ignore("max_window_layers")
    types = kinds(config, count, ("full_attention", "sliding_attention"))
    if types is None:
        first = config.count("max_window_layers") if used else count
        types = ["full_attention" if index < first else "sliding_attention" for index in range(count)]
    elif "sliding_attention" in types and not used:
        raise config.error("layer_types", "sliding_attention without use_sliding_window and sliding_window", value="")
    heads, kv_heads, width = heads_of(config, shape.hidden)
    plain = gqa(heads, kv_heads, width, bias=bias, qk_norm=qk_norm)
    windowed = gqa(heads, kv_heads, width, window=seen(shape, window), bias=bias, qk_norm=qk_norm)
    return [windowed if kind == "sliding_attention" else plain for kind in types]
