"""The laws of decode and prefill, on machines, models and deployments drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from roofline.kernels.capacity import largest_batches
from roofline.kernels.moe import expert_load
from roofline.kernels.outputs import Var
from roofline.layout import Limit
from roofline.testing import invariants as law
from roofline.testing.layers import gqa, mla
from roofline.testing.records import PARTS, RATES, Plain, Setup, idealised, pack
from roofline.testing.runs import run_decode, run_prefill
from roofline.testing.strategies import (
    CELL_LIMITS,
    LONGEST,
    ascending,
    batches,
    contexts,
    decode_cells,
    legal_tp,
    new_token_counts,
    prefill_cells,
    setups,
    wild_setups,
)
from tests.oracle import largest_batch

Reach = Callable[[str], None]
BATCHES, CONTEXTS = ascending(batches()), ascending(contexts())
SHORT = contexts(1 << 15)


@njit
def load_of_rank(experts, top_k, ep, tokens, fullest, skew):
    """Building blocks of kernels have no Python entry of their own."""
    return expert_load(experts, top_k, ep, tokens, fullest, skew)


@pytest.mark.reaches("decode", "experts across domains")
@given(setups(fidelity="kernel") | setups(routed=True, fidelity="kernel"), BATCHES, CONTEXTS)
def test_ideal_is_fastest_in_decode(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    """No fidelity is faster than `ideal`, however the links compare."""
    law.ideal_is_fastest(setup, law.decoding(batch, context))
    reach("decode")
    if setup.deployment["ep"] > 1 and setup.deployment["tp"] * setup.deployment["dp"] > setup.machine["domain"]:
        reach("experts across domains")


@pytest.mark.reaches("prefill", "chunked")
@given(prefill_cells(setups(fidelity="kernel")))
def test_ideal_is_fastest_in_prefill(reach: Reach, cell) -> None:
    law.ideal_is_fastest(cell.setup, law.prefilling([cell.batch], [cell.isl], cell.cached, cell.chunk))
    reach("prefill")
    if cell.isl - cell.cached > cell.chunk:
        reach("chunked")


@pytest.mark.reaches("machine rate", "peak", "faster")
@given(setups(), BATCHES, CONTEXTS, st.sampled_from([*RATES, *PARTS]), st.floats(1.0, 100.0))
def test_more_rate_is_never_slower(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], rate: str, factor: float
) -> None:
    law.more_rate_is_never_slower(setup, rate, factor, law.decoding(batch, context))
    reach("peak" if rate in PARTS else "machine rate")
    before, after = (run_decode(s, batch, context).step for s in (setup, law.with_rate(setup, rate, factor)))
    if (after < before).any():
        reach("faster")


@pytest.mark.reaches("prefill")
@given(prefill_cells(), st.sampled_from([*RATES, *PARTS]), st.floats(1.0, 100.0))
def test_more_rate_is_never_slower_in_prefill(reach: Reach, cell, rate: str, factor: float) -> None:
    run = law.prefilling([cell.batch], [cell.isl], cell.cached, cell.chunk)
    law.more_rate_is_never_slower(cell.setup, rate, factor, run)
    reach("prefill")


@pytest.mark.reaches("ideal", "kernel")
@given(setups(), BATCHES, CONTEXTS, st.sampled_from([2.0, 3.0, 7.7, 1000.0, 0.1]))
def test_time_scales_with_the_clock(reach: Reach, setup: Setup, batch: list[int], context: list[int], k: float) -> None:
    """`ideal`: all rates times k divide time by k. Elsewhere with the fixed times divided too."""
    law.clock_scales_time(setup, k, law.decoding(batch, context))
    assert setup.kit is not None
    reach("ideal" if setup.kit["bound"] else "kernel")


@pytest.mark.reaches("windowed", "pipelined", "dp above the batch", "drafts")
@given(setups(), BATCHES, ascending(contexts(shortest=9)), new_token_counts())
def test_time_and_memory_grow_with_batch_and_context(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], new_tokens: int
) -> None:
    """Time and memory grow or stay with batch and with context, on the staircase of ceil(B/m) and ceil(Bm/dp)."""
    drafts = new_tokens - 1 if setup.model["draft_rows"] else 0
    law.time_grows_with_load(run_decode(setup, batch, context, new_tokens, drafts=drafts), pack([setup]))
    if drafts:
        reach("drafts")
    if any(row["window"] <= max(context) for row in setup.model["rows"]):
        reach("windowed")
    if setup.deployment["pp"] > 1:
        reach("pipelined")
    if setup.deployment["dp"] > batch[0]:
        reach("dp above the batch")


@pytest.mark.reaches("shared", "experts", "pipelined", "ranks")
@settings(max_examples=5 * settings.default.max_examples // 2)
@given(setups(fidelity="kernel") | setups(routed=True, fidelity="kernel"), BATCHES, CONTEXTS)
def test_sharing_a_step_never_costs(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    """What a search leaves out small batches by."""
    run = law.sharing_never_costs(setup, batch, context)
    if run.ran[:, 0].any() and run.ran[:, -1].any() and batch[0] < batch[-1]:
        reach("shared")
        if setup.deployment["pp"] > 1:
            reach("pipelined")
        if setup.deployment["dp"] > 1:
            reach("ranks")
        if any(row["experts"] for row in setup.model["rows"]):
            reach("experts")


@pytest.mark.reaches("more new tokens")
@given(setups(), BATCHES, contexts(shortest=16), ascending(st.integers(1, 16), 2, 2))
def test_time_grows_with_new_tokens(
    reach: Reach, setup: Setup, batch: list[int], context: int, new_tokens: list[int]
) -> None:
    """A pass that verifies more drafted tokens at the same context takes no less."""
    fewer, more = (run_decode(setup, batch, [context], n).step for n in new_tokens)
    law.at_least("time never falls with new tokens", more, fewer)
    reach("more new tokens")


@pytest.mark.reaches("another chunk")
@given(setups(), ascending(batches(64), 2, 2), ascending(SHORT), st.integers(1, 1 << 15))
def test_prompt_time_grows_with_isl_and_batch(
    reach: Reach, setup: Setup, batch: list[int], lengths: list[int], chunk: int
) -> None:
    """Prompt time grows or stays with ISL, whatever the chunk and the pipeline, and with batch."""
    chunk = max(chunk, lengths[-1] // 24 + 1)
    law.time_grows_with_load(run_prefill(setup, batch, lengths, 0, chunk))
    if lengths[0] <= chunk < lengths[-1]:
        reach("another chunk")


@pytest.mark.reaches("pipelined")
@given(setups(), ascending(batches(64), 2, 2), ascending(SHORT))
def test_one_chunk_grows_with_isl_and_batch(reach: Reach, setup: Setup, batch: list[int], lengths: list[int]) -> None:
    law.time_grows_with_load(run_prefill(setup, batch, lengths))
    if setup.deployment["pp"] > 1:
        reach("pipelined")


@pytest.mark.reaches("cached")
@given(setups(), batches(64), SHORT, ascending(st.floats(0, 1, exclude_max=True), 2, 2))
def test_a_cached_prefix_never_slows_a_prompt(
    reach: Reach, setup: Setup, batch: int, isl: int, hits: list[float]
) -> None:
    """In one chunk: what is cached is read, not computed."""
    fewer, more = (int(isl * hit) for hit in hits)
    at_fewer, at_more = (run_prefill(setup, [batch], [isl], cached).step for cached in (fewer, more))
    law.at_least("a cached prefix never slows a prompt", at_fewer, at_more)
    if more > fewer:
        reach("cached")


@pytest.mark.reaches("fullest", "mean", "all chosen")
@given(
    st.sampled_from([1, 2, 4, 8, 32]),
    st.integers(1, 16),
    st.integers(1, 16),
    ascending(st.integers(1, 1 << 16), 2, 5),
    st.booleans(),
    st.sampled_from([1.0, 1.3]),
)
def test_experts_touched_grow_with_tokens_and_never_pass_all(
    reach: Reach, ep: int, local: int, top_k: int, tokens: list[int], fullest: bool, skew: float
) -> None:
    """Touched and rows grow with T; a rank touches at most its experts, and at most one per routed row."""
    experts = ep * local
    top_k = min(top_k, experts)
    loads = np.array([load_of_rank(experts, top_k, ep, t, fullest, skew) for t in tokens])
    law.never_falls("experts touched grow with tokens", loads[:, 0])
    law.never_falls("rows grow with tokens", loads[:, 1])
    assert (loads[:, 0] <= local * (1 + law.SLACK)).all()
    assert (loads[:, 0] <= np.array(tokens) * min(top_k, local) * (1 + law.SLACK)).all()
    assert (loads[:, 1] >= np.array(tokens) * top_k / ep * (1 - law.SLACK)).all()
    reach("fullest" if fullest else "mean")
    if top_k == experts:
        assert loads[:, 0] == pytest.approx(local)
        reach("all chosen")


@pytest.mark.reaches("faster")
@given(setups(fidelity="ideal"), BATCHES, CONTEXTS, st.sets(st.sampled_from(PARTS), min_size=1), st.floats(1.0, 4.0))
def test_ideal_fp8_is_never_slower_than_bf16(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], parts: set[str], peak: float
) -> None:
    """Half the bytes at no lower a peak, for any set of parts."""
    assert setup.kit is not None
    halved = {
        name: setup.kit[name]
        | {"w_weight": setup.kit[name]["w_weight"] / 2, "flop_per_s": setup.kit[name]["flop_per_s"] * peak}
        for name in parts
    }
    bf16, fp8 = run_decode([setup, replace(setup, kit=setup.kit | halved)], batch, context).step
    law.at_least("ideal fp8 is never slower than bf16", bf16, fp8)
    if (fp8 < bf16).any():
        reach("faster")


ALONE = {"tp": 1, "pp": 1, "dp": 1, "ep": 1, "moe_tp": 1}


@pytest.mark.reaches("ideal", "kernel")
@given(setups(), BATCHES, CONTEXTS, st.floats(1.0, 1e3))
def test_one_accelerator_sends_nothing(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], factor: float
) -> None:
    """No collective where tp = dp = pp = 1, and no bit depends on the links."""
    alone = replace(setup, deployment=ALONE)
    run = run_decode(alone, batch, context)
    law.nothing_is_sent(run, components=setup.kit is not None and setup.kit["bound"] == 0)
    links = {name: setup.machine[name] * factor for name in ("up_bytes_per_s", "out_bytes_per_s", "up_hop_s")}
    law.same_bits("links do not matter to one accelerator", run, run_decode(alone.on(**links), batch, context))
    assert setup.kit is not None
    reach("ideal" if setup.kit["bound"] else "kernel")


def cache_growth(setup: Setup, tp: int) -> tuple[float, float]:
    """(bytes one rank's cache grows by from a context of 1 to the longest, rounding of that)."""
    memory = run_decode(setup.deployed(tp=tp), [5], [1, LONGEST])[Var.MEMORY][0, 0]
    return float(memory[1] - memory[0]), float(memory[1]) * law.SLACK


def index_growth(setup: Setup) -> float:
    """How much of it is the cache of an indexer, which every rank holds whole."""
    row, kit = setup.model["rows"][0], setup.kit
    assert kit is not None
    held = row["index_dim"] * kit["index"]["w_weight"] if row["index_heads"] else 0.0
    return float(5 * row["count"] * held * (LONGEST - 1))


@st.composite
def attending(draw: st.DrawFn, attention: st.SearchStrategy[Plain]) -> Setup:
    """A dense model of one kind of layer, to be run under tp alone."""
    setup = draw(setups(routed=False))
    row = setup.model["rows"][0] | draw(attention)
    model = setup.model | {"rows": [row], "layers": row["count"], "draft_rows": [], "draft_modules": 0}
    return replace(setup.on(max_accelerators=1 << 20), model=model, deployment=ALONE)


@pytest.mark.reaches("tp", "indexed")
@given(attending(mla()))
def test_mla_cache_does_not_shrink_with_tp(reach: Reach, setup: Setup) -> None:
    """The latent is shared by all heads, so every rank keeps all of it; and all of what an indexer keeps."""
    alone, rounding = cache_growth(setup, 1)
    for tp in legal_tp(setup.model)[1:]:
        assert cache_growth(setup, tp)[0] == pytest.approx(alone, abs=4 * rounding)
        reach("indexed" if setup.model["rows"][0]["index_heads"] else "tp")


@pytest.mark.reaches("split", "replicated", "indexed")
@given(attending(gqa()))
def test_kv_heads_split_until_one_is_left_then_replicate(reach: Reach, setup: Setup) -> None:
    """GQA caches shrink with tp up to the number of KV heads and not past it; the cache of an indexer does not."""
    alone, rounding = cache_growth(setup, 1)
    index = index_growth(setup)
    kv_heads = setup.model["rows"][0]["kv_heads"]
    for tp in legal_tp(setup.model):
        expected = (alone - index) / min(tp, kv_heads) + index
        assert cache_growth(setup, tp)[0] == pytest.approx(expected, abs=4 * rounding)
        if tp > 1:
            reach("split" if tp <= kv_heads else "replicated")
            if index:
                reach("indexed")


@pytest.mark.reaches("drawing")
@given(st.lists(setups(), min_size=1, max_size=3), BATCHES, CONTEXTS, st.sampled_from([1, 1, 4]))
def test_draw_lies_between_idle_and_tdp(
    reach: Reach, of: list[Setup], batch: list[int], context: list[int], new_tokens: int
) -> None:
    """Energy is at least idle power times time, and that of the group is the sum of its accelerators."""
    context = [length + new_tokens for length in context]
    run = run_decode(of, batch, context, new_tokens)
    tokens = np.array(batch, dtype=np.float64)[None, :, None] * new_tokens
    law.draw_lies_between_idle_and_tdp(run, pack(of), tokens)
    reach("drawing")


@pytest.mark.reaches("prompt")
@given(prefill_cells())
def test_draw_of_a_prompt_lies_between_idle_and_tdp(reach: Reach, cell) -> None:
    run = run_prefill(cell.setup, [cell.batch], [cell.isl], cell.cached, cell.chunk)
    tokens = np.full((1, 1, 1), float(cell.batch * (cell.isl - cell.cached)))
    law.draw_lies_between_idle_and_tdp(run, pack([cell.setup]), tokens)
    law.utilisation_is_a_share(run)
    reach("prompt")


@pytest.mark.reaches("busy", "pipelined")
@given(setups(), BATCHES, CONTEXTS)
def test_utilisation_is_a_share(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    run = run_decode(setup, batch, context)
    law.utilisation_is_a_share(run)
    if (np.maximum(run[Var.MFU], run[Var.MBU]) > 0.5).any():
        reach("busy")
    if setup.deployment["pp"] > 1:
        reach("pipelined")


@pytest.mark.reaches("classes", "components")
@given(setups(), BATCHES, CONTEXTS)
def test_shares_make_the_whole(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    """Classes sum to the step where nothing is pipelined, components outside `ideal`."""
    run = run_decode(setup, batch, context)
    if setup.deployment["pp"] == 1:
        law.classes_make_the_pass(run)
        reach("classes")
    if setup.kit is not None and not setup.kit["bound"]:
        law.components_make_the_step(run)
        reach("components")


@pytest.mark.reaches("fits", "too large", "between", "drafts")
@given(setups(), contexts(shortest=4), st.integers(0, 40), st.floats(0.0, 1.0), st.sampled_from([0, 3]))
def test_the_largest_batch_fits_and_one_more_does_not(
    reach: Reach, setup: Setup, context: int, target: int, beyond: float, drafts: int
) -> None:
    """Memory is set to what `target` sequences take, and part of the way to one more."""
    grid = list(range(1, 43))
    drafts = drafts if setup.model["draft_rows"] else 0
    new_tokens = drafts + 1
    need = run_decode(setup, grid, [context], new_tokens, drafts=drafts)[Var.MEMORY][0, :, 0]
    at = need[target - 1] if target else 0.9 * need[0]
    room = at + beyond * (need[target] - at)
    tight = setup.on(memory_bytes=room * (1 + 1e-9), memory_fraction=1.0, reserve_bytes=0.0)
    run = run_decode(tight, grid, [context], new_tokens, drafts=drafts)
    law.capacity_is_a_threshold(run, pack([tight]))
    ran = int(run.ran.sum())
    assert ran >= target
    arguments = tight.model, tight.machine, tight.kit, tight.deployment
    assert ran == largest_batch(*arguments, new_tokens, context, grid[-1], drafts)
    if ran < len(grid):
        most = largest_batches(*pack([tight]).arguments(), np.array([context]), new_tokens=new_tokens, drafts=drafts)
        assert most.tolist() == [[ran]]
    if drafts:
        reach("drafts")
    reach("fits" if ran else "too large")
    if 0 < ran < len(grid):
        reach("between")


@pytest.mark.reaches(*(limit.name for limit in CELL_LIMITS))
@given(
    st.lists(wild_setups(), min_size=3, max_size=6),
    BATCHES,
    ascending(st.one_of(contexts(shortest=3), st.just(8192))),
    st.sampled_from([0, 2]),
)
def test_what_cannot_run_is_missing_with_a_reason(
    reach: Reach, of: list[Setup], batch: list[int], context: list[int], drafts: int
) -> None:
    """NaN and a code, never 0, never an exception; and every code is met."""
    run = run_decode(of, batch, context, drafts + 1, drafts=drafts)
    law.missing_means_limited(run, pack(of))
    law.capacity_is_a_threshold(run, pack(of))
    for code in np.unique(run.limit):
        reach(Limit(int(code)).name)


@pytest.mark.reaches("limited", "runs")
@given(prefill_cells(wild_setups()))
def test_prompts_that_cannot_run_are_missing_with_a_reason(reach: Reach, cell) -> None:
    run = run_prefill(cell.setup, [cell.batch], [cell.isl], cell.cached, cell.chunk)
    law.missing_means_limited(run, pack([cell.setup]))
    reach("runs" if run.ran.all() else "limited")


@pytest.mark.reaches("all laws")
@given(setups(), BATCHES, CONTEXTS)
def test_every_decode_law_holds_together(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    """The check offered for one's own records."""
    law.every_decode_law(setup, batch, context)
    reach("all laws")


@pytest.mark.reaches("series")
@given(decode_cells(setups(fidelity="kernel")))
def test_series_is_the_step_outside_ideal(reach: Reach, cell) -> None:
    """`serial` differs from the step only where collectives can hide."""
    run = run_decode(cell.setup, [cell.batch], [cell.context], cell.new_tokens, drafts=cell.drafts)
    assert run[Var.SERIAL].tobytes() == run.step.tobytes()
    ideal = run_decode(idealised(cell.setup), [cell.batch], [cell.context], cell.new_tokens, drafts=cell.drafts)
    law.at_least("ideal in series", ideal[Var.SERIAL], ideal.step)
    reach("series")
