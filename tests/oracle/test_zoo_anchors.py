"""The oracle on models with states, chunks, selections, latent experts and drafts, against numbers worked by hand."""

from __future__ import annotations

import pytest

from roofline.layout import NO_WINDOW, Component, Limit, Topology
from tests.oracle import decode, limit_of, memory_of, operations_of, prefill
from tests.oracle.cases import DEEPSEEK_V3, LLAMA_70B, TP8, dense_row, ideal_box, ideal_kit, model_of
from tests.oracle.zoo import (
    DEEPSEEK_V3_MTP,
    DEEPSEEK_V32,
    LATENT_EXPERTS,
    LLAMA_4_MAVERICK,
    MAMBA_OF_NEMOTRON_H,
    NEMOTRON_H_56B,
    QWEN3_NEXT,
)

ALONE = TP8 | {"tp": 1}
BF16 = ideal_kit(2.0, 2.0, 989.4e12)
FP8 = ideal_kit(1.0, 1.0, 1978.9e12)
HUGE = ideal_box(4.8e12, memory_bytes=1e15) | {"up_bytes_per_s": 1e18}
STATE = 256 * 64 * 256 * 4  # B a layer and sequence of Nemotron-H: heads x width x state in FP32
CONV = (256 * 64 + 2 * 8 * 256) * 3 * 2  # B of its convolution's last three tokens in BF16


def moved(model: dict, kit: dict, batch: int, context: int, **more: int) -> float:
    return float(decode(model, HUGE, kit, ALONE, batch, context, **more)["D"])


def test_mamba_state_is_read_and_written_each_step() -> None:
    """Twice 16.8 MB a layer and sequence: with 54 of them 1.8 GB a step, as much as 44,000 tokens of the cache."""
    model = NEMOTRON_H_56B
    assert STATE == 16_777_216
    more = moved(model, BF16, 2, 4096) - moved(model, BF16, 1, 4096)
    cache = 10 * 2 * 8 * 128 * 2.0 * (4096 + 1)
    look_up = 8192 * 2
    assert more == pytest.approx(54 * (2 * STATE + 2 * CONV) + cache + look_up)
    assert moved(model, BF16, 1, 8192) - moved(model, BF16, 1, 4096) == pytest.approx(10 * 2 * 8 * 128 * 2 * 4096)


def test_mamba_weights_and_state_in_memory() -> None:
    """56.3 billion parameters; 906 MB of state a sequence, at any context."""
    at = {length: memory_of(NEMOTRON_H_56B, HUGE, BF16, ALONE, 3, 1, length, False) for length in (1, 8192)}
    assert at[1]["weights"] == pytest.approx(2 * 56_324_350_464, rel=2e-4)
    grown = 10 * 2 * 8 * 128 * 2 * 8191
    assert 54 * STATE == 905_969_664
    assert at[1]["cache"] == pytest.approx(3 * (54 * (STATE + CONV) + grown / 8191))
    assert at[8192]["cache"] - at[1]["cache"] == pytest.approx(3 * grown)


def test_checking_drafts_writes_a_state_for_each() -> None:
    """In `kernel`: one state read and as many written as tokens are checked; `ideal` writes the one that is kept."""
    model = model_of([MAMBA_OF_NEMOTRON_H | {"count": 1}], 8192, 1)
    bounds = {0: 1 + 4, 1: 1 + 1}
    for bound, states in bounds.items():
        listed = operations_of(model, HUGE, BF16 | {"bound": bound}, ALONE, 1, 4, 100, False)
        scan = next(o for o in listed if o["name"] == "scan")
        assert scan["bytes"] == pytest.approx(states * STATE + 2 * CONV)
        assert scan["flop"] == 4 * 256 * 4 * 256 * 64


def test_scan_of_a_prompt_adds_what_chunks_cost() -> None:
    """Mamba-2 in chunks of 128: 2*128*(256*8/256 + 64) FLOP a head and token beside the state's 4*256*64."""
    model = model_of([MAMBA_OF_NEMOTRON_H | {"count": 1}], 8192, 1)
    for work in (0.0, 1.0):
        listed = operations_of(model, HUGE, BF16 | {"chunk_work": work}, ALONE, 1, 1000, 1000, True)
        scan = next(o for o in listed if o["name"] == "scan")
        assert scan["flop"] == 1000 * 256 * (65536 + work * 18432)
        assert scan["bytes"] == pytest.approx(2 * STATE + 2 * CONV)


def test_qwen3_next_keeps_a_state_and_a_small_cache() -> None:
    """79.7 billion parameters; 75.5 MB of state, and 24,576 B a token in the twelve layers that attend."""
    at = {length: memory_of(QWEN3_NEXT, HUGE, BF16, ALONE, 1, 1, length, False) for length in (1, 100_001)}
    assert at[1]["weights"] == pytest.approx(2 * 79_674_391_296, rel=1e-3)
    assert at[100_001]["cache"] - at[1]["cache"] == pytest.approx(100_000 * 24_576)
    conv = 36 * (32 * 128 + 2 * 16 * 128) * 3 * 2
    assert at[1]["cache"] == pytest.approx(75_497_472 + conv + 24_576)


def test_output_gate_widens_the_projection() -> None:
    """Q of 16 heads and as wide a gate, two heads of K and V: 8192 + 1024 columns of 256 each."""
    listed = operations_of(QWEN3_NEXT, HUGE, BF16, ALONE, 1, 1, 100, False)
    columns = {o["kind"]: o["flop"] / 2 / 2048 for o in listed if o["name"] in ("qkv projection", "input projection")}
    assert columns == {0: 12_352, 1: (2 * 16 + 2 * 2) * 256}


@pytest.mark.parametrize("batch", [1, 16])
def test_selected_tokens_leave_the_index_cache_to_grow(batch: int) -> None:
    """DeepSeek-V3 reads 576 B of cache a token and layer; V3.2 reads 2048 tokens of it, and 132 B of index of all."""
    for context in (4096, 100_000):
        ends = context, context + 1
        v3 = [moved(DEEPSEEK_V3, FP8, batch, length) for length in ends]
        v32 = [moved(DEEPSEEK_V32, FP8, batch, length) for length in ends]
        assert v3[1] - v3[0] == pytest.approx(batch * 61 * 576)
        assert v32[1] - v32[0] == pytest.approx(batch * 61 * 132)
        indexers = 61 * (1536 * 64 * 128 + 7168 * (128 + 64))
        extra = indexers + batch * 61 * (132 * (context + 1) - 576 * (context - 2048))
        assert v32[0] - v3[0] == pytest.approx(extra)


def test_v32_is_slower_at_short_contexts_and_faster_at_long_ones() -> None:
    """The bounds on eight H200 at batch 64: the indexer costs until what it leaves unread is more."""
    box, wide = ideal_box(4.8e12, 1e15) | {"up_bytes_per_s": 1e18}, TP8 | {"moe_tp": 8}
    v3, v32 = (
        [decode(model, box, FP8, wide, 64, length)["step"] for length in (2048, 65536)]
        for model in (DEEPSEEK_V3, DEEPSEEK_V32)
    )
    assert 1 < v32[0] / v3[0] < 1.15
    # 64 sequences: 576 B of cache against 132 B of index a token and layer, beside 61 GB of weights a rank
    saved = 64 * 61 * (576 * (65536 - 2048) - 132 * 65537) / 4.8e12
    extra = 61 * (1536 * 64 * 128 + 7168 * 192) / 4.8e12
    assert v3[1] - v32[1] == pytest.approx(saved - extra, rel=1e-3)


def test_indexer_and_its_cache_take_memory() -> None:
    """852 million parameters, and 132 B a token and layer that no rank shares."""
    v3, v32 = (
        memory_of(model, HUGE, FP8, TP8 | {"moe_tp": 8}, 2, 1, 10_000, False) for model in (DEEPSEEK_V3, DEEPSEEK_V32)
    )
    assert v32["weights"] - v3["weights"] == pytest.approx(61 * (1536 * 64 * 128 + 7168 * 192))
    assert v32["cache"] - v3["cache"] == pytest.approx(2 * 61 * 132 * 10_000)


def test_a_chunk_ends_at_8192() -> None:
    """Llama 4: at 8192 tokens 48 layers read them all, at 8193 the 36 chunked ones read one."""
    cache = 2 * 8 * 128 * 2
    at = [moved(LLAMA_4_MAVERICK, BF16, 1, length) for length in (8192, 8193, 16384)]
    assert at[1] - at[0] == pytest.approx(-36 * cache * 8191 + 12 * cache)
    assert at[2] - at[0] == pytest.approx(12 * cache * 8192)
    kept = [
        memory_of(LLAMA_4_MAVERICK, HUGE, BF16, ALONE, 1, 1, length, False)["cache"] for length in (8192, 8193, 16384)
    ]
    assert kept == pytest.approx([48 * cache * 8192, cache * (48 * 8192 + 12), cache * (48 * 8192 + 12 * 8192)])


def test_llama_4_prompt_across_chunks() -> None:
    """16384 tokens: two triangles of 8192 in 36 layers and one of 16384 in twelve."""
    listed = operations_of(LLAMA_4_MAVERICK, HUGE, BF16, ALONE, 1, 16384, 16384, True)
    flop = {o["kind"]: o["flop"] for o in listed if o["name"] == "core"}
    local, full = 2 * 8192 * 8193 // 2, 16384 * 16385 // 2
    assert flop == {0: 4 * 40 * 128 * local, 1: 4 * 40 * 128 * local, 2: 4 * 40 * 128 * full}


def test_latent_experts_work_in_their_width_and_pay_the_way_there() -> None:
    """Two matrices of 1024 x 2688 an expert, and 2 * 4096 * 1024 weights down and up for all tokens."""
    model = model_of([LATENT_EXPERTS], 4096, 1)
    listed = {o["name"]: o for o in operations_of(model, HUGE, FP8, ALONE, 64, 1, 1, False)}
    touched = 512 * (1 - (1 - 22 / 512) ** 64)
    assert listed["experts"]["bytes"] == pytest.approx(touched * 2 * 1024 * 2688)
    assert listed["latent down"]["bytes"] == listed["latent up"]["bytes"] == 4096 * 1024
    assert listed["latent down"]["flop"] == 2 * 64 * 4096 * 1024
    wide = model_of([LATENT_EXPERTS | {"expert_hidden": 4096}], 4096, 1)
    weights = [memory_of(m, HUGE, FP8, ALONE, 1, 1, 1, False)["weights"] for m in (wide, model)]
    assert weights[0] - weights[1] == pytest.approx(512 * 2 * 3072 * 2688 - 2 * 4096 * 1024)


def test_a_draft_is_a_layer_a_join_and_a_head() -> None:
    """DeepSeek-V3, one draft: its layer, [2h, h] weights, the lm_head and a row of embedding."""
    hidden, vocab = 7168, 129280
    checking = moved(DEEPSEEK_V3_MTP, FP8, 1, 4096, new_tokens=2)
    speculating = moved(DEEPSEEK_V3_MTP, FP8, 1, 4096, new_tokens=2, drafts=1)
    deeper = DEEPSEEK_V3 | {"rows": [DEEPSEEK_V3["rows"][0], DEEPSEEK_V3["rows"][1] | {"count": 59}]}
    layer = moved(deeper, FP8, 1, 4096) - moved(DEEPSEEK_V3, FP8, 1, 4096)
    assert speculating - checking == pytest.approx(layer + 2 * hidden**2 + hidden * vocab + hidden)


def test_drafts_scale_rates_by_what_is_kept() -> None:
    """One draft taken at 85 %: 1.85 tokens a step, of a step that is longer."""
    arguments = DEEPSEEK_V3_MTP, HUGE, FP8, ALONE, 8, 4096
    plain = decode(*arguments)
    kept = decode(*arguments, new_tokens=2, drafts=1, tokens_per_step=1.85)
    assert kept["tokens_per_s_per_user"] == pytest.approx(1.85 / kept["step"])
    assert kept["joules_per_token"] == pytest.approx(kept["energy"] / (8 * 1.85))
    assert kept["step"] > plain["step"]
    every = decode(*arguments, new_tokens=2, drafts=1)
    assert every["tokens_per_s_per_user"] == pytest.approx(2 / kept["step"])


def test_a_draft_module_takes_memory_where_it_drafts() -> None:
    """11.5 billion parameters of a layer of experts, its cache, and 2 * 7168^2 to join."""
    deployment = ALONE
    without, with_drafts = (
        memory_of(DEEPSEEK_V3_MTP, HUGE, FP8, deployment, 2, 2, 1000, False, drafts) for drafts in (0, 1)
    )
    mla = 7168 * (1536 + 576) + 1536 * 128 * 192 + 512 * 128 * 256 + 128 * 128 * 7168
    layer = mla + 257 * 3 * 7168 * 2048 + 256 * 7168
    assert with_drafts["weights"] - without["weights"] == pytest.approx(layer + 2 * 7168**2)
    assert with_drafts["cache"] - without["cache"] == pytest.approx(2 * 576 * 1000)


def test_drafts_need_a_module() -> None:
    """And the layers of the module must allow the deployment, where it drafts."""
    assert limit_of(LLAMA_70B, HUGE, BF16, TP8, 1, 2, 1000, False, 1) == Limit.DRAFT
    odd = LLAMA_70B | {"draft_rows": [dense_row(1, 7, 7, 128, 28672)], "draft_modules": 1}
    assert limit_of(odd, HUGE, BF16, TP8, 1, 2, 1000, False, 0) == Limit.NONE
    assert limit_of(odd, HUGE, BF16, TP8, 1, 2, 1000, False, 1) == Limit.HEADS
    late = LLAMA_70B | {"max_context": 10}
    assert limit_of(late, HUGE, BF16, TP8, 1, 2, 1000, False, 1) == Limit.DRAFT


def test_wide_values_count_where_values_do() -> None:
    """Keys of 192 and values of 128: 320 numbers a token and KV head, 2*320 FLOP a pair, an output of 128 a head."""
    model = model_of([dense_row(1, 8, 2, 192, 0, NO_WINDOW) | {"v_head": 128}], 512, 1)
    listed = {o["name"]: o for o in operations_of(model, HUGE, BF16, ALONE, 1, 1, 999, False)}
    assert listed["core"]["bytes"] == 2 * 320 * 2 * 1000
    assert listed["core"]["flop"] == 2 * 8 * 320 * 999
    assert listed["output projection"]["flop"] == 2 * 8 * 128 * 512


def test_undisclosed_tdp_leaves_time_alone() -> None:
    """No power, no energy; the same step."""
    secret = decode(LLAMA_70B, HUGE | {"tdp_w": float("nan")}, BF16, TP8, 4, 1000)
    assert secret["step"] == decode(LLAMA_70B, HUGE, BF16, TP8, 4, 1000)["step"]
    assert all(secret[name] != secret[name] for name in ("power", "energy", "joules_per_token"))


def test_all_reduce_over_a_torus_uses_the_links_of_its_box() -> None:
    """Four of a ring of sixteen form a line: one of two links each, so twice the time of four on a switch."""
    slow = ideal_box(4.8e12, 1e15) | {"max_accelerators": 16, "domain": 16, "up_bytes_per_s": 1e9, "in_switch": 0}
    ring = slow | {"mesh": int(Topology.TORUS), "axis_x": 16}
    kit, at = BF16 | {"bound": 0}, ALONE | {"tp": 4}
    times = [decode(LLAMA_70B, box, kit, at, 1, 1000)["components"][Component.COLLECTIVES] for box in (slow, ring)]
    assert times[1] / times[0] == pytest.approx(2)
    whole = LLAMA_70B | {"rows": [LLAMA_70B["rows"][0] | {"heads": 64, "kv_heads": 16}]}
    at = ALONE | {"tp": 16}
    times = [decode(whole, box, kit, at, 1, 1000)["components"][Component.COLLECTIVES] for box in (slow, ring)]
    assert times[1] == pytest.approx(times[0])


def test_a_prompt_of_linear_layers_is_linear_in_its_length() -> None:
    """Twice the tokens, twice the time, once both are bound by compute."""
    model = model_of([MAMBA_OF_NEMOTRON_H], 8192, 1)
    times = [prefill(model, HUGE, BF16, ALONE, 1, isl, 0, 1 << 20)["time"] for isl in (16384, 32768)]
    assert times[1] == pytest.approx(2 * times[0])
