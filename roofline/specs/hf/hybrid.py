"""Families with linear attention in most layers: Qwen3-Next, Qwen 3.5, Nemotron-H."""

from __future__ import annotations

from roofline.specs.hf.config import Config
from roofline.specs.hf.moe import limit_groups, qwen_experts, qwen_sparse
from roofline.specs.hf.rows import Modules, Row, Shape, experts, ffn, gqa, heads_of, kinds, layer, start

LINEAR, FULL = "linear_attention", "full_attention"
SCAN_CHUNK = 64
"""Tokens that the usual kernels of the delta rule take at once."""

SCAN_CHUNK_REF = "the chunk of the usual kernels (flash-linear-attention, transformers); no config.json has it"

BLOCKS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
"""Letters of Nemotron-H patterns."""


def qwen3_next(config: Config) -> Shape:
    """Qwen3-Next: three gated delta nets to one gated attention; experts in every layer, shared ones behind a gate."""
    shape = start(config)
    attentions = _attentions(config, shape)
    mixture, sparse = qwen_experts(config), qwen_sparse(config, len(attentions))
    config.ignore("intermediate_size")
    dense = None if all(sparse) else ffn(3, config.count("intermediate_size"))
    shape.layers = [
        layer(attention, experts=mixture) if routed else layer(attention, ffn=dense)
        for attention, routed in zip(attentions, sparse, strict=True)
    ]
    return _with_drafts(config, shape, attentions, {"experts": mixture})


def qwen3_5(config: Config) -> Shape:
    """Qwen 3.5, dense."""
    shape = start(config)
    attentions = _attentions(config, shape)
    inner = ffn(3, config.count("intermediate_size"))
    shape.layers = [layer(attention, ffn=inner) for attention in attentions]
    return _with_drafts(config, shape, attentions, {"ffn": inner})


def qwen3_5_moe(config: Config) -> Shape:
    """Qwen 3.5 with experts in every layer."""
    config.off("mlp_only_layers", why="layers without experts are not understood for this family")
    config.ignore("intermediate_size")
    shape = start(config)
    attentions = _attentions(config, shape)
    mixture = qwen_experts(config)
    shape.layers = [layer(attention, experts=mixture) for attention in attentions]
    return _with_drafts(config, shape, attentions, {"experts": mixture})


def _attentions(config: Config, shape: Shape) -> list[Row]:
    """Attention of each layer: every `full_attention_interval`-th is full, with a gate and norms on Q and K."""
    config.must("attn_output_gate", True)
    config.must("mamba_ssm_dtype", "float32")  # the state; recipes keep it in fp32
    count = config.count("num_hidden_layers")
    every = config.count("full_attention_interval", default=4)
    types = kinds(config, count, (LINEAR, FULL))
    if types is None:
        types = [FULL if (index + 1) % every == 0 else LINEAR for index in range(count)]
    config.count("head_dim")
    bias = "all" if config.flag("attention_bias") else "none"
    full = gqa(*heads_of(config, shape.hidden), gate=True, qk_norm=True, bias=bias)
    linear = {
        "kind": "gated_delta_net",
        "value_heads": config.count("linear_num_value_heads"),
        "key_heads": config.count("linear_num_key_heads"),
        "key_dim": config.count("linear_key_head_dim"),
        "value_dim": config.count("linear_value_head_dim"),
        "conv": config.count("linear_conv_kernel_dim"),
        "scan_chunk": SCAN_CHUNK,
    }
    return [full if kind == FULL else linear for kind in types]


def _with_drafts(config: Config, shape: Shape, attentions: list[Row], part: dict[str, Row]) -> Shape:
    """The layer for multi-token prediction: one of full attention."""
    config.off("mtp_use_dedicated_embeddings", why="an embedding of its own for drafts is not understood")
    modules = config.count("mtp_num_hidden_layers", "num_nextn_predict_layers", default=0, least=0)
    if modules > 1:
        raise config.error("mtp_num_hidden_layers", "more than one is not understood")
    full = [attention for attention in attentions if attention["kind"] == "gqa"]
    if modules and full:
        shape.mtp = 1, [layer(full[0]) | part]
    shape.modules = Modules(shared_experts="mlp.shared_expert")
    return shape


def nemotron_h(config: Config) -> Shape:
    """Nemotron-H and Nemotron 3: each layer is one of Mamba-2, attention, feed-forward or experts, after one norm."""
    for name in ("use_bias", "mlp_bias", "mamba_proj_bias"):
        config.off(name, why="biases of these projections are not understood")
    config.off("sliding_window", why="a window is not understood for this family")
    config.ignore("expand", "mamba_hidden_act", "mlp_hidden_act", "moe_shared_expert_overlap", "time_step_rank")
    config.must("mamba_ssm_cache_dtype", "float32")  # the state; recipes keep it in fp32
    shape = start(config)
    blocks = _blocks(config, "hybrid_override_pattern", "layers_block_type")
    if blocks is None:
        raise config.error("hybrid_override_pattern", "missing; layers_block_type would do", value="")
    config.must("num_hidden_layers", len(blocks), why=f"the pattern has {len(blocks)} layers")
    rows = _rows(config, shape, set(blocks))
    shape.layers = [rows[block] for block in blocks]
    limit_groups(config, shape)
    drafted = _blocks(config, "mtp_hybrid_override_pattern", "mtp_layers_block_type")
    modules = config.count("num_nextn_predict_layers", default=0, least=0)
    if modules and drafted:
        unknown = set(drafted) - set(rows)
        rows |= _rows(config, shape, unknown)
        shape.mtp = modules, [rows[block] for block in drafted]
    elif modules:
        raise config.error("num_nextn_predict_layers", "without mtp_hybrid_override_pattern")
    shape.modules = Modules("mixer", "mixer", "mixer", "mixer.experts", "mixer.shared_experts")
    return shape


def _blocks(config: Config, pattern: str, names: str) -> list[str] | None:
    """Kinds of layers, from a pattern of letters or a list of names; None where there is neither."""
    letters, listed = config.word(pattern), config.items(names)
    if letters:
        for letter in letters:
            if letter not in BLOCKS:
                raise config.error(pattern, f"{letter!r} is not understood", f"known: {' '.join(BLOCKS)}", value="")
        spelled = [BLOCKS[letter] for letter in letters]
        if listed and listed != spelled:
            raise config.error(names, f"differs from {pattern}", value="")
        return spelled
    for name in listed or []:
        if name not in BLOCKS.values():
            hint = f"known: {', '.join(BLOCKS.values())}"
            raise config.error(names, f"{name!r} is not understood", hint, value="")
    return listed


def _rows(config: Config, shape: Shape, blocks: set[str]) -> dict[str, Row]:
    """One row for each kind of layer that there is. Feed-forwards have squared ReLU and so no gate."""
    config.must("mlp_hidden_act", "relu2", why="only relu2, without a gate, is understood")
    rows = {}
    if "mamba" in blocks:
        mamba = {
            "kind": "mamba2",
            "heads": config.count("mamba_num_heads"),
            "head_dim": config.count("mamba_head_dim"),
            "groups": config.count("n_groups"),
            "state": config.count("ssm_state_size"),
            "conv": config.count("conv_kernel"),
            "scan_chunk": config.count("chunk_size"),
        }
        if config.flag("use_conv_bias", default=True):
            mamba["conv_bias"] = True
        rows["mamba"] = layer(mamba, norms=1)
    if "attention" in blocks:
        heads = config.count("num_attention_heads")
        width = config.count("head_dim", "attention_head_dim")
        bias = "all" if config.flag("attention_bias") else "none"
        rows["attention"] = layer(gqa(heads, config.count("num_key_value_heads"), width, bias=bias), norms=1)
    if "mlp" in blocks:
        rows["mlp"] = layer(norms=1, ffn=ffn(2, config.count("intermediate_size")))
    if "moe" in blocks:
        shared = config.count("n_shared_experts", default=0, least=0)
        each = config.count("moe_shared_expert_intermediate_size", default=0, least=0)
        mixture = experts(
            config.count("n_routed_experts"),
            config.count("num_experts_per_tok"),
            config.count("moe_intermediate_size"),
            hidden=config.count("moe_latent_size", default=0, least=0),
            matrices=2,
            router_bias=True,
            shared_inner=shared * each,
        )
        rows["moe"] = layer(norms=1, experts=mixture)
    config.ignore("intermediate_size", "n_groups", "chunk_size")
    return rows
