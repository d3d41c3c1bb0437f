"""The recipe that a checkpoint ships in, from its quantization_config; refused where no recipe says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from roofline.errors import InputError
from roofline.specs import Model, Recipe, list_specs
from roofline.specs.findings import DoubtfulSheet
from roofline.specs.hf.shipped import CANDIDATES, is_kept

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
BLOCKS = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128]}


def tensor(bits: int, kind: str, strategy: str, **more: Any) -> dict[str, Any]:
    """Weights or activations as compressed-tensors describes them."""
    return {"num_bits": bits, "type": kind, "strategy": strategy, "dynamic": False, **more}


def compressed(weights: Any, inputs: Any = None, **more: Any) -> dict[str, Any]:
    """A quantization_config of compressed-tensors."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["lm_head"], **more}


def model(tmp_path: Path, name: str, quantization: Any, folder: str = "some-model") -> Model:
    """A test file's model with another quantization_config."""
    data = json.loads((CONFIGS / f"{name}.json").read_text())
    data.pop("quantization_config", None)
    if quantization is not None:
        data["quantization_config"] = quantization
    path = tmp_path / folder / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=1))
    return Model.from_hf(path)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("llama-3.1-8b", "bf16"),
        ("deepseek-v3", "fp8-block"),
        ("deepseek-v3.2", "fp8-block"),
        ("minimax-m2", "fp8-block"),
        ("mimo-v2-flash", "fp8-block"),
        ("gpt-oss-20b", "mxfp4"),
        ("kimi-k2.5", "int4-experts"),
    ],
)
def test_recipes_of_published_files(name: str, recipe: str) -> None:
    assert Model.from_hf(CONFIGS / f"{name}.json").recipes == (recipe,)


NVFP4 = tensor(4, "float", "tensor_group", group_size=16)
FP8_KV = {"num_bits": 8, "type": "float"}
MODELOPT = {"quant_method": "modelopt", "ignore": ["lm_head"]}


@pytest.mark.parametrize(
    ("quantization", "recipe"),
    [
        (BLOCKS, "fp8-block"),
        ({"quant_method": "fp8", "activation_scheme": "static"}, "fp8-kv16"),
        ({**MODELOPT, "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}, "fp8"),
        ({"quant_algo": "FP8", "ignore": ["lm_head"], "kv_cache_scheme": "FP8"}, "fp8"),
        ({**MODELOPT, "quant_algo": "NVFP4", "kv_cache_scheme": FP8_KV}, "nvfp4"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}, "int4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False}, "int4"),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "int8-weight-only"),
        (compressed(tensor(8, "float", "channel"), tensor(8, "float", "token")), "fp8-kv16"),
        (compressed(tensor(8, "float", "tensor"), tensor(8, "float", "tensor"), kv_cache_scheme=FP8_KV), "fp8"),
        (
            compressed(
                tensor(8, "float", "block", block_structure=[128, 128]),
                tensor(8, "float", "group", group_size=128),
                kv_cache_scheme=FP8_KV,
            ),
            "fp8-block-kv8",
        ),
        (compressed(tensor(8, "int", "channel"), tensor(8, "int", "token")), "int8"),
        (compressed(tensor(8, "int", "channel")), "int8-weight-only"),
        (compressed(tensor(4, "int", "group", group_size=128)), "int4"),
        (compressed(NVFP4, NVFP4, kv_cache_scheme=FP8_KV), "nvfp4"),
    ],
)
def test_schemes(tmp_path: Path, quantization: dict[str, Any], recipe: str) -> None:
    assert model(tmp_path, "llama-3.1-8b", quantization).recipes == (recipe,)


@pytest.mark.parametrize(
    ("quantization", "said"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "load_in_4bit"),
        ({"quant_method": "bitsandbytes"}, "quant_method = 'bitsandbytes': not understood; known: fp8"),
        ({**BLOCKS, "weight_block_size": [64, 64]}, r"weight_block_size.*only \[128, 128\]"),
        (
            {**BLOCKS, "modules_to_not_convert": ["model.layers.3.self_attn.o_proj"]},
            "in some modules only.*3.self_attn",
        ),
        ({**BLOCKS, "modules_to_not_convert": [3]}, "names of modules, found 3"),
        ({**MODELOPT, "quant_algo": "MIXED_PRECISION"}, "quant_algo.*known: FP8, NVFP4"),
        (
            {**MODELOPT, "quant_algo": "NVFP4"},
            "no recipe keeps attention nvfp4.*KV cache bf16; nearest: nvfp4.*kv_cache",
        ),
        ({**MODELOPT, "quant_algo": "FP8", "kv_cache_quant_algo": "INT8"}, "kv_cache_quant_algo.*only FP8"),
        ({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": "FP8"}, "lm_head fp8"),
        ({"quant_method": "awq", "bits": 3, "group_size": 128}, "bits = 3: with group_size = 128"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "lm_head": True}, "lm_head"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {"-:.*": {}}}, "dynamic"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "no recipe keeps attention int4_g32/bf16"),
        (compressed(tensor(6, "float", "channel")), "float of 6 bits by channel"),
        ({**compressed(None), "config_groups": {}}, "only one group"),
        (compressed(NVFP4, NVFP4, sparsity_config={"format": "dense"}), "sparsity_config"),
    ],
)
def test_what_no_recipe_says_is_refused_with_a_way_out(tmp_path: Path, quantization: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        model(tmp_path, "llama-3.1-8b", quantization)
    assert re.search(said, str(error.value)), str(error.value)
    assert "config.json:" in str(error.value)
    assert "quantization_config" in str(error.value)


def test_parts_that_keep_bf16_choose_the_recipe(tmp_path: Path) -> None:
    attention = {**MODELOPT, "quant_algo": "NVFP4", "kv_cache_scheme": FP8_KV, "ignore": ["lm_head", "*self_attn*"]}
    assert model(tmp_path, "deepseek-v3", attention).recipes == ("nvfp4-experts",)
    shared = compressed(tensor(4, "int", "group", group_size=32), ignore=["lm_head", "re:.*self_attn.*"])
    with pytest.raises(InputError, match=r"shared_experts int4_g32/bf16.*nearest: int4-experts, other in"):
        model(tmp_path, "deepseek-v3", shared)
    gates = {**BLOCKS, "modules_to_not_convert": [f"model.layers.{i}.mlp.gate" for i in range(48)]}
    assert model(tmp_path, "qwen3-30b-a3b", gates).recipes == ("fp8-block",)


@pytest.mark.parametrize(
    ("module", "entry", "kept"),
    [
        ("model.layers.0.mlp.gate_proj", "gate", False),
        ("model.layers.0.mlp.gate", "gate", True),
        ("model.layers.1.self_attn.q_proj", "model.layers.*.self_attn", True),
        ("model.layers.1.self_attn.q_proj", "model.layers.1", True),
        ("model.layers.11.self_attn.q_proj", "model.layers.1", False),
        ("model.layers.1.self_attn.q_proj", "language_model.model.layers.1.self_attn", True),
        ("model.layers.1.mlp.experts.3.up_proj", r"re:.*mlp\.(gate|up|down)_proj.*", False),
        ("model.layers.1.mlp.up_proj", r"re:.*mlp\.(gate|up|down)_proj.*", True),
        ("model.layers.1.mlp.up_proj", "re:(", False),
        ("model.layers.0.linear_attn.in_proj_z", "linear_attn.in_proj_qkvz", True),
    ],
)
def test_which_modules_a_list_has(module: str, entry: str, kept: bool) -> None:
    assert is_kept(module, (entry,)) is kept


def test_nvidia_files_of_their_own(tmp_path: Path) -> None:
    """hf_quant_config.json, beside a config.json without quantization_config."""
    folder = tmp_path / "Llama-3.1-8B-Instruct-FP8"
    folder.mkdir()
    given = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}
    (folder / "hf_quant_config.json").write_text(json.dumps({"producer": {}, "quantization": given}))
    first = model(tmp_path, "llama-3.1-8b", None, folder.name)
    assert first.recipes == ("fp8",)
    given["quant_algo"] = "W4A8_AWQ"
    (folder / "hf_quant_config.json").write_text(json.dumps({"quantization": given}))
    with pytest.raises(InputError, match=r"hf_quant_config\.json:1: quantization\.quant_algo"):
        Model.from_hf(folder)


def test_a_name_that_says_a_format_the_file_does_not(tmp_path: Path) -> None:
    with pytest.warns(DoubtfulSheet, match=r"says FP8.*taken as BF16; put hf_quant_config\.json beside it"):
        found = model(tmp_path, "llama-3.1-8b", None, "Llama-3.1-8B-FP8")
    assert found.recipes == ("bf16",)
    assert "The name says FP8" in found.notes


def test_recipes_that_a_file_can_turn_out_to_be_exist_and_differ() -> None:
    assert set(CANDIDATES) <= set(list_specs("recipes"))
    assert len(list_specs("recipes")) <= 18
    parts = [Recipe.load(name).parts for name in list_specs("recipes")]
    assert len(set(parts)) == len(parts)


def test_attention_in_fp8_needs_an_fp8_cache() -> None:
    for name in list_specs("recipes"):
        parts = Recipe.load(name).parts
        if parts.attention_math == "fp8":
            assert parts.kv_cache == "fp8"
            plain = Recipe.load(name.removesuffix("-attn8")).parts
            assert parts.model_copy(update={"attention_math": "bf16"}) == plain
