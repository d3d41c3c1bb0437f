"""Number formats and recipes: bytes, arithmetic, width."""

from __future__ import annotations

from itertools import product

import pytest

from roofline.specs import Recipe, list_specs
from roofline.specs.formats import (
    FORMATS,
    MATH_BITS,
    Format,
    MathType,
    activation_bytes,
    math_type,
    stand_ins,
    weight_bytes,
    wider,
)


@pytest.mark.parametrize(
    ("name", "weight", "activation", "math"),
    [
        ("fp32", 4, 4, "fp32"),
        ("bf16", 2, 2, "bf16"),
        ("fp16", 2, 2, "fp16"),
        ("mxfp8", 1.03125, 1.03125, "fp8"),
        ("fp8_block", 1 + 4 / 16384, 1 + 4 / 128, "fp8"),
        ("fp8", 1, 1, "fp8"),
        ("int8", 1, 1, "int8"),
        ("nvfp4", 0.5625, 0.5625, "fp4"),
        ("mxfp4", 0.53125, 0.53125, "fp4"),
        ("int4", 0.515625, 0.515625, "int8"),
    ],
)
def test_bytes_and_arithmetic(name: Format, weight: float, activation: float, math: MathType) -> None:
    assert weight_bytes(name) == weight
    assert activation_bytes(name) == activation
    assert math_type(name, name) == math


def test_wider_is_a_total_order_by_bits() -> None:
    for a, b in product(FORMATS, FORMATS):
        assert wider(a, b) == wider(b, a)
        assert FORMATS[wider(a, b)].bits == max(FORMATS[a].bits, FORMATS[b].bits)
        for c in FORMATS:
            assert wider(wider(a, b), c) == wider(a, wider(b, c))


def test_weight_only_runs_in_the_arithmetic_of_the_activations() -> None:
    assert math_type("int4", "bf16") == "bf16"
    assert math_type("mxfp4", "bf16") == "bf16"
    assert math_type("nvfp4", "fp8") == "fp8"


def test_stand_ins_are_wider_and_come_narrowest_first() -> None:
    assert stand_ins("fp4")[0] == "fp6"
    assert set(stand_ins("fp8")) == {"bf16", "fp16", "tf32", "fp32"}
    assert stand_ins("fp32") == ()
    for name in MATH_BITS:
        bits = [MATH_BITS[other] for other in stand_ins(name)]
        assert bits == sorted(bits)
        assert all(wide > MATH_BITS[name] for wide in bits)


def test_recipes_as_shipped() -> None:
    parts = {name: Recipe.load(name).parts for name in list_specs("recipe")}
    assert {"bf16", "fp8", "fp8-block", "nvfp4", "nvfp4-experts", "mxfp4"} <= set(parts)
    assert all(part.lm_head.weights == "bf16" and part.embedding.weights == "bf16" for part in parts.values())
    assert parts["fp8"].kv_cache == parts["nvfp4"].kv_cache == "fp8"
    assert parts["fp8-block"].kv_cache == "bf16"
    assert parts["fp8-block"].experts.weights == "fp8_block"
    assert (parts["mxfp4"].experts.weights, parts["mxfp4"].experts.math) == ("mxfp4", "bf16")
    assert parts["mxfp4"].attention.weights == "bf16"
    assert parts["nvfp4"].attention.math == "fp4"
    assert parts["nvfp4-experts"].attention.math == "bf16"
    assert parts["nvfp4-experts"].shared_experts.math == "fp4"


def test_bare_format_takes_the_wider_of_itself_and_the_activations() -> None:
    parts = Recipe.load("nvfp4").parts
    assert (parts.lm_head.weights, parts.lm_head.activations) == ("bf16", "bf16")
    assert (parts.dense_ffn.weights, parts.dense_ffn.activations) == ("nvfp4", "nvfp4")
    changed = {**parts.model_dump(), "activations": "bf16", "experts": "int8"}
    recipe = Recipe.load({"name": "X", "description": "weight only experts", "parts": changed})
    assert (recipe.parts.experts.weights, recipe.parts.experts.activations) == ("int8", "bf16")
