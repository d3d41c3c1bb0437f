"""Families before Llama: layer norms with biases, feed-forwards without a gate, learned or no positions."""

from __future__ import annotations

from roofline.specs.hf.config import Config
from roofline.specs.hf.rows import Row, Shape, ffn, gqa, heads_of, layer, seen, start

ENDS = "Biases of the last norm and of the lm_head and a norm of the embedding, where there are such, are not counted."


def gpt2(config: Config) -> Shape:
    """GPT-2: learned positions, biases everywhere, tied."""
    config.off("add_cross_attention", why="cross-attention is not understood")
    config.ignore("n_ctx")
    shape = Shape(
        hidden=config.count("n_embd"),
        vocab=config.count("vocab_size"),
        tied=config.flag("tie_word_embeddings", default=True),
        max_context=config.count("n_positions"),
    )
    shape.position_rows = shape.max_context
    heads = config.count("n_head")
    inner = config.count("n_inner", default=4 * shape.hidden)
    return _layers(config, shape, "n_layer", _equal_heads(config, shape, heads, "n_head", bias="all"), inner)


def gptj(config: Config) -> Shape:
    """GPT-J: attention and feed-forward side by side after one norm, biases in the feed-forward only."""
    config.ignore("n_ctx")
    shape = Shape(
        hidden=config.count("n_embd"),
        vocab=config.count("vocab_size"),
        tied=config.flag("tie_word_embeddings"),
        max_context=config.count("n_positions"),
    )
    attention = _equal_heads(config, shape, config.count("n_head"), "n_head")
    inner = config.count("n_inner", default=4 * shape.hidden)
    return _layers(config, shape, "n_layer", attention, inner, norms=1)


def gpt_neox(config: Config) -> Shape:
    """GPT-NeoX and Pythia: two norms whether in parallel or not, biases everywhere."""
    config.ignore("use_parallel_residual")
    shape = start(config)
    heads = config.count("num_attention_heads")
    bias = "all" if config.flag("attention_bias", default=True) else "none"
    attention = _equal_heads(config, shape, heads, "num_attention_heads", bias=bias)
    return _layers(config, shape, "num_hidden_layers", attention, config.count("intermediate_size"))


def opt(config: Config) -> Shape:
    """OPT: learned positions with two rows to spare, biases everywhere, tied."""
    shape = start(config, tied=True)
    config.must("word_embed_proj_dim", shape.hidden, why="an embedding of another width is not understood")
    config.must("do_layer_norm_before", True, why="only norms before attention and feed-forward are understood")
    config.must("enable_bias", True)
    config.must("layer_norm_elementwise_affine", True)
    config.off("_remove_final_layer_norm", why="a model without its last norm is not understood")
    config.ignore("layerdrop")
    shape.position_rows = shape.max_context + 2
    heads = config.count("num_attention_heads")
    attention = _equal_heads(config, shape, heads, "num_attention_heads", bias="all")
    return _layers(config, shape, "num_hidden_layers", attention, config.count("ffn_dim"))


def bloom(config: Config) -> Shape:
    """BLOOM: ALiBi, biases everywhere, tied."""
    shape = Shape(
        hidden=config.count("hidden_size", "n_embed"),
        vocab=config.count("vocab_size"),
        tied=config.flag("tie_word_embeddings", default=True),
        max_context=config.count("seq_length", default=2048),
    )
    heads = config.count("n_head", "num_attention_heads")
    attention = _equal_heads(config, shape, heads, "n_head", bias="all")
    field = "n_layer" if "n_layer" in config.data else "num_hidden_layers"
    return _layers(config, shape, field, attention, 4 * shape.hidden)


def falcon(config: Config) -> Shape:
    """Falcon: three generations, told apart by `new_decoder_architecture`, `multi_query` and `parallel_attn`."""
    config.ignore("alibi")
    shape = Shape(
        hidden=config.count("hidden_size"),
        vocab=config.count("vocab_size"),
        tied=config.flag("tie_word_embeddings", default=True),
        max_context=config.count("max_position_embeddings", default=2048),
    )
    heads = config.count("num_attention_heads", "n_head")
    new, multi = config.flag("new_decoder_architecture"), config.flag("multi_query", default=True)
    parallel, bias = config.flag("parallel_attn", default=True), config.flag("bias")
    given = config.count("num_kv_heads", "n_head_kv", default=heads)
    kv_heads = given if new else 1 if multi else heads
    norms = config.count("num_ln_in_parallel_attn", default=2) if new else 1 if parallel else 2
    attention = _equal_heads(config, shape, heads, "num_attention_heads", bias="all" if bias else "none")
    attention["kv_heads"] = kv_heads
    inner = config.count("ffn_hidden_size", default=4 * shape.hidden)
    field = "num_hidden_layers" if "num_hidden_layers" in config.data else "n_layer"
    return _layers(config, shape, field, attention, inner, norms=norms, bias=bias)


def starcoder2(config: Config) -> Shape:
    """StarCoder 2: layer norms, feed-forwards without a gate, one window for all layers."""
    config.must("norm_type", "layer_norm")
    config.must("mlp_type", "default")
    shape = start(config, tied=None)
    bias = config.flag("use_bias", default=True)
    window = seen(shape, config.count("sliding_window", default=None))
    attention = gqa(*heads_of(config, shape.hidden), window=window, bias="all" if bias else "none")
    return _layers(config, shape, "num_hidden_layers", attention, config.count("intermediate_size"), bias=bias)


def _equal_heads(config: Config, shape: Shape, heads: int, field: str, *, bias: str = "none") -> Row:
    if shape.hidden % heads:
        raise config.error(field, f"do not divide a width of {shape.hidden}")
    return gqa(heads, heads, shape.hidden // heads, bias=bias)


def _layers(
    config: Config, shape: Shape, field: str, attention: Row, inner: int, *, norms: int = 2, bias: bool = True
) -> Shape:
    """Equal layers with layer norms and a feed-forward of two matrices."""
    row = layer(attention, norms=norms, norm_bias=True, ffn=ffn(2, inner, bias=bias))
    shape.layers = [row] * config.count(field)
    shape.notes.append(ENDS)
    return shape
