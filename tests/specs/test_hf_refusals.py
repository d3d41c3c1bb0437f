"""A config.json that is not understood is refused with file, line, field and reason; never taken for another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from roofline.errors import InputError
from roofline.specs import Model
from roofline.specs.hf.fields import could_matter, harmless

CONFIGS = Path(__file__).parents[1] / "data" / "configs"


def changed(tmp_path: Path, name: str, *gone: str, inner: str = "", **fields: Any) -> Path:
    """A test file with fields changed or taken away, one field a line. `inner`: under this field."""
    data = json.loads((CONFIGS / f"{name}.json").read_text())
    target = data[inner] if inner else data
    target.update(fields)
    for field in gone:
        del target[field]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(data, indent=1))
    return path


def refusal(path: Path) -> str:
    """What is said of a file."""
    with pytest.raises(InputError) as error:
        Model.from_hf(path)
    return str(error.value)


def line_of(path: Path, field: str) -> int:
    """Line of a field."""
    lines = path.read_text().splitlines()
    return 1 + next(index for index, line in enumerate(lines) if f'"{field}"' in line)


@pytest.mark.parametrize(
    ("name", "fields", "field", "said"),
    [
        (
            "llama-3.1-8b",
            {"model_type": "no_such_model"},
            "model_type",
            "known: bloom, cohere, .*llama.*; a model sheet",
        ),
        ("llama-3.1-8b", {"architectures": ["LlamaForSequenceClassification"]}, "architectures", "LlamaForCausalLM"),
        ("llama-3.1-8b", {"num_memory_layers": 4}, "num_memory_layers", "not understood for llama"),
        ("llama-3.1-8b", {"sliding_window": 4096}, "sliding_window", "could change the shape"),
        ("llama-3.1-8b", {"linear_attn_config": {"heads": 4}}, "linear_attn_config", "could change the shape"),
        ("llama-3.1-8b", {"attention_bias": "yes"}, "attention_bias", "true or false"),
        ("llama-3.1-8b", {"num_hidden_layers": -1}, "num_hidden_layers", "whole number of at least 1"),
        ("llama-3.1-8b", {"hidden_size": "4096"}, "hidden_size", "whole number"),
        ("llama-3.1-8b", {"num_attention_heads": 33}, "num_attention_heads", "divide hidden_size = 4096"),
        ("llama-3.1-8b", {"layer_types": ["linear_attention"] * 32}, "layer_types", "'linear_attention' is not"),
        ("llama-3.1-8b", {"is_encoder_decoder": True}, "is_encoder_decoder", "only decoders"),
        ("qwen3-30b-a3b", {"decoder_sparse_step": "2"}, "decoder_sparse_step", "whole number"),
        ("qwen3-30b-a3b", {"use_qk_norm": False}, "use_qk_norm", "only true"),
        ("gemma-2-27b", {"layer_types": ["full_attention"]}, "layer_types", "1 entries for 46 layers"),
        ("gemma-2-27b", {"layer_types": "full_attention"}, "layer_types", "expected a list"),
        ("starcoder2-15b", {"mlp_type": "gated"}, "mlp_type", "only 'default'"),
        ("opt-6.7b", {"word_embed_proj_dim": 512}, "word_embed_proj_dim", "embedding of another width"),
        ("deepseek-v3", {"attention_bias": True}, "attention_bias", "biases of latent attention"),
        ("deepseek-v3", {"topk_method": "hashed"}, "topk_method", "only 'noaux_tc'"),
        ("deepseek-v2-lite", {"compress_ratios": [4, 128]}, "compress_ratios", "could change the shape"),
        ("glm-5.2", {"indexer_types": ["shared"] * 78}, "indexer_types", "no earlier selection"),
        ("glm-5.2", {"mlp_layer_types": ["sparse"] * 78}, "mlp_layer_types", "first_k_dense_replace = 3"),
        ("glm-5.2", {"qk_head_dim": 64}, "qk_head_dim", "192 \\+ 64"),
        ("minimax-m2", {"attn_type_list": [1] * 61 + [0]}, "attn_type_list", "full attention"),
        ("minimax-m2", {"qk_norm_type": "per_head"}, "qk_norm_type", "only 'per_layer'"),
        ("mimo-v2-flash", {"attention_chunk_size": 256}, "attention_chunk_size", "sliding_window = 128"),
        ("nemotron-h-56b", {"mlp_hidden_act": "silu"}, "mlp_hidden_act", "only relu2"),
        ("nemotron-h-56b", {"hybrid_override_pattern": "M-X"}, "hybrid_override_pattern", "'X' is not understood"),
        ("nemotron-h-56b", {"num_hidden_layers": 117}, "num_hidden_layers", "pattern has 118 layers"),
        ("nemotron-h-56b", {"mamba_ssm_cache_dtype": "float16"}, "mamba_ssm_cache_dtype", "only 'float32'"),
        ("qwen3-next-80b-a3b", {"attn_output_gate": False}, "attn_output_gate", "only true"),
        ("qwen2.5-7b", {"layer_types": ["sliding_attention"] * 28}, "layer_types", "without use_sliding_window"),
    ],
)
def test_what_is_not_understood_is_named_with_its_line(
    tmp_path: Path, name: str, fields: dict[str, Any], field: str, said: str
) -> None:
    path = changed(tmp_path, name, **fields)
    text = refusal(path)
    assert text.startswith(f"{path}:{line_of(path, field)}: {field}")
    assert re.search(said, text), text


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("llama-3.1-8b", "num_hidden_layers"),
        ("mistral-large-2", "sliding_window"),
        ("starcoder2-15b", "tie_word_embeddings"),
        ("deepseek-v3", "kv_lora_rank"),
        ("qwen3-0.6b", "head_dim"),
        ("gpt2", "n_positions"),
        ("mimo-v2-flash", "hybrid_layer_pattern"),
        ("nemotron-h-56b", "hybrid_override_pattern"),
    ],
)
def test_a_missing_field_is_named(tmp_path: Path, name: str, gone: str) -> None:
    path = changed(tmp_path, name, gone)
    assert refusal(path).startswith(f"{path}:1: {gone}: missing")


def test_a_field_of_the_text_model_is_named_by_its_path(tmp_path: Path) -> None:
    path = changed(tmp_path, "gemma-4-26b-a4b", inner="text_config", hidden_size_per_layer_input=256)
    line = line_of(path, "hidden_size_per_layer_input")
    assert f":{line}: text_config.hidden_size_per_layer_input = 256: per-layer embeddings" in refusal(path)
    path = changed(tmp_path, "kimi-k2.5", inner="text_config", tie_word_embeddings=True)
    assert "text_config.tie_word_embeddings = true: differs" in refusal(path)
    path = changed(tmp_path, "kimi-k2.5", "hidden_size", inner="text_config")
    assert f"config.json:{line_of(path, 'text_config')}: text_config.hidden_size: missing" in refusal(path)


def test_a_wrapper_must_be_known_and_fit(tmp_path: Path) -> None:
    assert "the family video_llama is not known" in refusal(changed(tmp_path, "kimi-k2.5", model_type="video_llama"))
    assert "a text model kimi_k2 inside" in refusal(changed(tmp_path, "kimi-k2.5", model_type="gemma3"))
    assert "num_cross_layers" in refusal(changed(tmp_path, "kimi-k2.5", num_cross_layers=4))


def test_every_refused_field_is_said_at_once(tmp_path: Path) -> None:
    text = refusal(changed(tmp_path, "llama-3.1-8b", num_extra_heads=4, window_pattern=[1, 2]))
    assert text.startswith("2 mistakes")
    assert "num_extra_heads" in text
    assert "window_pattern" in text


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("deepseek_v4", {"compress_ratios": [0, 4, 128], "hc_mult": 4}, "compress_ratios.*compressed caches"),
        ("minimax_m3", {"sparse_attention_config": {"sparse_topk_blocks": 16}}, "sparse_attention_config.*blocks"),
        ("step3p7", {"layer_types": ["sliding_attention"]}, "layer_types.*heads and gates"),
        ("kimi_k3", {"text_config": {"linear_attn_config": {}}}, r"text_config\.linear_attn_config.*Kimi delta"),
    ],
)
def test_families_known_not_to_be_described(tmp_path: Path, kind: str, fields: dict[str, Any], said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": kind, **fields}, indent=1))
    assert re.search(f"{kind} is not described by a sheet", refusal(path))
    assert re.search(said, refusal(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{\n 'a': 1}", ":2: not JSON"),
        (b"<html>", ":1: not JSON.*page"),
        (b"[1]", ":1: expected the fields of a model, found a list"),
        (b'{\n "a": "\xff"}', ":2: not UTF-8"),
        (b"{}", "model_type: missing"),
        (b'{"architectures": ["SomethingLMHead"]}', "the family SomethingLMHead is not known"),
        (b'{"text_config": 3}', "model_type: missing"),
        (b"[" * 100_000, ":1: (nested too deeply|not JSON)"),
    ],
)
def test_what_is_no_config_at_all(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert re.search(said, refusal(path)), refusal(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "config.json")
    assert "no config.json in this folder" in refusal(tmp_path)


def test_the_rule_for_unknown_fields(tmp_path: Path) -> None:
    """Off, or without a hint of shape in its name: passed; the rest is refused (above)."""
    path = changed(
        tmp_path, "llama-3.1-8b", num_extra_layers=0, expert_gate=None, window_list=[], favourite_colour="red"
    )
    model = Model.from_hf(path)
    assert model.notes == "Fields passed over: favourite_colour."
    assert harmless("rope_scaling")
    assert harmless("eos_token_id")
    assert not harmless("vision_layers")
    assert harmless("vision_layers", wrapper=True)
    assert could_matter("num_kv_shared_layers")
    assert could_matter("compress_ratios")


@pytest.mark.parametrize(
    "name", ["num_sink_tokens", "window_length", "ffn_dim_multiplier", "sparse_block_size", "hc_mult"]
)
def test_fields_of_later_architectures_are_not_harmless(name: str) -> None:
    assert not harmless(name)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"attention": {"no_op": True}}, "expected attention and ffn"),
        ({"attention": {"n_heads_in_group": 7}, "ffn": {"ffn_mult": 1.0}}, "n_heads_in_group = 7 for 64 heads"),
        ({"attention": {"n_heads_in_group": 8, "window_length": 64}, "ffn": {"ffn_mult": 1.0}}, "window_length = 64"),
        ({"attention": {"replace_with_linear": True}, "ffn": {"ffn_mult": 1.0}}, "replace_with_linear"),
        ({"attention": {"no_op": True}, "ffn": {"no_op": False}}, "ffn_mult = None"),
    ],
)
def test_blocks_of_a_searched_architecture(tmp_path: Path, block: dict[str, Any], said: str) -> None:
    path = changed(tmp_path, "nemotron-nas", block_configs=[block], num_hidden_layers=1)
    assert f"block_configs[0]: {said}" in refusal(path)
