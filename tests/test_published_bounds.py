"""Lower bounds worked out apart from this project, against `ideal` through the public API: sheets, records, kernels.

Llama 3.1 70B: every weight and cached element over the bandwidth of eight H100, 2 FLOP per parameter over their peaks.
`ideal` counts the same and a little more (the new token's K and V, the embedding row), so it may lie a little above.
DeepSeek V3: docs/deepseek-bound.md tells the figures apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl

BATCHES = (1, 16, 64, 256)
WEIGHTS = ("attention", "dense_ffn", "experts", "shared_experts", "lm_head", "embedding", "router")


def fp8_but(*kept: str) -> dict[str, Any]:
    """A recipe with everything in fp8, KV cache and attention arithmetic too, but these parts in bf16."""
    parts = {part: "bf16" if part in kept else "fp8" for part in WEIGHTS}
    rest = {
        "kv_cache": "fp8",
        "activations": "fp8",
        "collectives": "fp8",
        "dispatch": "fp8",
        "attention_math": "fp8",
    }
    name = f"fp8 but {', '.join(kept)}" if kept else "all fp8"
    return {"name": name, "description": "Everything in FP8 but what the name says.", "parts": parts | rest}


ALL_FP8 = fp8_but()


def excess(values: Any, bounds: tuple[float, ...]) -> Any:
    """How far times [s] lie above bounds [ms], as a share."""
    return 1e3 * np.ravel(values) / np.array(bounds) - 1


@pytest.mark.parametrize(
    ("recipe", "bounds"),
    [("bf16", (5.21, 5.59, 6.79, 11.60)), (ALL_FP8, (2.61, 2.79, 3.39, 5.80))],
    ids=["bf16", "fp8"],
)
def test_llama_70b_decodes_at_the_known_bound(recipe: Any, bounds: tuple[float, ...]) -> None:
    ds = rl.decode("llama-3.1-70b", "dgx-h100", recipe, tp=8, batch=BATCHES, context=2048, fidelity="ideal")
    above = excess(ds.step_time, bounds)
    assert (above > -0.005).all()
    assert (above < 0.03).all()


@pytest.mark.parametrize(("recipe", "bound"), [("bf16", 36.1), (ALL_FP8, 18.1)], ids=["bf16", "fp8"])
def test_llama_70b_prefills_at_the_known_bound(recipe: Any, bound: float) -> None:
    ds = rl.prefill("llama-3.1-70b", "dgx-h100", recipe, tp=8, isl=2048, fidelity="ideal")
    (above,) = excess(ds.prefill_time, (bound,))
    assert -0.005 < above < 0.03


@pytest.mark.parametrize(
    ("recipe", "tolerance"),
    [("fp8", 0.08), (ALL_FP8, 0.08), (fp8_but("router"), 0.01), (fp8_but("lm_head", "embedding"), 0.01)],
    ids=["fp8 as shipped", "all fp8", "router in bf16", "lm_head in bf16"],
)
def test_deepseek_v3_decodes_at_the_known_bound(recipe: Any, tolerance: float) -> None:
    """tp 8 and ep 8 on eight H200. One matrix in bf16 reproduces the figures; shipped recipes lie around them."""
    ds = rl.decode("deepseek-v3", "dgx-h200", recipe, tp=8, ep=8, batch=BATCHES, context=2048, fidelity="ideal")
    assert np.abs(excess(ds.step_time, (1.18, 7.65, 16.4, 21.7))).max() < tolerance


def test_no_bound_is_beaten_by_kernel() -> None:
    """What measured kernels reach takes at least a tenth longer than the bound, everywhere here."""
    axes = {"tp": 8, "batch": BATCHES, "context": 2048}
    ideal, kernel = (
        rl.decode("llama-3.1-70b", "dgx-h100", ["bf16", "fp8"], **axes, fidelity=fidelity).step_time
        for fidelity in ("ideal", "kernel")
    )
    assert (kernel > 1.1 * ideal).all()
