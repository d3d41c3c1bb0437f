"""Families with multi-head latent attention: DeepSeek V2 and V3, Kimi K2, and with sparse selection V3.2 and GLM 5."""

from __future__ import annotations

from roofline.specs.hf.config import Config
from roofline.specs.hf.moe import drafts, limit_groups
from roofline.specs.hf.rows import Row, Shape, deepseek_experts, ffn, layer, start


def deepseek_v2(config: Config) -> Shape:
    """DeepSeek V2: experts chosen by softmax, in groups where `topk_method` says so."""
    config.must("topk_method", "greedy", "group_limited_greedy", "noaux_tc")
    limited = config.word("topk_method") != "greedy"
    if not limited:
        config.ignore("n_group", "topk_group")
    return _deepseek(config, limited=limited, balanced=config.word("topk_method") == "noaux_tc")


def deepseek_v3(config: Config) -> Shape:
    """DeepSeek V3 and R1, Kimi K2: a balancing term per expert."""
    config.must("topk_method", "noaux_tc")
    return _deepseek(config)


def deepseek_v32(config: Config) -> Shape:
    """DeepSeek V3.2: an indexer in every layer selects what attention reads."""
    config.must("topk_method", "noaux_tc")
    count = config.count("num_hidden_layers")
    return _deepseek(config, indexed=[True] * count)


def glm_moe_dsa(config: Config) -> Shape:
    """GLM 5: as DeepSeek V3.2; later ones have an indexer in some layers, whose selection the next ones take over."""
    config.must("topk_method", "noaux_tc")
    # head_dim is that of the rotary part or of the rest, by version; the three widths of MLA say it all
    config.ignore("head_dim", "index_topk_freq", "index_skip_topk_offset", "index_share_for_mtp_iteration")
    config.ignore("indexer_rope_interleave")
    config.off("index_topk_pattern", why="only indexer_types is understood")
    count = config.count("num_hidden_layers")
    given = config.items("indexer_types", count)
    if given is None and config.count("index_topk_freq", default=1) != 1:
        raise config.error("indexer_types", "missing with index_topk_freq above 1", value="")
    for kind in given or []:
        if kind not in ("full", "shared"):
            raise config.error("indexer_types", f"{kind!r} is not understood", "known: full, shared", value="")
    if given and given[0] != "full":
        raise config.error("indexer_types", "the first layer has no earlier selection to take over", value="")
    nope, rope = config.count("qk_nope_head_dim"), config.count("qk_rope_head_dim")
    config.must("qk_head_dim", nope + rope, why=f"differs from {nope} + {rope}")
    return _deepseek(config, indexed=[kind == "full" for kind in given or ["full"] * count])


def _deepseek(
    config: Config, *, limited: bool = True, balanced: bool = True, indexed: list[bool] | None = None
) -> Shape:
    """The common shape. `indexed`: which layers have an indexer of their own; None where attention reads all."""
    config.off("attention_bias", why="biases of latent attention are not described by a sheet")
    shape = start(config)
    count = config.count("num_hidden_layers")
    config.ignore("num_key_value_heads")  # all heads share one latent
    attention = {
        "kind": "mla",
        "heads": config.count("num_attention_heads"),
        "q_lora": config.count("q_lora_rank", default=0, least=0),
        "kv_lora": config.count("kv_lora_rank"),
        "qk_nope": config.count("qk_nope_head_dim"),
        "qk_rope": config.count("qk_rope_head_dim"),
        "v_head": config.count("v_head_dim"),
    }
    mixture = deepseek_experts(config, balanced)
    dense = ffn(3, config.count("intermediate_size"))
    sparse = _sparse_layers(config, count)
    own, taken = _selections(config) if indexed else ({}, {})
    chosen = [own if one else taken for one in indexed or [False] * count]
    shape.layers = [
        layer(attention | selection, experts=mixture) if routed else layer(attention | selection, ffn=dense)
        for selection, routed in zip(chosen, sparse, strict=True)
    ]
    if limited:
        limit_groups(config, shape)
    drafts(config, shape, [layer(attention | own, experts=mixture)])
    return shape


def _sparse_layers(config: Config, count: int) -> list[bool]:
    """Which layers have experts."""
    given = config.items("mlp_layer_types", count)
    for kind in given or []:
        if kind not in ("dense", "sparse"):
            raise config.error("mlp_layer_types", f"{kind!r} is not understood", "known: dense, sparse", value="")
    first = config.count("first_k_dense_replace", default=0, least=0)
    every = config.count("moe_layer_freq", default=1)
    told = [index >= first and index % every == 0 for index in range(count)]
    if given is not None and [kind == "sparse" for kind in given] != told:
        if config.data.get("first_k_dense_replace") is not None:
            raise config.error("mlp_layer_types", f"differs from first_k_dense_replace = {first}", value="")
        return [kind == "sparse" for kind in given]
    return told


def _selections(config: Config) -> tuple[Row, Row]:
    """Sparse selection of a layer with an indexer, and of one that takes over an earlier one's."""
    top_k = config.count("index_topk")
    indexer = {"index_heads": config.count("index_n_heads"), "index_dim": config.count("index_head_dim")}
    return {"sparse": {"top_k": top_k, **indexer}}, {"sparse": {"top_k": top_k}}
