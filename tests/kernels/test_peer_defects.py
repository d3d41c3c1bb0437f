"""Mistakes that tools of this kind are known to make, one test each, on real models and real numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roofline.kernels.outputs import Var
from roofline.layout import Bound, Component
from roofline.testing.records import PARTS
from roofline.testing.runs import run_decode, run_prefill
from tests.kernels.cells import (
    ALONE,
    BF16,
    BF16_FLOP_PER_S,
    DEEPSEEK,
    FP8,
    FP8_FLOP_PER_S,
    HBM3_BYTES_PER_S,
    HBM3E_BYTES_PER_S,
    LLAMA,
    bytes_moved,
    in_series,
    step,
    with_row,
)


def test_gated_ffn_has_three_matrices() -> None:
    """Gate, up and down: 704 million weights a layer of Llama 70B, not 470. With two, decode beats the memory bound."""
    weights_read = 80 * 3 * 8192 * 28672 / 8 * 2.0
    run = run_decode(in_series(LLAMA), [1], [1])
    assert run.component(Component.FFN)[0, 0, 0] == pytest.approx(weights_read / HBM3_BYTES_PER_S)
    ungated = run_decode(with_row(in_series(LLAMA), 0, ffn_matrices=2), [1], [1])
    ratio = ungated.component(Component.FFN) / run.component(Component.FFN)
    assert ratio[0, 0, 0] == pytest.approx(2 / 3)


def test_decode_attention_is_linear_in_context() -> None:
    """One new token attends to L keys, not L x L: four times the context is four times the core."""
    core = run_decode(in_series(LLAMA), [16], [4096, 16384]).component(Component.ATTENTION_CORE)[0, 0]
    assert core[1] / core[0] == pytest.approx(4, rel=1e-3)
    cache_read = 16 * 4097 * 80 * 2 * 1 * 128 * 2.0
    assert core[0] == pytest.approx(cache_read / HBM3_BYTES_PER_S)


def test_prefill_attention_is_the_causal_half() -> None:
    """Q(Q+1)/2 pairs, not Q^2: at 128k tokens that is a factor of two in most of the FLOP."""
    tokens = 131072
    run = run_prefill(in_series(LLAMA), [1], [tokens])
    flop = 80 * 4 * (64 / 8) * 128 * tokens * (tokens + 1) / 2
    assert run.component(Component.ATTENTION_CORE)[0, 0, 0] == pytest.approx(flop / BF16_FLOP_PER_S)


def test_group_power_is_sum_of_gpus() -> None:
    """Tokens of eight accelerators over the watts of eight, not of one."""
    run = run_decode(LLAMA, [64], [2048])
    power, seconds, joules = (float(run[v][0, 0, 0]) for v in (Var.POWER, Var.STEP, Var.ENERGY))
    assert joules == pytest.approx(8 * power * seconds / 64)
    assert run[Var.GPU_RATE][0, 0, 0] == pytest.approx(64 / seconds / 8)


def test_energy_lies_between_idle_and_tdp() -> None:
    """A box of eight 700 W accelerators cannot spend more than 5.6 kW, nor a running one less than idle."""
    run = run_decode(LLAMA, [1, 16, 64, 128], [2048])
    watts = run[Var.ENERGY][0, :, 0] * np.array([1, 16, 64, 128]) / run.step[0, :, 0]
    assert (watts <= 8 * 700).all()
    assert (watts >= 8 * 75).all()


def test_energy_per_token_falls_with_batch() -> None:
    """Weights are read once for the whole batch: no single J/token stands for a model."""
    joules = run_decode(LLAMA, [1, 4, 16, 64], [2048])[Var.ENERGY][0, :, 0]
    assert (np.diff(joules) < 0).all()
    assert joules[0] / joules[-1] > 20


def test_fp8_has_its_own_peak() -> None:
    """FP8 computes twice as fast, not only in half the bytes: prefill, bound by compute, halves."""
    bf16, fp8 = (run_prefill(replace(LLAMA, kit=kit), [4], [4096]) for kit in (BF16, FP8))
    assert bf16.bound[0, 0, 0] == fp8.bound[0, 0, 0] == Bound.COMPUTE
    assert bf16.step[0, 0, 0] / fp8.step[0, 0, 0] == pytest.approx(FP8_FLOP_PER_S / BF16_FLOP_PER_S)


def test_fp8_halves_the_weights_it_reads() -> None:
    """And decode, bound by memory, halves with the bytes."""
    bf16, fp8 = (step(replace(LLAMA, kit=kit), 1, 2048) for kit in (BF16, FP8))
    assert bf16 / fp8 == pytest.approx(2)


def test_step_time_is_monotone_in_batch() -> None:
    """No batch is served faster than a smaller one."""
    batches = list(range(1, 300))
    for setup in (LLAMA, in_series(LLAMA), DEEPSEEK, in_series(DEEPSEEK)):
        steps = run_decode(setup.on(memory_bytes=1e15), batches, [1024]).step[0, :, 0]
        assert (np.diff(steps) >= -1e-12 * steps[1:]).all()


def test_large_batches_become_compute_bound() -> None:
    """Past a few hundred sequences of short context the GEMMs, not the weights, set the time."""
    run = run_decode(LLAMA.on(memory_bytes=1e15, up_bytes_per_s=1e18), [1, 4096], [16])
    assert run.bound[0, :, 0].tolist() == [Bound.MEMORY, Bound.COMPUTE]
    assert run[Var.MFU][0, 1, 0] > 0.9


def test_only_touched_experts_are_read() -> None:
    """One token meets 8 of 256 experts, 64 tokens 222 of them, and no batch more than all."""
    expert, router = 3 * 7168 * 2048 / 8, 7168 * 256
    routed = with_row(DEEPSEEK, 1, shared_inner=0).on(memory_bytes=1e15)
    without = with_row(routed, 1, experts=0, top_k=0)
    for batch in (1, 64, 2048):
        touched = 256 * (1 - (1 - 8 / 256) ** batch)
        extra = bytes_moved(routed, batch, 1) - bytes_moved(without, batch, 1)
        assert extra == pytest.approx(58 * (touched * expert + router))


def test_experts_touched_are_not_every_choice() -> None:
    """Tokens share experts: 64 tokens of 8 choices read 222 experts, not 256 nor 512."""
    shallow = with_row(in_series(DEEPSEEK), 1, count=1)
    run = run_decode(shallow.on(memory_bytes=1e15), [64], [1]).component(Component.EXPERTS)[0, 0, 0]
    touched = 256 * (1 - (1 - 8 / 256) ** 64)
    expected = (touched * 3 * 7168 * 2048 / 8 + 7168 * 256) / HBM3E_BYTES_PER_S
    assert touched == pytest.approx(222, abs=1)
    assert run == pytest.approx(expected)


@pytest.mark.parametrize(
    ("batch", "bf16_s", "fp8_s"),
    [(1, 5.21e-3, 2.61e-3), (16, 5.59e-3, 2.79e-3), (64, 6.79e-3, 3.39e-3), (256, 11.60e-3, 5.80e-3)],
)
def test_no_result_below_the_ideal_bound(batch: int, bf16_s: float, fp8_s: float) -> None:
    """Llama 70B on eight H100, context 2048: nothing beats the weights and the cache over the bandwidth."""
    wide = LLAMA.on(memory_bytes=1e15)
    lossy = in_series(wide)
    assert lossy.kit is not None
    worse = {name: lossy.kit[name] | {"eta_memory": 0.8, "fixed_s": 4e-6} for name in PARTS}
    for kit, bound_s in ((BF16, bf16_s), (FP8, fp8_s)):
        ideal = replace(wide, kit=kit)
        assert step(ideal.on(up_bytes_per_s=1e18), batch, 2048) == pytest.approx(bound_s, rel=2e-3)
        assert step(ideal, batch, 2048) >= bound_s * (1 - 2e-3)
        assert step(in_series(ideal), batch, 2048) >= step(ideal, batch, 2048)
    assert step(replace(lossy, kit=lossy.kit | worse), batch, 2048) >= bf16_s / 0.8


def test_no_prompt_below_the_ideal_bound() -> None:
    """2048 tokens through eight dense peaks: sparse FLOP/s, which nobody runs at, would halve it."""
    time = run_prefill(LLAMA.on(up_bytes_per_s=1e18), [1], [2048]).step[0, 0, 0]
    assert time == pytest.approx(36.1e-3, rel=1e-2)


def test_mla_cache_is_latent() -> None:
    """576 numbers a token and layer, whatever the heads; heads of K and V would be 71 times as much."""
    memory = run_decode(DEEPSEEK, [1], [1, 1001])[Var.MEMORY][0, 0]
    assert memory[1] - memory[0] == pytest.approx(1000 * 61 * (512 + 64))


def test_mla_cache_does_not_shrink_with_tp() -> None:
    """Tensor parallelism splits heads, and the latent has none; data parallelism splits sequences."""
    at_tp8 = run_decode(DEEPSEEK, [8], [1, 1001])[Var.MEMORY][0, 0]
    wide = DEEPSEEK.deployed(tp=1, dp=8, ep=8, moe_tp=1)
    at_dp8 = run_decode(wide, [8], [1, 1001])[Var.MEMORY][0, 0]
    assert (at_tp8[1] - at_tp8[0]) / (at_dp8[1] - at_dp8[0]) == pytest.approx(8)


def test_mla_reads_its_latent_once_per_sequence() -> None:
    """Absorbed decode reads the cache once, not once per head."""
    core = run_decode(DEEPSEEK, [4], [2048, 4096])
    moved = core[Var.MBU][0, 0] * core.step[0, 0] * HBM3E_BYTES_PER_S
    assert moved[1] - moved[0] == pytest.approx(2048 * 4 * 61 * (512 + 64))


def test_gqa_reads_kv_heads_not_query_heads() -> None:
    """Eight KV heads serve 64 query heads: an eighth of the cache traffic of multi-head attention."""
    grouped = in_series(replace(LLAMA, deployment=ALONE)).on(memory_bytes=1e15)
    full = with_row(grouped, 0, kv_heads=64)
    cores = [run_decode(s, [64], [8192]).component(Component.ATTENTION_CORE)[0, 0, 0] for s in (grouped, full)]
    assert cores[1] / cores[0] == pytest.approx(8)


def test_kv_heads_replicate_past_their_number() -> None:
    """Eight KV heads over sixteen ranks: each keeps one, none keeps half."""
    wide = LLAMA.on(domain=16, max_accelerators=16)
    growth = []
    for tp in (4, 8, 16):
        memory = run_decode(wide.deployed(tp=tp), [1], [1, 1001])[Var.MEMORY][0, 0]
        growth.append(memory[1] - memory[0])
    assert growth[0] / growth[1] == pytest.approx(2)
    assert growth[2] == pytest.approx(growth[1])


def test_tensor_parallelism_pays_for_its_collectives() -> None:
    """Two all-reduces a layer: 160 fixed times a step for Llama 70B, in no way hidden outside `ideal`."""
    slow = in_series(LLAMA).on(one_shot_s=5e-6, two_shot_s=10e-6, gather_s=7e-6)
    run = run_decode(slow, [1], [2048])
    assert run.component(Component.COLLECTIVES)[0, 0, 0] >= 160 * 5e-6
    assert step(slow, 1, 2048) > step(in_series(LLAMA), 1, 2048)


def test_one_accelerator_pays_for_none() -> None:
    """And without peers there is nothing to pay."""
    alone = in_series(replace(LLAMA, deployment=ALONE)).on(one_shot_s=5e-6, memory_bytes=1e15)
    assert run_decode(alone, [1], [2048]).component(Component.COLLECTIVES)[0, 0, 0] == 0


def test_fixed_times_are_counted_outside_ideal() -> None:
    """At batch 1 a step is hundreds of kernels; four microseconds each is half of the time of a fast machine."""
    kit = in_series(LLAMA).kit
    assert kit is not None
    timed = {name: kit[name] | {"fixed_s": 4e-6} for name in PARTS}
    with_fixed = step(replace(LLAMA, kit=kit | timed), 1, 2048)
    operations = 80 * 5 + 1  # qkv, core, out, up, down; lm_head
    assert with_fixed - step(in_series(LLAMA), 1, 2048) == pytest.approx(operations * 4e-6)


def test_embedding_is_looked_up_not_read() -> None:
    """A token reads one row of the table, not two gigabytes of it."""
    alone = replace(LLAMA, deployment=ALONE).on(memory_bytes=1e15)
    doubled = replace(alone, kit=BF16 | {"w_embed": 4.0})
    extra = (step(doubled, 16, 2048) - step(alone, 16, 2048)) * HBM3_BYTES_PER_S
    assert extra == pytest.approx(16 * 8192 * 2.0, rel=1e-3)


def test_lm_head_meets_one_row_of_a_prompt() -> None:
    """Prefill needs the logits of the last token alone."""
    head = run_prefill(in_series(LLAMA), [1], [128, 8192]).component(Component.HEAD)[0, 0]
    look_up = (8192 - 128) * 8192 * 2.0 / HBM3_BYTES_PER_S
    assert head[1] - head[0] == pytest.approx(look_up)


def test_what_does_not_fit_is_said() -> None:
    """Llama 70B in BF16 on one 80 GB accelerator: no number at all, and the memory it would take."""
    run = run_decode(replace(LLAMA, deployment=ALONE), [1], [2048])
    assert np.isnan(run.step).all()
    assert run[Var.MEMORY][0, 0, 0] > 140e9


def test_windows_bound_the_cache_and_its_reads() -> None:
    """A window of 1024 keeps and reads 1024 tokens, however long the context."""
    windowed = with_row(LLAMA, 0, window=1024)
    run = run_decode(windowed, [8], [1024, 2048, 65536])
    assert len(set(run.step[0, 0].tolist())) == 1
    assert len(set(run[Var.MEMORY][0, 0].tolist())) == 1
