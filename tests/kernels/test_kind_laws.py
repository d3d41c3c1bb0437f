"""The laws of chunks, selections, states, wirings and drafts, on models drawn for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roofline.kernels.outputs import Var
from roofline.layout import NO_WINDOW, Attention, Limit, Topology
from roofline.testing import invariants as law
from roofline.testing import kinds
from roofline.testing.layers import chunked, gqa, linear, mla, no_attention, selecting
from roofline.testing.records import Setup, pack
from roofline.testing.runs import run_decode
from roofline.testing.strategies import (
    ascending,
    batches,
    contexts,
    draft_counts,
    flat_domains,
    models,
    new_token_counts,
    prefill_cells,
    setups,
    tori,
)
from tests.kernels.branches import PATIENT

Reach = Callable[[str], None]
BATCHES, CONTEXTS = ascending(batches()), ascending(contexts(shortest=9))


@st.composite
def of_one_chunk_length(draw: st.DrawFn) -> Setup:
    """Models whose every cache is of chunks of one length, beside states and layers without attention."""
    length = draw(chunked())
    some = st.one_of(gqa(st.just(length)), gqa(st.just(length)), linear(), no_attention())
    setup = draw(setups(of=models(drafts=False, attention=some)))
    assume(any(row["chunked"] for row in setup.model["rows"]))
    return setup


@pytest.mark.reaches("chunked", "beside a state", "several tokens")
@given(of_one_chunk_length(), BATCHES, ascending(contexts(1 << 20, shortest=9)), new_token_counts())
def test_time_repeats_with_the_chunk(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], new_tokens: int
) -> None:
    kinds.time_repeats_with_the_chunk(setup, batch, context, new_tokens)
    reach("chunked")
    if any(row["attention"] == Attention.LINEAR for row in setup.model["rows"]):
        reach("beside a state")
    if new_tokens > 1:
        reach("several tokens")


def test_chunks_of_two_lengths_are_refused() -> None:
    """The law does not hold of them, and says so."""
    rows = [{"attention": int(Attention.GQA), "window": w, "chunked": 1} for w in (4, 8)]
    with pytest.raises(ValueError, match="one length"):
        kinds.time_repeats_with_the_chunk(Setup({"rows": rows}, {}, None, {}), [1], [1])


@pytest.mark.reaches("falls")
@given(of_one_chunk_length(), batches())
def test_a_new_chunk_begins_with_nothing_to_read(reach: Reach, setup: Setup, batch: int) -> None:
    """Time never grows past the end of a chunk, and memory never falls: why chunks are exempt from growth."""
    length = next(row["window"] for row in setup.model["rows"] if row["chunked"])
    run = run_decode(setup, [batch], [length, length + 1])
    law.at_least("the first token of a chunk sees least", run.step[..., 0], run.step[..., 1])
    law.never_falls("memory never falls", run[Var.MEMORY])
    if (run.step[..., 1] < run.step[..., 0]).any():
        reach("falls")


@pytest.mark.reaches("window", "chunk", "selection", "own indexer")
@PATIENT
@given(setups(), BATCHES, CONTEXTS, new_token_counts())
def test_seeing_less_is_never_slower(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], new_tokens: int
) -> None:
    kinds.seeing_less_is_never_slower(setup, law.decoding(batch, context, new_tokens))
    for row in setup.model["rows"]:
        if row["selected"]:
            reach("own indexer" if row["index_heads"] else "selection")
        elif row["window"] != NO_WINDOW:
            reach("chunk" if row["chunked"] else "window")


@pytest.mark.reaches("prompt")
@given(prefill_cells())
def test_seeing_less_is_never_slower_in_prefill(reach: Reach, cell) -> None:
    run = law.prefilling([cell.batch], [cell.isl], cell.cached, cell.chunk)
    kinds.seeing_less_is_never_slower(cell.setup, run)
    reach("prompt")


@pytest.mark.reaches("indexed", "shared selection", "MLA")
@given(
    setups(of=models(drafts=False, attention=gqa(selecting()))),
    setups(of=models(drafts=False, attention=mla(selecting())), fidelity="ideal"),
    BATCHES,
    ascending(st.integers(1, 1 << 19), 2, 4),
    new_token_counts(),
)
def test_selections_saturate_and_indexers_do_not(
    reach: Reach, grouped: Setup, latent: Setup, batch: list[int], beyond: list[int], new_tokens: int
) -> None:
    for setup in (grouped, latent):
        longest = max(row["selected"] for row in setup.model["rows"])
        past = max(longest * new_tokens, longest + new_tokens)
        kinds.selection_saturates(setup, batch, [past + more for more in beyond], new_tokens)
        reach("indexed" if any(row["index_heads"] for row in setup.model["rows"]) else "shared selection")
    reach("MLA")


@pytest.mark.reaches("ideal", "kernel", "several tokens")
@given(
    setups(of=models(drafts=False, attention=st.one_of(linear(), linear(), no_attention()))),
    BATCHES,
    CONTEXTS,
    new_token_counts(),
)
def test_a_state_ignores_the_context(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], new_tokens: int
) -> None:
    kinds.state_ignores_context(setup, batch, context, new_tokens)
    assert setup.kit is not None
    reach("ideal" if setup.kit["bound"] else "kernel")
    if new_tokens > 1:
        reach("several tokens")


@pytest.mark.reaches("torus", "exchange", "full mesh", "slower")
@given(setups(routed=True, wiring=tori()), setups(wiring=flat_domains()), BATCHES, CONTEXTS)
def test_a_switch_is_never_slower(
    reach: Reach, torus: Setup, other: Setup, batch: list[int], context: list[int]
) -> None:
    run = law.decoding(batch, context)
    for setup in (torus, other):
        kinds.a_switch_is_never_slower(setup, run)
        if setup.deployment["tp"] * setup.deployment["dp"] > 1 and setup.machine["mesh"] != Topology.SWITCHED:
            reach("torus" if setup.machine["mesh"] == Topology.TORUS else "full mesh")
            if setup.deployment["ep"] > 1 and setup.deployment["dp"] > 1:
                reach("exchange")
            if (run(setup).step > run(setup.on(mesh=int(Topology.SWITCHED))).step).any():
                reach("slower")


@pytest.mark.reaches("ideal", "kernel", "pipelined")
@given(setups(of=models(drafts=True)), BATCHES, CONTEXTS, draft_counts())
def test_drafts_are_paid_for(reach: Reach, setup: Setup, batch: list[int], context: list[int], drafts: int) -> None:
    """Acceptance 0 is no faster than no speculation, and no drafts is no speculation to the bit."""
    kinds.drafts_are_paid_for(setup, batch, context, drafts)
    assert setup.kit is not None
    reach("ideal" if setup.kit["bound"] else "kernel")
    if setup.deployment["pp"] > 1:
        reach("pipelined")


@pytest.mark.reaches("more drafts")
@given(setups(of=models(drafts=True)), BATCHES, CONTEXTS, ascending(st.integers(1, 6), 2, 3))
def test_time_and_memory_grow_with_drafts(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], drafts: list[int]
) -> None:
    """More of them take no less, of the check and of the drafting."""
    fewer, more = (run_decode(setup, batch, context, n + 1, drafts=n) for n in (drafts[0], drafts[-1]))
    law.at_least("time never falls with drafts", more.step, fewer.step)
    law.at_least("memory never falls with drafts", more[Var.MEMORY], fewer[Var.MEMORY])
    reach("more drafts")


@pytest.mark.reaches("drafts")
@given(setups(of=models(drafts=True), fidelity="kernel"), BATCHES, CONTEXTS, draft_counts())
def test_ideal_is_fastest_with_drafts(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], drafts: int
) -> None:
    law.ideal_is_fastest(setup, law.decoding(batch, context, drafts + 1, drafts))
    reach("drafts")


@pytest.mark.reaches("ideal", "kernel")
@given(setups(of=models(drafts=True)), BATCHES, CONTEXTS, draft_counts(), st.sampled_from([2.0, 7.7, 0.1]))
def test_drafts_scale_with_the_clock(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], drafts: int, k: float
) -> None:
    """All rates times k, and fixed times over k, divide a speculative step by k: what it keeps does not change."""
    law.clock_scales_time(setup, k, law.decoding(batch, context, drafts + 1, drafts, 1.5))
    assert setup.kit is not None
    reach("ideal" if setup.kit["bound"] else "kernel")


@pytest.mark.reaches("classes", "components")
@given(setups(of=models(drafts=True)), BATCHES, CONTEXTS, draft_counts())
def test_shares_of_a_speculative_step_make_the_whole(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], drafts: int
) -> None:
    run = run_decode(setup, batch, context, drafts + 1, drafts=drafts)
    law.utilisation_is_a_share(run)
    if setup.deployment["pp"] == 1:
        law.classes_make_the_pass(run)
        reach("classes")
    if setup.kit is not None and not setup.kit["bound"]:
        law.components_make_the_step(run)
        reach("components")


@pytest.mark.reaches("limited")
@given(setups(of=models(drafts=False)), BATCHES, CONTEXTS)
def test_models_without_a_module_draft_nothing(
    reach: Reach, setup: Setup, batch: list[int], context: list[int]
) -> None:
    run = run_decode(setup, batch, context, 3, drafts=2)
    assert (run.limit == Limit.DRAFT).all()
    law.missing_means_limited(run, pack([setup]))
    reach("limited")


@pytest.mark.reaches("undisclosed")
@given(setups(), BATCHES, CONTEXTS)
def test_undisclosed_tdp_changes_no_time(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    """Nothing but power and energy is missing, and nothing else differs by a bit."""
    known, secret = (run_decode(s, batch, context) for s in (setup.on(tdp_w=900.0), setup.on(tdp_w=float("nan"))))
    law.missing_means_limited(secret, pack([setup.on(tdp_w=float("nan"))]))
    for name in set(known.values) - {Var.POWER, Var.ENERGY}:
        assert known.values[name].tobytes() == secret.values[name].tobytes()
    reach("undisclosed")
