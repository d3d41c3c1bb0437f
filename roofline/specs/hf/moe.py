"""Families with routed experts and grouped-query attention."""

from __future__ import annotations

from roofline.specs.hf.config import Config
from roofline.specs.hf.dense import NO_WINDOW_GIVEN, qwen_attention
from roofline.specs.hf.rows import (
    Modules,
    Row,
    Shape,
    deepseek_experts,
    experts,
    ffn,
    gqa,
    heads_of,
    kinds,
    layer,
    seen,
    start,
)

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"


def mixtral(config: Config) -> Shape:
    """Mixtral: experts in every layer; a window, where given, is that of every layer."""
    if "sliding_window" not in config.data:
        raise config.error("sliding_window", NO_WINDOW_GIVEN, value="")
    shape = start(config)
    window = seen(shape, config.count("sliding_window", default=None))
    attention = gqa(*heads_of(config, shape.hidden), window=window)
    mixture = experts(
        config.count("num_local_experts"), config.count("num_experts_per_tok"), config.count("intermediate_size")
    )
    shape.layers = [layer(attention, experts=mixture)] * config.count("num_hidden_layers")
    shape.modules = Modules(experts="block_sparse_moe.experts")
    return shape


def qwen2_moe(config: Config) -> Shape:
    """Qwen 2 MoE: biases on Q, K and V; shared experts behind a gate."""
    shape = start(config)
    bias = "qkv" if config.flag("qkv_bias", default=True) else "none"
    return _qwen_moe(config, shape, bias=bias)


def qwen3_moe(config: Config) -> Shape:
    """Qwen 3 MoE: norms of head width on Q and K, no shared experts."""
    config.must("use_qk_norm", True)
    shape = start(config)
    config.count("head_dim")
    bias = "all" if config.flag("attention_bias") else "none"
    return _qwen_moe(config, shape, bias=bias, qk_norm=True, shared=False)


def qwen_experts(config: Config, *, shared: bool = True) -> Row:
    """The mixture of a Qwen; the shared experts have a gate, hidden -> 1."""
    return experts(
        config.count("num_experts"),
        config.count("num_experts_per_tok"),
        config.count("moe_intermediate_size"),
        shared_inner=config.count("shared_expert_intermediate_size") if shared else 0,
        shared_gate=shared,
    )


def qwen_sparse(config: Config, count: int) -> list[bool]:
    """Which layers of a Qwen have experts: every `decoder_sparse_step`-th, but not `mlp_only_layers`."""
    step = config.count("decoder_sparse_step", default=1)
    dense = config.items("mlp_only_layers") or []
    return [(index + 1) % step == 0 and index not in dense for index in range(count)]


def _qwen_moe(config: Config, shape: Shape, *, bias: str, qk_norm: bool = False, shared: bool = True) -> Shape:
    attentions = qwen_attention(config, shape, bias=bias, qk_norm=qk_norm)
    mixture, sparse = qwen_experts(config, shared=shared), qwen_sparse(config, len(attentions))
    config.ignore("intermediate_size")
    dense = None if all(sparse) else ffn(3, config.count("intermediate_size"))
    shape.layers = [
        layer(attention, experts=mixture) if has_experts else layer(attention, ffn=dense)
        for attention, has_experts in zip(attentions, sparse, strict=True)
    ]
    shape.modules = Modules(shared_experts="mlp.shared_expert")
    return shape


def glm4_moe(config: Config) -> Shape:
    """GLM 4.5 to 4.7: biases on Q, K and V where asked for, a balancing term per expert."""
    shape = start(config)
    bias = "qkv" if config.flag("attention_bias") else "none"
    attention = gqa(*heads_of(config, shape.hidden), bias=bias, qk_norm=config.flag("use_qk_norm"))
    count = config.count("num_hidden_layers")
    mixture = deepseek_experts(config, balanced=True)
    dense = config.count("first_k_dense_replace", default=0, least=0)
    thick = layer(attention, ffn=ffn(3, config.count("intermediate_size")))
    sparse = layer(attention, experts=mixture)
    shape.layers = [thick if index < dense else sparse for index in range(count)]
    limit_groups(config, shape)
    drafts(config, shape, [sparse])
    return shape


def minimax_m2(config: Config) -> Shape:
    """MiniMax M2: norms over all heads of Q and of K, a term per expert in the router."""
    shape = start(config)
    config.must("qk_norm_type", "per_layer")
    config.off("shared_intermediate_size", why="shared experts are not understood for this family")
    count = config.count("num_hidden_layers")
    for kind in config.items("attn_type_list", count) or []:
        if kind != 1:
            raise config.error("attn_type_list", f"only 1, full attention, is understood, not {kind!r}", value="")
    heads, kv_heads, width = heads_of(config, shape.hidden)
    attention = gqa(heads, kv_heads, width, qk_norm="whole" if config.flag("use_qk_norm") else False)
    mixture = experts(
        config.count("num_local_experts"),
        config.count("num_experts_per_tok"),
        config.count("intermediate_size"),
        router_bias=config.flag("use_routing_bias"),
    )
    row = layer(attention, experts=mixture)
    shape.layers = [row] * count
    modules = config.count("num_mtp_modules", default=0, least=0)
    deep = config.count("mtp_transformer_layers", default=1)
    if config.flag("use_mtp") and modules:
        shape.mtp = modules, [row] * deep
    shape.modules = Modules(experts="block_sparse_moe.experts")
    return shape


def gpt_oss(config: Config) -> Shape:
    """gpt-oss: a window in every other layer, sinks, biases everywhere."""
    shape = start(config)
    count = config.count("num_hidden_layers")
    types = kinds(config, count, (FULL, SLIDING))
    if types is None:
        types = [SLIDING if (index + 1) % 2 else FULL for index in range(count)]
    config.ignore("experts_per_token")  # num_experts_per_tok once more
    bias = "all" if config.flag("attention_bias", default=True) else "none"
    heads, kv_heads, width = heads_of(config, shape.hidden)
    window = seen(shape, config.count("sliding_window"))
    mixture = experts(
        config.count("num_local_experts"),
        config.count("num_experts_per_tok", "experts_per_token"),
        config.count("intermediate_size"),
        bias=True,
        router_bias=True,
    )
    rows = {
        SLIDING: layer(gqa(heads, kv_heads, width, window=window, bias=bias, sinks=True), experts=mixture),
        FULL: layer(gqa(heads, kv_heads, width, bias=bias, sinks=True), experts=mixture),
    }
    shape.layers = [rows[kind] for kind in types]
    return shape


def llama4(config: Config) -> Shape:
    """Llama 4: three layers of four see their own chunk only; experts in every n-th layer, one of them shared."""
    config.ignore("use_qk_norm", "for_llm_compressor")  # a norm without weights
    shape = start(config)
    count = config.count("num_hidden_layers")
    types = kinds(config, count, (FULL, CHUNKED))
    roped = config.items("no_rope_layers", count) or None
    every = config.count("no_rope_layer_interval", default=4)
    if types is None:
        roped = roped or [int((index + 1) % every != 0) for index in range(count)]
        types = [CHUNKED if rope else FULL for rope in roped]
    chunk = seen(shape, config.count("attention_chunk_size", default=None))
    bias = "all" if config.flag("attention_bias") else "none"
    heads, kv_heads, width = heads_of(config, shape.hidden)
    rows = {
        CHUNKED: gqa(heads, kv_heads, width, chunk=chunk, bias=bias),
        FULL: gqa(heads, kv_heads, width, bias=bias),
    }
    inner = config.count("intermediate_size")
    mixture = experts(config.count("num_local_experts"), config.count("num_experts_per_tok"), inner, shared_inner=inner)
    step = config.count("interleave_moe_layer_step", default=1)
    listed = config.items("moe_layers")
    sparse = listed if listed is not None else list(range(step - 1, count, step))
    config.ignore("intermediate_size_mlp")
    dense = None if len(sparse) == count else ffn(3, config.count("intermediate_size_mlp"))
    shape.layers = [
        layer(rows[kind], experts=mixture) if index in sparse else layer(rows[kind], ffn=dense)
        for index, kind in enumerate(types)
    ]
    shape.modules = Modules(
        dense_ffn="feed_forward", experts="feed_forward.experts", shared_experts="feed_forward.shared_expert"
    )
    return shape


def mimo_v2_flash(config: Config) -> Shape:
    """MiMo V2: layers with a window have KV heads, widths and sinks of their own; drafts come from dense ones."""
    config.off("attention_bias", why="biases are not understood for this family")
    shape = start(config)
    count = config.count("num_hidden_layers")
    window = config.count("sliding_window", "sliding_window_size")
    for name in ("sliding_window_size", "attention_chunk_size"):
        config.must(name, window, why=f"differs from sliding_window = {window}")
    heads, kv_heads, width = heads_of(config, shape.hidden)
    full = gqa(
        heads,
        kv_heads,
        width,
        v_head_dim=config.count("v_head_dim", default=width),
        sinks=config.flag("add_full_attention_sink_bias"),
    )
    local_width = config.count("swa_head_dim", default=width)
    local = gqa(
        config.count("swa_num_attention_heads", default=heads),
        config.count("swa_num_key_value_heads", default=kv_heads),
        local_width,
        v_head_dim=config.count("swa_v_head_dim", default=local_width),
        window=seen(shape, window),
        sinks=config.flag("add_swa_attention_sink_bias"),
    )
    mixture = deepseek_experts(config, config.word("topk_method") == "noaux_tc")
    dense = ffn(3, config.count("intermediate_size"))
    windowed, sparse = config.items("hybrid_layer_pattern", count), config.items("moe_layer_freq", count)
    if windowed is None or sparse is None:
        raise config.error("hybrid_layer_pattern" if windowed is None else "moe_layer_freq", "missing", value="")
    shape.layers = [
        layer(local if near else full, experts=mixture) if routed else layer(local if near else full, ffn=dense)
        for near, routed in zip(windowed, sparse, strict=True)
    ]
    limit_groups(config, shape)
    drafts(config, shape, [layer(local, ffn=dense)])
    return shape


def limit_groups(config: Config, shape: Shape) -> None:
    """Group-limited routing: a token may reach `topk_group` of `n_group` groups of experts."""
    groups = config.count("n_group", default=1)
    chosen = config.count("topk_group", default=groups)
    if groups > 1 and chosen < groups:
        shape.route_groups = chosen


def drafts(config: Config, shape: Shape, rows: list[Row]) -> None:
    """Layers for multi-token prediction, of the given kind."""
    modules = config.count("num_nextn_predict_layers", default=0, least=0)
    if modules:
        shape.mtp = modules, rows
