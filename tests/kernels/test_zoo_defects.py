"""Mistakes made of states, chunks, selections, latent experts, drafts and tori, one test each, on real models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roofline.kernels.outputs import Var
from roofline.layout import Component, Topology
from roofline.testing.runs import run_decode, run_prefill
from tests.kernels.cells import (
    BF16,
    FP8,
    FP8_FLOP_PER_S,
    HBM3E_BYTES_PER_S,
    LLAMA,
    alone,
    bytes_moved,
    in_series,
    memory,
    step,
    with_row,
)
from tests.oracle.cases import DEEPSEEK_V3, TP8, model_of
from tests.oracle.zoo import (
    DEEPSEEK_V3_MTP,
    DEEPSEEK_V32,
    LATENT_EXPERTS,
    LLAMA_4_MAVERICK,
    NEMOTRON_H_56B,
    QWEN3_NEXT,
)


def test_chunked_local_is_not_full_attention() -> None:
    """Llama 4: 36 of 48 layers keep and read a chunk of 8192 tokens at most, whatever the context."""
    llama, cache = alone(LLAMA_4_MAVERICK, BF16), 2 * 8 * 128 * 2
    assert memory(llama, 1, 1 << 20) - memory(llama, 1, 8192) == pytest.approx(12 * cache * ((1 << 20) - 8192))
    read = bytes_moved(llama, 1, 1 << 20) - bytes_moved(llama, 1, 8192)
    assert read == pytest.approx(12 * cache * ((1 << 20) - 8192))


def test_chunked_local_is_not_a_sliding_window() -> None:
    """The first token of a chunk sees itself alone; over a chunk the mean is half of it."""
    llama, cache = alone(LLAMA_4_MAVERICK, BF16), 2 * 8 * 128 * 2
    assert bytes_moved(llama, 1, 8193) - bytes_moved(llama, 1, 8192) == pytest.approx(cache * (12 - 36 * 8191))
    every = run_decode(llama, [1], list(range(8193, 16385)))
    moved = (every[Var.MBU] * every.step * HBM3E_BYTES_PER_S)[0, 0]
    assert (moved - moved[0]).mean() == pytest.approx(cache * (36 + 12) * (8192 - 1) / 2)


def test_a_state_is_kept_per_sequence_not_per_token() -> None:
    """Nemotron-H: 906 MB of Mamba-2 state a sequence at any context; a token adds to ten layers' caches alone."""
    hybrid = alone(NEMOTRON_H_56B, BF16)
    assert memory(hybrid, 1, 8192) - memory(hybrid, 1, 1) == pytest.approx(8191 * 10 * 2 * 8 * 128 * 2)
    held = 54 * (256 * 64 * 256 * 4 + (256 * 64 + 2 * 8 * 256) * 3 * 2)
    assert memory(hybrid, 9, 1) - memory(hybrid, 8, 1) == pytest.approx(held + 10 * 2 * 8 * 128 * 2)


def test_a_state_is_read_and_written_each_step() -> None:
    """At batch 64 that is 116 GB, more than the weights: without it a hybrid would be faster than light."""
    state, weights = 64 * 54 * 2 * 256 * 64 * 256 * 4, 2 * 55.2e9  # B, without the embedding table
    assert state > weights
    assert step(alone(NEMOTRON_H_56B, BF16), 64, 1) > (state + weights) / HBM3E_BYTES_PER_S


def test_linear_attention_is_linear_in_a_prompt() -> None:
    """Four times the tokens, four times the scan: no pairs of tokens are counted."""
    hybrid = in_series(alone(QWEN3_NEXT | {"rows": QWEN3_NEXT["rows"][:1], "layers": 36}, BF16))
    scan = run_prefill(hybrid, [1], [32768, 131072]).component(Component.ATTENTION_CORE)[0, 0]
    assert scan[1] / scan[0] == pytest.approx(4, rel=1e-2)


def test_an_output_gate_has_weights() -> None:
    """Qwen3-Next: 79.7 billion parameters, with projections of gates as wide as those of queries."""
    parameters = memory(alone(QWEN3_NEXT, BF16), 1, 1) / 2
    state = (75_497_472 + 36 * (32 * 128 + 2 * 16 * 128) * 3 * 2 + 24_576) / 2
    assert parameters - state == pytest.approx(79_674_391_296, rel=1e-3)
    gates = memory(with_row(alone(QWEN3_NEXT, BF16), 1, gated=0), 1, 1) / 2
    assert parameters - gates == pytest.approx(12 * 2048 * 16 * 256)


def test_sparse_attention_reads_what_it_selects() -> None:
    """DeepSeek-V3.2: past 2048 tokens only 132 B of index a token and layer grow, not 576 B of cache."""
    sparse, dense = alone(DEEPSEEK_V32, FP8), alone(DEEPSEEK_V3, FP8)
    assert bytes_moved(sparse, 16, 120_001) - bytes_moved(sparse, 16, 20_001) == pytest.approx(16 * 61 * 132 * 100_000)
    assert step(sparse, 64, 120_000) < step(dense, 64, 120_000)
    cores = [
        run_prefill(in_series(setup), [1], [120_000]).component(Component.ATTENTION_CORE)[0, 0, 0]
        for setup in (sparse, dense)
    ]
    assert cores[0] < cores[1]


def test_an_indexer_is_not_free() -> None:
    """It scores every token before it: weights, a cache that tp does not split, and time at short contexts."""
    wide = {"deployment": TP8 | {"moe_tp": 8}}
    sparse, dense = (replace(alone(model, FP8), **wide) for model in (DEEPSEEK_V32, DEEPSEEK_V3))
    assert step(sparse, 16, 2048) > step(dense, 16, 2048)
    indexers = 61 * (1536 * 64 * 128 + 7168 * (128 + 64))
    extra = memory(sparse, 3, 10_000) - memory(dense, 3, 10_000)
    assert extra == pytest.approx(indexers + 3 * 61 * 132 * 10_000)
    scores = [
        run_prefill(in_series(setup), [1], [100_000])[Var.CLASS_COMPUTE][0, 0, 0]
        for setup in (sparse, sparse.seeing(index_heads=0))
    ]
    assert scores[0] - scores[1] > 61 * 2 * 64 * 128 * 100_000 * 100_001 / 2 / FP8_FLOP_PER_S


def test_latent_experts_work_in_their_own_width() -> None:
    """A quarter of the hidden width is a quarter of the bytes of an expert, and two projections for all tokens."""
    widths = {}
    for width in (1024, 4096):
        model = model_of([LATENT_EXPERTS | {"expert_hidden": width}], 4096, 1)
        widths[width] = bytes_moved(alone(model, FP8), 1, 1)
    assert widths[4096] - widths[1024] == pytest.approx(22 * 2 * 3072 * 2688 - 2 * 4096 * 1024)


def test_drafts_are_not_free() -> None:
    """DeepSeek-V3, one draft: even if all are taken it gains less than twofold, and none taken it loses."""
    setup = alone(DEEPSEEK_V3_MTP, FP8)
    plain = run_decode(setup, [16], [4096])[Var.USER_RATE][0, 0, 0]
    rates = [
        run_decode(setup, [16], [4096], 2, drafts=1, tokens_per_step=kept)[Var.USER_RATE][0, 0, 0]
        for kept in (1.0, 2.0)
    ]
    assert rates[0] < plain < rates[1] < 2 * plain
    assert rates[1] == pytest.approx(2 * rates[0])


def test_a_draft_module_takes_memory() -> None:
    """11.5 GB of one more layer of experts, and its cache."""
    setup = alone(DEEPSEEK_V3_MTP, FP8)
    with_drafts, without = (run_decode(setup, [2], [1000], 2, drafts=n)[Var.MEMORY][0, 0, 0] for n in (1, 0))
    assert with_drafts - without == pytest.approx(11.6e9, rel=1e-2)


def test_a_torus_is_not_a_switch() -> None:
    """A group of four on a ring of sixteen has one of each accelerator's two links, and three hops of latency."""
    ring = {"domain": 16, "max_accelerators": 16, "mesh": int(Topology.TORUS), "axis_x": 16, "in_switch": 0}
    setup = in_series(LLAMA).on(**ring).on(memory_bytes=1e15).deployed(tp=4)
    sent = [
        run_decode(s, [256], [64])[Var.CLASS_NETWORK][0, 0, 0] for s in (setup, setup.on(mesh=int(Topology.SWITCHED)))
    ]
    assert sent[0] == pytest.approx(2 * sent[1])
    late = setup.on(up_bytes_per_s=1e18, up_hop_s=1e-6)
    hops = [
        run_decode(s, [1], [64]).component(Component.COLLECTIVES)[0, 0, 0]
        for s in (late, late.on(mesh=int(Topology.SWITCHED)))
    ]
    assert hops[0] == pytest.approx(3 * hops[1])


def test_undisclosed_power_is_not_made_up() -> None:
    """No TDP, no watts: a step has its time and no energy."""
    run = run_decode(LLAMA.on(tdp_w=float("nan")), [64], [2048])
    assert np.isnan(run[Var.POWER]).all()
    assert np.isnan(run[Var.ENERGY]).all()
    assert run.step[0, 0, 0] == step(LLAMA, 64, 2048)
