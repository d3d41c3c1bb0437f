"""A result says where a recipe runs as weights only."""

from __future__ import annotations

import roofline as rl


def test_fp4_on_a_part_without_it_is_named_and_native_is_not() -> None:
    ds = rl.decode("llama-3.3-70b", ["dgx-h100", "dgx-b200"], ["nvfp4", "fp8"], tp=8, batch=1, context=1024)
    assert ds["widened_parts"].sel(system="dgx-h100", recipe="nvfp4").item() == "attn,ffn"
    assert ds["widened_parts"].sel(system="dgx-b200", recipe="nvfp4").item() == ""
    assert ds["widened_parts"].sel(recipe="fp8").values.tolist() == [["", ""]]


def test_parts_a_model_lacks_are_not_listed() -> None:
    ds = rl.decode(["llama-3.3-70b", "deepseek-r1"], "dgx-h100", "nvfp4-experts", tp=8, batch=1, context=1024)
    dense, routed = ds["widened_parts"].values.ravel()
    assert "expert" not in dense
    assert "expert" in routed
