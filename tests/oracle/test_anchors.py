"""The oracle against hand-made numbers: bounds worked out apart from this project, and small cases by arithmetic."""

from __future__ import annotations

import pytest

from roofline.layout import Limit
from tests.oracle import decode, largest_batch, prefill
from tests.oracle.cases import DEEPSEEK_V3, LLAMA_70B, TP8, dense_row, ideal_box, ideal_kit, model_of
from tests.oracle.feedforward import expert_load


@pytest.mark.parametrize(
    ("batch", "bf16_s", "fp8_s"),
    [(1, 5.21e-3, 2.61e-3), (16, 5.59e-3, 2.79e-3), (64, 6.79e-3, 3.39e-3), (256, 11.60e-3, 5.80e-3)],
)
def test_llama_70b_on_eight_h100_decodes_at_the_known_bound(batch: int, bf16_s: float, fp8_s: float) -> None:
    """Weights and KV over bandwidth, context 2048, tp 8; network left out by a very fast link."""
    machine = ideal_box(3.35e12) | {"up_bytes_per_s": 1e18}
    bf16 = decode(LLAMA_70B, machine, ideal_kit(2.0, 2.0, 989.4e12), TP8, batch, 2048)
    fp8 = decode(LLAMA_70B, machine, ideal_kit(1.0, 1.0, 1978.9e12), TP8, batch, 2048)
    assert bf16["step"] == pytest.approx(bf16_s, rel=2e-3)
    assert fp8["step"] == pytest.approx(fp8_s, rel=2e-3)


def test_llama_70b_on_eight_h100_prefills_at_the_known_bound() -> None:
    """2048 tokens: 2 FLOP per parameter and the causal half of attention over eight peaks."""
    machine = ideal_box(3.35e12) | {"up_bytes_per_s": 1e18}
    result = prefill(LLAMA_70B, machine, ideal_kit(2.0, 2.0, 989.4e12), TP8, 1, 2048, 0, 2048)
    assert result["time"] == pytest.approx(36.1e-3, rel=1e-2)


@pytest.mark.parametrize(("batch", "bound_s"), [(1, 1.18e-3), (16, 7.65e-3), (64, 16.4e-3), (256, 21.7e-3)])
def test_deepseek_v3_on_eight_h200_decodes_at_the_known_bound(batch: int, bound_s: float) -> None:
    """FP8 at tp 8, context 2048: experts by expected coverage, the latent cache and its projections replicated."""
    machine = ideal_box(4.8e12, memory_bytes=141e9) | {"up_bytes_per_s": 1e18}
    result = decode(DEEPSEEK_V3, machine, ideal_kit(1.0, 1.0, 1978.9e12), TP8 | {"moe_tp": 8}, batch, 2048)
    assert result["step"] == pytest.approx(bound_s, rel=2.5e-2)


def test_experts_touched_match_the_chance_of_being_chosen() -> None:
    """One token touches k experts; k = E touches all; the mean follows 1 - (1 - k/E)^T."""
    row = {"experts": 16, "top_k": 4}
    mean = {"fullest_rank": 0, "expert_skew": 1.0}
    assert expert_load(row, mean, 1, 1)[0] == pytest.approx(4.0)
    assert expert_load(row, mean, 4, 2) == pytest.approx((4 * (1 - 0.75**2), 2.0))
    assert expert_load({"experts": 4, "top_k": 4}, mean, 2, 1) == pytest.approx((2.0, 2.0))


def test_largest_batch_is_memory_over_cache_by_hand() -> None:
    """One layer, no weights to speak of: capacity divides by what one sequence keeps."""
    model = model_of([dense_row(1, 1, 1, 64, 0)], 1, 1)
    kit = ideal_kit(1.0, 2.0, 1e12)
    one_sequence = 2 * 64 * 2 * 1000
    weights = 64 * 4 + 2  # q, k, v, o of width 64 on a hidden of 1; embedding and lm_head
    machine = ideal_box(1e12, memory_bytes=float(weights + 7 * one_sequence))
    alone = TP8 | {"tp": 1}
    assert largest_batch(model, machine, kit, alone, 1, 1000, 50) == 7
    assert decode(model, machine, kit, alone, 7, 1000)["limit"] == Limit.NONE
    assert decode(model, machine, kit, alone, 8, 1000)["limit"] == Limit.MEMORY
