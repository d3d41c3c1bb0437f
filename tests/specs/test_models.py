"""Parameter and cache counts of built-in models against figures worked out apart from this code."""

from __future__ import annotations

import pytest

from roofline.specs import Model, Recipe, list_specs

# id: all parameters of the text model, those a token meets in matrix products (embedding look-up left out, a tied
# table counted once), bf16 KV bytes per token of layers without a window, and bytes of fp32 state per sequence.
# An index key of DeepSeek V3.2 and GLM-5 is 132 bytes, with the scale of its block: 61 * (1152 + 132).
FACTS = {
    "llama-3.1-8b": (8_030_261_248, 7_504_924_672, 131_072, 0),
    "llama-3.1-70b": (70_553_706_496, 69_503_033_344, 327_680, 0),
    "llama-3.1-405b": (405_853_388_800, 403_752_042_496, 516_096, 0),
    "llama-3.3-70b": (70_553_706_496, 69_503_033_344, 327_680, 0),
    "llama-4-scout": (107_769_861_120, 16_138_408_960, 49_152, 0),
    "llama-4-maverick": (400_711_848_960, 16_150_205_440, 49_152, 0),
    "qwen2.5-72b": (72_706_203_648, 71_460_495_360, 327_680, 0),
    "qwen3-8b": (8_190_735_360, 7_568_405_504, 147_456, 0),
    "qwen3-32b": (32_762_123_264, 31_984_210_944, 262_144, 0),
    "qwen3-30b-a3b": (30_532_122_624, 3_041_867_776, 98_304, 0),
    "qwen3-235b-a22b": (235_093_634_560, 21_568_433_664, 192_512, 0),
    "qwen3-next-80b-a3b": (79_674_391_296, 3_563_764_480, 24_576, 75_497_472),
    "mistral-7b-v0.3": (7_248_023_552, 7_113_805_824, 131_072, 0),
    "mistral-large-2-123b": (122_610_069_504, 122_207_416_320, 360_448, 0),
    "mixtral-8x7b": (46_702_792_704, 12_748_853_248, 131_072, 0),
    "mixtral-8x22b": (140_620_634_112, 38_955_423_744, 229_376, 0),
    "deepseek-v2-236b": (235_741_434_880, 20_851_512_320, 69_120, 0),
    "deepseek-v3": (671_026_419_200, 36_625_618_432, 70_272, 0),
    "deepseek-r1": (671_026_419_200, 36_625_618_432, 70_272, 0),
    "deepseek-v3.2": (671_877_944_064, 37_477_143_296, 78_324, 0),
    "kimi-k2": (1_026_408_232_448, 31_687_095_808, 70_272, 0),
    "glm-4.5-355b-a32b": (352_797_829_024, 32_856_319_904, 376_832, 0),
    "glm-4.6-355b-a32b": (352_797_829_024, 32_856_319_904, 376_832, 0),
    "minimax-m2": (228_689_764_864, 10_415_956_480, 253_952, 0),
    "gpt-oss-20b": (20_914_757_184, 3_608_307_264, 24_576, 0),
    "gpt-oss-120b": (116_829_156_672, 5_132_849_472, 36_864, 0),
    "gemma-2-27b": (27_227_128_320, 27_227_128_320, 188_416, 0),
    "gemma-3-27b": (27_009_346_304, 27_009_346_304, 81_920, 0),
    "phi-4": (14_659_507_200, 14_145_704_960, 204_800, 0),
    "phi-3.5-mini": (3_821_079_552, 3_722_578_944, 393_216, 0),
    "nemotron-h-56b": (56_324_350_464, 55_250_608_640, 40_960, 905_969_664),
    "nemotron-3-nano-30b-a3b": (31_577_940_288, 3_227_754_816, 6_144, 48_234_496),
    "nemotron-3-super-120b-a12b": (120_668_707_840, 12_233_366_528, 8_192, 167_772_160),
    "llama-2-7b": (6_738_415_616, 6_607_343_616, 524_288, 0),
    "llama-2-13b": (13_015_864_320, 12_852_024_320, 819_200, 0),
    "llama-2-70b": (68_976_648_192, 68_714_504_192, 327_680, 0),
    "gpt-j-6b": (6_050_828_288, 5_844_389_888, 458_752, 0),
    "bloom-176b": (176_247_228_416, 176_247_228_416, 4_014_080, 0),
    "falcon-40b": (41_303_285_760, 41_303_285_760, 122_880, 0),
    "falcon-180b": (178_557_073_920, 178_557_073_920, 163_840, 0),
    "qwen3-14b": (14_768_307_200, 13_990_394_880, 163_840, 0),
    "gemma-3-12b": (11_766_034_176, 11_766_034_176, 65_536, 0),
    "nemotron-nano-9b-v2": (8_888_227_328, 8_301_024_768, 16_384, 141_557_760),
    "nemotron-nano-12b-v2": (12_310_001_152, 11_638_912_512, 24_576, 146_800_640),
    "qwen3-30b-a3b-2507": (30_532_122_624, 3_041_867_776, 98_304, 0),
    "qwen3-235b-a22b-2507": (235_093_634_560, 21_568_433_664, 192_512, 0),
    "qwen3-coder-480b-a35b": (480_154_875_392, 34_541_270_528, 253_952, 0),
    "glm-5": (743_911_218_432, 40_833_146_112, 100_152, 0),
    "kimi-k2.5": (1_026_408_232_448, 31_687_095_808, 70_272, 0),
    "qwen3.5-397b-a17b": (396_346_350_336, 16_331_922_176, 30_720, 188_743_680),
    "nemotron-super-49b": (49_867_145_216, 48_816_472_064, 200_704, 0),
}
INDEX = {"deepseek-v3.2": 61 * 132, "glm-5": 78 * 132}


@pytest.mark.parametrize("name", FACTS)
def test_counts_are_those_of_the_config(name: str) -> None:
    model = Model.load(name)
    total, active, kv, state = FACTS[name]
    index = INDEX.get(name, 0)
    assert model.total_params == total
    assert model.matmul_active_params == active
    assert model.kv_bytes_per_token(Recipe.load("bf16")) == kv
    assert model.kv_bytes_per_token(Recipe.load("fp8")) == (kv - index) / 2 + index
    assert model.state_bytes(Recipe.load("bf16")) == state


def test_every_built_in_model_has_a_fact() -> None:
    assert set(list_specs("models")) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_shipped_recipes_exist(name: str) -> None:
    assert set(Model.load(name).recipes) <= set(list_specs("recipes"))


@pytest.mark.parametrize("name", FACTS)
def test_published_counts_are_near(name: str) -> None:
    """A published total may have a tower more; the count of what a token meets may leave the embedding out."""
    model = Model.load(name)
    assert model.parameters is not None
    assert model.total_params == pytest.approx(model.parameters.total, rel=0.012)
    if model.parameters.active:
        counts = (model.active_params, model.matmul_active_params)
        assert any(count == pytest.approx(model.parameters.active, rel=0.055) for count in counts)


def test_drafts_and_groups_are_where_the_files_have_them() -> None:
    drafts = {name for name in FACTS if Model.load(name).mtp}
    deepseek = {"deepseek-v3", "deepseek-r1", "deepseek-v3.2"}
    others = {"glm-4.5-355b-a32b", "glm-4.6-355b-a32b", "glm-5", "minimax-m2", "nemotron-3-super-120b-a12b"}
    assert drafts == deepseek | others | {"qwen3.5-397b-a17b"}
    assert {name for name in FACTS if Model.load(name).route_groups} == deepseek | {"deepseek-v2-236b"}


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
