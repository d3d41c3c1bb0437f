"""The oracle's mixed step against numbers worked out by hand: Llama 3.1 70B on eight H100, a scan, experts of ranks."""

from __future__ import annotations

import pytest

from roofline.layout import Limit
from tests.oracle import decode, mixed, prefill
from tests.oracle.cases import LLAMA_70B, TP8, dense_row, ideal_box, ideal_kit, linear_row, model_of

BF16 = ideal_kit(2.0, 2.0, 989.4e12) | {"bound": 0}
"""Perfect efficiency, operations in series."""

BOX = ideal_box(3.35e12, 1e15) | {"up_bytes_per_s": 1e18}
ALONE = TP8 | {"tp": 1}
LAYERS_OF_WEIGHTS = 80 * (8192 * (64 + 16) * 128 + 64 * 128 * 8192 + 3 * 8192 * 28672)
"""Parameters of the 80 layers, without embedding and lm_head."""


def step(batch: int, chunk: int, length: int, context: int = 2048) -> dict[str, float]:
    return mixed(LLAMA_70B, BOX, BF16, TP8, batch, context, 1, chunk, length)


def test_a_small_chunk_costs_little_more_than_the_decode_step() -> None:
    """64 sequences and 64 tokens of a prompt: weights are read once for both, far below the ridge of 295 rows."""
    result = step(64, 64, 64)
    cache = 64 * 80 * 2 * 128 * 2 * (2048 + 1) / 3.35e12  # of one KV head a rank
    weights = 2 * LAYERS_OF_WEIGHTS / 8 / 3.35e12
    assert result["decode_step"] == pytest.approx(weights + cache, rel=2e-2)
    assert result["decode_step"] < result["step"] < 1.01 * result["decode_step"]


def test_a_large_chunk_is_bound_by_compute() -> None:
    """8192 tokens: 2 FLOP a parameter and row, and the causal half of attention, over eight peaks."""
    result = step(64, 8192, 8192)
    products = 2 * (8192 + 64) * LAYERS_OF_WEIGHTS
    causal = 80 * 4 * 64 * 128 * (8192 * 8193 / 2)
    seen = 80 * 4 * 64 * 128 * 64 * 2048  # by the decoding sequences
    head = 2 * 65 * 8192 * 128256
    compute = (products + causal + seen + head) / 8 / 989.4e12
    assert result["C"] == pytest.approx(compute, rel=1e-9)
    cache = 64 * 80 * 2 * 128 * 2 * (2048 + 1) / 3.35e12  # bound by memory still: the cores of those that decode
    assert result["step"] == pytest.approx(compute + cache, rel=2e-2)


def test_what_the_chunk_moves_beside_the_weights() -> None:
    """Keys and values of what it reads and writes, and a row of embedding for each of its tokens."""
    without = decode(LLAMA_70B, BOX, BF16, TP8, 64, 2048)
    result = step(64, 512, 3000)
    cache = 80 * 2 * 128 * 2 * (3000 + 512)
    assert result["D"] - without["D"] == pytest.approx(cache + 512 * 8192 * 2)
    later = step(64, 512, 4000)
    assert later["D"] - result["D"] == pytest.approx(80 * 2 * 128 * 2 * 1000)


def test_a_step_apart_reads_the_weights_once_more() -> None:
    """A chunk too small to be bound by compute saves a whole pass over the weights."""
    apart = decode(LLAMA_70B, BOX, BF16, TP8, 8, 2048)["step"]
    apart += prefill(LLAMA_70B, BOX, BF16, TP8, 1, 64, 0, 64)["time"]
    weights = 2 * (LAYERS_OF_WEIGHTS + 8192 * 128256) / 8 / 3.35e12
    assert apart - step(8, 64, 64)["step"] == pytest.approx(weights, rel=1e-3)


def test_a_pipeline_waits_for_the_micro_batch_with_the_chunk() -> None:
    """Four stages of twenty layers: only what the slowest, the last with its lm_head, takes longer is added."""
    at = ALONE | {"tp": 2, "pp": 4}
    result = mixed(LLAMA_70B, BOX, BF16, at, 64, 2048, 1, 8192, 8192)
    plain = decode(LLAMA_70B, BOX, BF16, at, 64, 2048)["step"]
    assert result["decode_step"] == plain
    products = 2 * (8192 + 16) * LAYERS_OF_WEIGHTS / 4 / 2 / 989.4e12
    weights = 2 * LAYERS_OF_WEIGHTS / 4 / 2 / 3.35e12
    causal = 20 * 4 * 32 * 128 * (8192 * 8193 / 2) / 989.4e12
    assert result["step"] - plain == pytest.approx(products - weights + causal, rel=1e-3)


def test_only_the_chunk_pays_for_the_work_inside_chunks_of_a_scan() -> None:
    """States of three sequences and of one more; chunk_flop for the ten tokens of the prompt alone."""
    row = linear_row(1, 8, 8, 16, 32, gates=1, conv=1, state_flop=4, chunk_flop=1000)
    model = model_of([row], 64, 1)
    kit = BF16 | {"chunk_work": 1.0}
    result = mixed(model, BOX, kit, ALONE, 3, 100, 1, 10, 10)
    columns, values = 2 * 8 * 32 + 2 * 8 * 16 + 8, 8 * 32
    products = 2 * 13 * 64 * (columns + values) + 2 * (3 + 1) * 64
    scans = 13 * 8 * 4 * 16 * 32 + 10 * 8 * 1000
    assert result["C"] == pytest.approx((products + scans) / 989.4e12)
    states = (3 + 1) * 2 * 8 * 16 * 32 * 4
    assert result["D"] == pytest.approx(2 * 64 * (columns + values) + 2 * 64 + 13 * 64 * 2 + states)


def test_every_attention_rank_has_a_chunk() -> None:
    """Four ranks with two experts each, three sequences and ten tokens of a prompt a rank: 52 meet experts."""
    row = dense_row(1, 2, 1, 64, 0) | {"experts": 8, "top_k": 2, "expert_inner": 96, "expert_hidden": 32}
    model = model_of([row], 32, 50)
    at = ALONE | {"dp": 4, "ep": 4}
    result = mixed(model, BOX, BF16, at, 12, 100, 1, 10, 25)
    rows, routed = 3 + 10, 4 * (3 + 10) * 2 / 4
    attention = 2 * rows * 32 * (2 + 2) * 64 + 2 * rows * 2 * 64 * 32
    cores = 2 * 2 * (64 + 64) * (3 * 100 + sum(range(16, 26)))
    experts = 2 * rows * 32 * 8 + 2 * 3 * 32 * 96 * routed
    head = 2 * (3 + 1) * 32 * 50
    assert result["C"] == pytest.approx((attention + cores + experts + head) / 989.4e12)
    touched = 2 * (1 - (1 - 2 / 8) ** 52)
    weights = 2 * (32 * (2 + 2) * 64 + 2 * 64 * 32 + 32 * 8 + 32 * 50 + touched * 3 * 32 * 96)
    caches = (64 + 64) * 2 * (3 * (100 + 1) + 25 + 10)
    assert result["D"] == pytest.approx(weights + caches + rows * 32 * 2)  # and a row of embedding for each token


def test_a_mixed_step_holds_one_sequence_more_on_each_rank() -> None:
    """One layer, next to no weights: seven caches of 1000 tokens are six that decode and a prompt of 1000."""
    model = model_of([dense_row(1, 1, 1, 64, 0)], 1, 1)
    kit = ideal_kit(1.0, 2.0, 1e12) | {"bound": 0}
    one_sequence, weights = 2 * 64 * 2 * 1000, 64 * 4 + 2
    machine = ideal_box(1e12, memory_bytes=float(weights + 7 * one_sequence))
    assert mixed(model, machine, kit, ALONE, 6, 1000, 1, 10, 1000)["limit"] == Limit.NONE
    assert mixed(model, machine, kit, ALONE, 6, 1000, 1, 10, 1001)["limit"] == Limit.MEMORY
    assert mixed(model, machine, kit, ALONE, 7, 1000, 1, 10, 10)["limit"] == Limit.MEMORY
    ranks = ALONE | {"dp": 2}
    assert mixed(model, machine, kit, ranks, 12, 1000, 1, 10, 1000)["limit"] == Limit.NONE
    assert mixed(model, machine, kit, ranks, 13, 1000, 1, 10, 1000)["limit"] == Limit.MEMORY
    short = model | {"max_context": 999}
    assert mixed(short, machine, kit, ALONE, 1, 10, 1, 10, 1000)["limit"] == Limit.CONTEXT
    with pytest.raises(ValueError, match="in series"):
        mixed(model, machine, kit | {"bound": 1}, ALONE, 1, 10, 1, 10, 10)
