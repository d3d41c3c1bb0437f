"""Sheets that tables of measured serving name: names, published counts, formats and networks."""

from __future__ import annotations

import pytest

from roofline.specs import Accelerator, Model, Recipe, System
from roofline.specs.pack.kit import PartPlan, pack_kit

NAMES = {
    "LLaMA-7B": "llama-2-7b",
    "LLaMA-2-70B": "llama-2-70b",
    "Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "GPT-J-6B": "gpt-j-6b",
    "Mistral-7B": "mistral-7b-v0.3",
    "Qwen3-14B": "qwen3-14b",
    "Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b-2507",
    "Qwen3-Coder-30B-A3B-Instruct": "qwen3-30b-a3b-2507",
    "Qwen3-235B-A22B-Thinking-2507": "qwen3-235b-a22b-2507",
    "Qwen3.5-397B-A17B": "qwen3.5-397b-a17b",
    "gemma-3-12b-it": "gemma-3-12b",
    "NVIDIA-Nemotron-Nano-9B-v2": "nemotron-nano-9b-v2",
    "NVIDIA-Nemotron-Nano-12B-v2": "nemotron-nano-12b-v2",
    "DeepSeek-R1-0528": "deepseek-r1",
    "DeepSeek-V3.1": "deepseek-v3",
    "GLM-5": "glm-5",
    "Kimi-K2.5": "kimi-k2.5",
    "MiniMax-M2.5": "minimax-m2",
    "Falcon-180B": "falcon-180b",
    "BLOOM": "bloom-176b",
}

PUBLISHED = {  # id: parameters that the makers or their checkpoints' index give, and how near the count must be
    "nemotron-nano-9b-v2": (8_888_227_328, 0),
    "nemotron-nano-12b-v2": (12.31e9, 1e-3),
    "bloom-176b": (176_247_271_424, 1e-6),
    "gpt-j-6b": (6_053_381_344, 1e-3),
    "llama-2-7b": (6_738_415_616, 0),
    "llama-2-13b": (13_015_864_320, 0),
    "llama-2-70b": (68_976_648_192, 0),
    "glm-5": (744e9, 1e-3),
    "qwen3.5-397b-a17b": (397e9, 0.01),
    "falcon-180b": (180e9, 0.01),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_measured_models_have_a_sheet(name: str) -> None:
    assert Model.load(name.lower()).id == NAMES[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name: str) -> None:
    published, tolerance = PUBLISHED[name]
    assert Model.load(name).total_params == pytest.approx(published, rel=tolerance)


def test_llama_2_is_llama_3_but_for_vocabulary_and_context() -> None:
    old, new = Model.load("llama-2-70b"), Model.load("llama-3.1-70b")
    assert old.layers == new.layers
    assert new.total_params - old.total_params == 2 * 8192 * (new.vocab - old.vocab)
    assert (old.max_context, new.max_context) == (4096, 131072)


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "qwen3-235b-a22b"])
def test_the_later_qwen3_has_the_same_layers(name: str) -> None:
    old, new = Model.load(name), Model.load(f"{name}-2507")
    assert old.layers == new.layers
    assert (old.max_context, new.max_context) == (40960, 262144)


def test_kimi_k2_5_is_kimi_k2_with_more_context() -> None:
    old, new = Model.load("kimi-k2"), Model.load("kimi-k2.5")
    assert old.layers == new.layers
    assert new.max_context == 2 * old.max_context


@pytest.mark.parametrize(("name", "mixers"), [("nemotron-nano-9b-v2", (27, 4)), ("nemotron-nano-12b-v2", (28, 6))])
def test_hybrids_hold_a_state_and_few_caches(name: str, mixers: tuple[int, int]) -> None:
    model, bf16 = Model.load(name), Recipe.load("bf16")
    scans, attentions = mixers
    assert model.state_bytes(bf16) == scans * 128 * 80 * 128 * 4
    assert model.kv_bytes_per_token(bf16) == attentions * 2 * 8 * 128 * 2


def test_a_searched_model_has_layers_without_attention() -> None:
    model = Model.load("nemotron-super-49b")
    assert model.layer_count == 80
    assert sum(row.count for row in model.layers if row.attention) == 49


def test_glm_5_indexes_with_half_the_heads_of_deepseek() -> None:
    found = []
    for name in ("glm-5", "deepseek-v3.2"):
        attention = Model.load(name).layers[0].attention
        assert attention is not None
        assert attention.sparse is not None
        found.append((attention.sparse.top_k, attention.sparse.index_heads, attention.sparse.index_dim))
    assert found == [(2048, 32, 128), (2048, 64, 128)]


def plans(recipe: str, accelerator: str) -> dict[str, PartPlan]:
    kit = pack_kit(Recipe.load(recipe), Accelerator.load(accelerator), "kernel")
    return {plan.kit_field: plan for plan in kit.plans}


def test_routed_experts_alone_in_nvfp4() -> None:
    routed, all_of_it = Recipe.load("nvfp4-routed").parts, Recipe.load("nvfp4-experts").parts
    bf16 = Recipe.load("bf16").parts.dense_ffn
    assert all_of_it.model_copy(update={"dense_ffn": bf16, "shared_experts": bf16}) == routed
    found = plans("nvfp4-routed", "b200-hgx")
    assert (found["expert"].math, found["shared"].math, found["attn"].math) == ("fp4", "bf16", "bf16")
    assert found["expert"].efficiency_path == "operations.experts.nvfp4"


@pytest.mark.parametrize(("recipe", "like"), [("mxfp4-linear", "nvfp4"), ("mxfp4-ffn", "nvfp4-experts")])
def test_mxfp4_recipes_are_those_of_nvfp4_in_another_format(recipe: str, like: str) -> None:
    one, other = Recipe.load(recipe).parts.model_dump(), Recipe.load(like).parts.model_dump()
    assert str(other).replace("nvfp4", "mxfp4") == str(one)
    assert plans(recipe, "mi355x")["ffn"].efficiency_path == "operations.gemm.mxfp4"
    assert plans(recipe, "b200-hgx")["ffn"].efficiency_path == "operations.gemm.nvfp4"  # nothing nearer was measured


@pytest.mark.parametrize("accelerator", ["h100-sxm", "b200-hgx"])
@pytest.mark.parametrize("recipe", ["mxfp4", "int4-experts"])
def test_weight_only_experts_compute_in_bf16(recipe: str, accelerator: str) -> None:
    """4-bit weights beside BF16 activations: the arithmetic and the shares of BF16 kernels, the bytes of 4 bits."""
    expert = plans(recipe, accelerator)["expert"]
    assert (expert.math, expert.efficiency_path) == ("bf16", "operations.experts.bf16")
    kit = pack_kit(Recipe.load(recipe), Accelerator.load(accelerator), "kernel").record
    assert kit is not None
    assert kit["expert"]["w_weight"] == {"mxfp4": 0.53125, "int4-experts": 0.5625}[recipe]


@pytest.mark.parametrize("name", ["arc-pro-b50", "arc-pro-b60", "arc-pro-b70"])
def test_arc_widens_fp8_and_multiplies_int8(name: str) -> None:
    assert plans("int8", name)["ffn"].math == "int8"
    widened = plans("fp8", name)["ffn"]
    assert (widened.math, widened.weight_only) == ("bf16", True)


def test_domains_of_parts_without_a_switch_around_them() -> None:
    nvl, arc, rtx = (System.load(name) for name in ("h200-nvl", "arc-pro-b60", "rtx-pro-4500"))
    assert (nvl.scale_up.domain, nvl.scale_up.topology) == (4, "full_mesh")
    assert (arc.scale_up.domain, arc.scale_up_bytes_per_s) == (8, 32e9)
    assert (rtx.scale_up.domain, rtx.scale_up_bytes_per_s) == (8, 64e9)


def test_h800_is_an_h100_with_a_slower_link_and_room_for_wide_decoding() -> None:
    h800, h100 = System.load("hgx-h800"), System.load("hgx-h100")
    assert h800.accelerator.dense_flop_per_s == h100.accelerator.dense_flop_per_s
    assert (h800.scale_up_bytes_per_s, h100.scale_up_bytes_per_s) == (200e9, 450e9)
    assert h800.accelerators * h800.max_systems == 320
