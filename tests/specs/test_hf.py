"""Shapes read from a config.json, against published counts and against what each architecture is known to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roofline.specs import Model
from roofline.specs.attention import GatedDeltaNet, GroupedQueryAttention, LatentAttention, Mamba2
from roofline.specs.hf.families import FAMILIES, WRAPPERS

CONFIGS = Path(__file__).parents[1] / "data" / "configs"

# All parameters of the text model, as commonly reported for the checkpoint or worked out apart from this code,
# less what a sheet leaves out where it has such: the bias of the last norm, a norm of the embedding, a bias of lm_head.
TOTALS = {
    "bloom": 176_247_271_424 - 2 * 14336 - 14336,
    "command-r": 34_980_831_232,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_026_419_200,
    "deepseek-v3.2": 671_877_944_064,
    "falcon-7b": 6_921_720_704 - 4544,
    "gemma-2-27b": 27_227_128_320,
    "gemma-3-4b": 3_880_263_168,
    "gemma-7b": 8_537_680_896,
    "glm-4-9b-0414": 9_400_279_040,
    "glm-4.5": 352_797_829_024,
    "gpt-j-6b": 6_050_882_784 - 50400 - 4096,
    "gpt-neox-20b": 20_554_567_680 - 6144,
    "gpt-oss-20b": 20_914_757_184,
    "gpt2": 124_439_808 - 768,
    "granite-3.1-8b": 8_170_848_256,
    "internlm2-7b": 7_737_708_544,
    "kimi-k2": 1_026_408_232_448,
    "llama-3.1-8b": 8_030_261_248,
    "llama-4-maverick": 400_711_848_960,
    "mistral-large-2": 122_610_069_504,
    "mixtral-8x7b": 46_702_792_704,
    "nemotron-3-super": 120_668_707_840,
    "nemotron-h-56b": 56_324_350_464,
    "olmo-2-7b": 7_298_617_344,
    "opt-6.7b": 6_658_473_984 - 4096,
    "phi-3.5-mini": 3_821_079_552,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-next-80b-a3b": 79_674_391_296,
    "starcoder2-15b": 15_957_889_024 - 6144,
}

# Published only as rounded numbers: billions in all and met by a token.
ROUNDED = {
    "falcon-11b": (11.1, None),
    "gemma-4-26b-a4b": (25.2, 3.8),
    "glm-5.2": (744, 40),
    "kimi-k2.5": (1026.4, 32.9),
    "mimo-7b": (7.62, None),
    "mimo-v2-flash": (309, 15),
    "minimax-m2": (229, 11),
    "nemotron-3-ultra": (549, 56),
    "qwen3-vl-2b": (1.72, None),
    "qwen3-vl-30b-a3b": (30.5, 3.4),
    "qwen3.5-27b": (26.9, None),
    "qwen3.5-35b-a3b": (34.7, 3.5),
}


def read(name: str) -> Model:
    """The model of a test file."""
    return Model.from_hf(CONFIGS / f"{name}.json")


def attentions(model: Model) -> list[Any]:
    """Attention of each row."""
    return [row.attention for row in model.layers]


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_are_those_of_the_checkpoint(name: str) -> None:
    assert read(name).total_params == TOTALS[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_parameters_round_to_the_published_ones(name: str) -> None:
    model, (total, active) = read(name), ROUNDED[name]
    assert model.total_params == pytest.approx(total * 1e9, rel=4e-3)
    if active is not None:
        assert model.active_params == pytest.approx(active * 1e9, rel=0.04)


def test_every_family_and_every_file_is_tested() -> None:
    names = {path.stem for path in CONFIGS.glob("*.json")}
    assert names == {*TOTALS, *ROUNDED, "nemotron-nas"}
    kinds: set[str] = set()
    for name in names:
        data = json.loads((CONFIGS / f"{name}.json").read_text())
        kinds |= {data.get("model_type"), data.get("text_config", {}).get("model_type")}
    untested = {*FAMILIES, *WRAPPERS} - kinds
    assert untested == {"mistral3"}, "its text model is mistral, and the wrapper adds nothing"


def test_a_sheet_of_ours_and_the_config_say_the_same() -> None:
    pairs = {
        "deepseek-v3": "deepseek-v3",
        "llama-4-maverick": "llama-4-maverick",
        "nemotron-3-super": "",
        "minimax-m2": "",
    }
    pairs |= {"qwen3-30b-a3b": "", "gpt-oss-20b": "", "glm-4.5": "glm-4.5-355b-a32b", "deepseek-v3.2": "deepseek-v3.2"}
    for config, sheet in pairs.items():
        ours, theirs = Model.load(sheet or config), read(config)
        assert ours.layers == theirs.layers
        assert ours.mtp == theirs.mtp
        assert (ours.hidden, ours.vocab, ours.route_groups) == (theirs.hidden, theirs.vocab, theirs.route_groups)


def test_windows_of_gemma() -> None:
    two, three = read("gemma-2-27b"), read("gemma-3-4b")
    assert [(row.count, row.attention.window) for row in two.layers] == [(23, 4096), (23, None)]  # type: ignore[union-attr]
    assert [(row.count, row.attention.window) for row in three.layers] == [(29, 1024), (5, None)]  # type: ignore[union-attr]
    assert {row.norms for row in two.layers} == {4}
    assert attentions(three)[0].qk_norm is True
    assert attentions(two)[0].qk_norm is False
    assert three.max_context == 131072
    assert "vocab_size" in three.notes


def test_gemma_4_has_wide_heads_without_windows_and_a_feed_forward_beside_the_experts() -> None:
    local, wide = attentions(read("gemma-4-26b-a4b"))
    assert (local.kv_heads, local.head_dim, local.window, local.shared_kv) == (8, 256, 1024, False)
    assert (wide.kv_heads, wide.head_dim, wide.window, wide.shared_kv) == (2, 512, None, True)
    experts = read("gemma-4-26b-a4b").layers[0].experts
    assert experts is not None
    assert (experts.count, experts.top_k, experts.shared_inner) == (128, 8, 2112)


def test_llama_4_sees_chunks_and_has_experts_in_every_other_layer() -> None:
    model = read("llama-4-maverick")
    rows = [(row.count, row.attention.chunk, bool(row.experts)) for row in model.layers]  # type: ignore[union-attr]
    assert rows == [(24, 8192, False), (12, 8192, True), (12, None, True)]


def test_hybrids_keep_a_state_in_most_layers() -> None:
    linear, full = attentions(read("qwen3-next-80b-a3b"))
    assert isinstance(linear, GatedDeltaNet)
    assert isinstance(full, GroupedQueryAttention)
    assert full.gate
    mamba, *_ = attentions(read("nemotron-h-56b"))
    assert isinstance(mamba, Mamba2)
    counts = [(row.count, row.norms) for row in read("nemotron-h-56b").layers]
    assert counts == [(54, 1), (54, 1), (10, 1)]
    assert sum(row.count for row in read("nemotron-3-ultra").layers) == 108


def test_latent_attention_and_its_indexers() -> None:
    lite = attentions(read("deepseek-v2-lite"))[0]
    assert isinstance(lite, LatentAttention)
    assert lite.q_lora == 0
    assert read("deepseek-v2-lite").route_groups is None
    assert read("deepseek-v3").route_groups == 4
    assert read("kimi-k2").route_groups is None
    glm = read("glm-5.2")
    own = sum(row.count for row in glm.layers if row.attention.sparse.index_heads)  # type: ignore[union-attr]
    assert (own, glm.layer_count) == (21, 78)
    assert glm.mtp is not None
    assert glm.mtp.layers[0].attention.sparse.index_heads == 32  # type: ignore[union-attr]


def test_mimo_has_other_heads_where_it_has_windows() -> None:
    full, local = attentions(read("mimo-v2-flash"))[:2]
    assert (full.kv_heads, full.window, full.sinks, full.v_width) == (4, None, False, 128)
    assert (local.kv_heads, local.window, local.sinks, local.v_width) == (8, 128, True, 128)


def test_norms_over_all_heads_and_biases() -> None:
    assert attentions(read("minimax-m2"))[0].qk_norm == "whole"
    assert attentions(read("olmo-2-7b"))[0].qk_norm == "whole"
    assert attentions(read("qwen2.5-7b"))[0].bias == "qkv"
    assert attentions(read("gpt2"))[0].bias == "all"
    assert read("gpt2").position_rows == 1024


def test_a_searched_architecture_differs_from_layer_to_layer() -> None:
    model = read("nemotron-nas")
    found = [(row.count, row.attention is not None, row.norms, row.ffn.inner if row.ffn else 0) for row in model.layers]
    assert found == [(1, True, 2, 14336), (2, True, 2, 28672), (1, False, 1, 14336)]
    assert attentions(model)[0].kv_heads == 8
    assert "1 of 5" in model.notes


@pytest.mark.parametrize(
    ("name", "billions"), [("nemotron-3-super", 2.94), ("mimo-7b", 0.21), ("deepseek-v3", 11.6), ("minimax-m2", 11.06)]
)
def test_draft_layers(name: str, billions: float) -> None:
    assert read(name).mtp_params == pytest.approx(billions * 1e9, rel=0.01)


def test_a_window_as_long_as_the_context_never_closes() -> None:
    assert attentions(read("phi-3.5-mini"))[0].window is None
    assert attentions(read("starcoder2-15b"))[0].window == 4096


def test_qwen_windows_start_at_the_layer_the_file_says(tmp_path: Path) -> None:
    data = json.loads((CONFIGS / "qwen2.5-7b.json").read_text())
    data |= {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 20}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(data))
    rows = [(row.count, row.attention.window) for row in Model.from_hf(path).layers]  # type: ignore[union-attr]
    assert rows == [(20, None), (8, 4096)]


def test_text_models_of_models_with_towers() -> None:
    vision, plain = read("qwen3-vl-30b-a3b"), read("qwen3-30b-a3b")
    assert vision.layers == plain.layers
    assert "other towers are not counted" in vision.notes
    assert read("qwen3-vl-2b").tied_embeddings
