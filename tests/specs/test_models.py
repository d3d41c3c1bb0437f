"""Parameter and cache counts of built-in models against figures worked out apart from this code."""

from __future__ import annotations

import pytest

from roofline.specs import Model, Recipe, list_specs

# id: all parameters of the text model, those a token meets in matrix products (embedding look-up left out, a tied
# table counted once), and bf16 KV bytes per token of layers without a window
FACTS = {
    "llama-3.1-8b": (8_030_261_248, 7_504_924_672, 131_072),
    "llama-3.1-70b": (70_553_706_496, 69_503_033_344, 327_680),
    "llama-3.1-405b": (405_853_388_800, 403_752_042_496, 516_096),
    "llama-3.3-70b": (70_553_706_496, 69_503_033_344, 327_680),
    "qwen3-32b": (32_762_123_264, 31_984_210_944, 262_144),
    "qwen3-235b-a22b": (235_093_634_560, 21_568_433_664, 192_512),
    "mixtral-8x7b": (46_702_792_704, 12_748_853_248, 131_072),
    "gpt-oss-120b": (116_829_156_672, 5_132_849_472, 36_864),
    "deepseek-v3": (671_026_419_200, 36_625_618_432, 70_272),
    "deepseek-r1": (671_026_419_200, 36_625_618_432, 70_272),
    "gemma-3-27b": (27_009_346_304, 27_009_346_304, 81_920),
}


@pytest.mark.parametrize("name", FACTS)
def test_counts_are_those_of_the_config(name: str) -> None:
    model = Model.load(name)
    total, active, kv = FACTS[name]
    assert model.total_params == total
    assert model.matmul_active_params == active
    assert model.kv_bytes_per_token(Recipe.load("bf16")) == kv
    assert model.kv_bytes_per_token(Recipe.load("fp8")) == kv / 2


def test_every_built_in_model_has_a_fact() -> None:
    assert set(list_specs("models")) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_shipped_recipes_exist(name: str) -> None:
    assert set(Model.load(name).recipes) <= set(list_specs("recipes"))


def test_what_sets_the_architectures_apart() -> None:
    deepseek, gemma, oss = (Model.load(name) for name in ("deepseek-r1", "gemma-3-27b", "gpt-oss-120b"))
    assert deepseek.route_groups == 4
    assert [row.count for row in deepseek.layers] == [3, 58]
    assert deepseek.layers[1].experts is not None
    assert deepseek.layers[1].experts.shared_inner == 2048
    assert deepseek.is_moe
    assert gemma.tied_embeddings
    assert not gemma.is_moe
    assert [(row.count, row.norms, row.attention.window) for row in gemma.layers if row.attention] == [
        (52, 4, 1024),
        (10, 4, None),
    ]
    assert [row.attention.window for row in oss.layers if row.attention] == [128, None]
    assert oss.layer_count == 36


def test_other_parameters_are_norms_biases_and_sinks() -> None:
    llama, oss = Model.load("llama-3.1-70b"), Model.load("gpt-oss-120b")
    assert llama.other_params == (2 * 8192,)
    attention_bias = 64 * 64 + 2 * 8 * 64 + 2880
    expert_bias = 128 * (2 * 2880 + 2880) + 128
    assert oss.other_params == (2 * 2880 + attention_bias + 64 + expert_bias,) * 2


def test_windows_cap_the_cache() -> None:
    gemma, bf16 = Model.load("gemma-3-27b"), Recipe.load("bf16")
    per_layer = 2 * 16 * 128 * 2
    assert gemma.kv_bytes(512, bf16) == 62 * per_layer * 512
    assert gemma.kv_bytes(10_000, bf16) == per_layer * (52 * 1024 + 10 * 10_000)


def test_active_parameters_of_a_dense_model_are_all() -> None:
    llama = Model.load("llama-3.1-8b")
    assert llama.active_params == llama.total_params
    assert llama.matmul_active_params == llama.total_params - llama.embedding_params
