"""Steps of decoding with a chunk of a prompt beside it on each rank: the compiled kernel against the oracle; laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.layout import Limit
from roofline.testing import invariants as law
from roofline.testing.checks import require
from roofline.testing.records import Array, Setup, pack
from roofline.testing.runs import MixedRun, run_decode, run_mixed, run_prefill
from roofline.testing.strategies import (
    LONGEST,
    ascending,
    batches,
    contexts,
    models,
    new_token_counts,
    setups,
    tori,
    wild_setups,
)
from tests.kernels.branches import ATTENTIONS, PATIENT, branches_of
from tests.kernels.cells import ALONE, BF16, BF16_FLOP_PER_S, ROOMY, alone
from tests.kernels.test_oracle import HALF, RTOL, close, memory_on_the_edge, oracle_arguments
from tests.oracle import mixed
from tests.oracle.cases import dense_row, model_of
from tests.oracle.zoo import NO_ATTENTION

Reach = Callable[[str], None]
Draw = st.DrawFn

EVERYWHERE = ("pipeline", "data parallel", "experts", "exchange", "all-gather to experts", "several tokens")
"""Branches of deployments that agreement must reach, beside those of attention."""


@dataclass(frozen=True)
class Load:
    """What mixed steps are run at; `lengths` are of the prompt, its chunk included."""

    batches: list[int]
    contexts: list[int]
    new_tokens: int
    chunk: int
    lengths: list[int]

    def run(self, of: Setup | list[Setup], parallel: bool = False) -> MixedRun:
        return run_mixed(of, self.batches, self.contexts, self.chunk, self.lengths, self.new_tokens, parallel)

    def decode(self, of: Setup) -> Array:
        """The decode step alone, shaped to stand beside mixed steps."""
        return run_decode(of, self.batches, self.contexts, self.new_tokens).step[..., None]

    def prompts(self, of: Setup) -> Array:
        """A pass of the chunks alone, one on each attention rank [s], shaped to stand beside mixed steps.

        As many prompts as make a micro-batch of dp; with a pipeline the pass has more such micro-batches than one.
        """
        prompts = (of.deployment["dp"] - 1) * of.deployment["pp"] + 1
        times = [
            float(run_prefill(of, [prompts], [length], length - self.chunk, self.chunk).step[0, 0, 0])
            for length in self.lengths
        ]
        return np.array(times)[None, None, None, :]


def chunks(largest: int = 1 << 16) -> st.SearchStrategy[int]:
    """Tokens of a prompt computed in one step."""
    return st.one_of(st.integers(1, 40), st.integers(1, largest))


@st.composite
def loads(draw: Draw) -> Load:
    """One or two of each axis, ascending."""
    new_tokens, chunk = draw(new_token_counts()), draw(chunks())
    return Load(
        draw(ascending(batches(), 1, 2)),
        draw(ascending(contexts(shortest=new_tokens), 1, 2)),
        new_tokens,
        chunk,
        draw(ascending(contexts(shortest=chunk), 1, 2)),
    )


def exchanges(setup: Setup) -> bool:
    """Whether experts are reached by an exchange, which a prefill pass does otherwise than a decode pass."""
    routed = any(row["experts"] for row in setup.model["rows"])
    return routed and setup.deployment["dp"] > 1 and setup.deployment["ep"] > 1


def places_of(setup: Setup, load: Load) -> set[str]:
    """Branches of a deployment that runs."""
    degrees = setup.deployment
    routed = any(row["experts"] for row in setup.model["rows"])
    tests = {
        "pipeline": degrees["pp"] > 1,
        "data parallel": degrees["dp"] > 1,
        "experts": routed,
        "exchange": exchanges(setup),
        "all-gather to experts": routed and degrees["dp"] > 1 and degrees["ep"] == 1,
        "several tokens": load.new_tokens > 1,
    }
    return {name for name, holds in tests.items() if holds}


def agree(of: list[Setup], load: Load, reach: Reach) -> None:
    """Every cell: times, C and D at 1e-12, C and D unless MLA forms tie; the same limit unless rounding decides it."""
    run = load.run(of)
    for at in np.ndindex(run.limit.shape):
        i, b, c, a = at
        setup = of[i]
        cell = load.batches[b], load.contexts[c], load.new_tokens, load.chunk, load.lengths[a]
        arguments = *oracle_arguments(setup), *cell
        expected = mixed(*arguments)
        if expected["memory"] is not None and memory_on_the_edge(setup, expected["memory"]):
            continue
        assert Limit(int(run.limit[at])) == expected["limit"]
        reach("legal" if expected["limit"] == Limit.NONE else expected["limit"].name)
        if expected["limit"] != Limit.NONE:
            assert all(math.isnan(values[at]) for values in (run.step, run.peak, run.moved))
            continue
        for branch in branches_of(setup) | places_of(setup, load):
            reach(branch)
        assert close(float(run.decode[i, b, c]), expected["decode_step"])
        assert close(float(run.step[at]), expected["step"])
        if expected["ties"]:
            reach("tie")
            continue
        assert close(float(run.peak[at]), expected["C"])
        assert close(float(run.moved[at]), expected["D"])


@pytest.mark.reaches("legal", *EVERYWHERE)
@PATIENT
@given(st.lists(setups(fidelity="kernel"), min_size=1, max_size=2), loads())
def test_mixed_steps_agree_with_the_oracle(reach: Reach, of: list[Setup], load: Load) -> None:
    agree(of, load, reach)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.reaches("legal", *ATTENTIONS[kind][1])) for kind in ATTENTIONS]
)
@settings(max_examples=HALF)
@given(st.data())
def test_each_attention_agrees_with_the_oracle(reach: Reach, kind: str, data: st.DataObject) -> None:
    setup = data.draw(setups(fidelity="kernel", of=models(attention=ATTENTIONS[kind][0])))
    agree([setup], data.draw(loads()), reach)


@pytest.mark.reaches("legal", "exchange", "torus", "exchange over a torus")
@PATIENT
@given(setups(routed=True, fidelity="kernel", wiring=tori()), loads())
def test_tori_agree_with_the_oracle(reach: Reach, setup: Setup, load: Load) -> None:
    agree([setup], load, reach)


@pytest.mark.reaches("MEMORY", "CONTEXT", "HEADS", "EXPERTS", "MATH_TYPE")
@PATIENT
@given(wild_setups(), loads())
def test_limits_agree_with_the_oracle(reach: Reach, setup: Setup, load: Load) -> None:
    in_series = None if setup.kit is None else setup.kit | {"bound": 0}
    agree([Setup(setup.model, setup.machine, in_series, setup.deployment)], load, reach)


@pytest.mark.reaches("memory alone")
@given(setups(fidelity="kernel"), batches(64), contexts(1 << 16), chunks(1 << 12), st.floats(0.5, 1.5))
def test_memory_is_what_the_oracle_adds_up(
    reach: Reach, setup: Setup, batch: int, context: int, chunk: int, share: float
) -> None:
    """Machines with about as much memory as a step takes, so that the last sequence decides."""
    load = Load([batch], [context], 1, chunk, [chunk + context])
    arguments = *oracle_arguments(setup), batch, context, 1, chunk, chunk + context
    needed = mixed(*arguments)["memory"]
    machine = {"memory_bytes": needed * share, "memory_fraction": 1.0, "reserve_bytes": 0.0}
    agree([setup.on(**machine)], load, reach)
    for inch in (1 - 1e-9, 1 + 1e-9):
        agree([setup.on(**machine | {"memory_bytes": needed * inch})], load, reach)
    if run_decode(setup.on(**machine | {"memory_bytes": needed * (1 - 1e-9)}), [batch], [context]).ran.all():
        reach("memory alone")  # the decode step fits, the chunk beside it does not


@pytest.mark.reaches("chunk", "pipeline", "exchange")
@given(setups(fidelity="kernel"), loads())
def test_a_chunk_is_never_free(reach: Reach, setup: Setup, load: Load) -> None:
    """A mixed step takes at least its decode step."""
    run = load.run(setup)
    law.equal("decode is the decode step", run.decode[..., None], load.decode(setup), RTOL)
    law.at_least("a mixed step is never faster than its decode step", run.step, run.decode[..., None])
    reach("exchange" if exchanges(setup) else "pipeline" if setup.deployment["pp"] > 1 else "chunk")


@pytest.mark.reaches("pass", "exchange")
@PATIENT
@given(setups(fidelity="kernel"), loads())
def test_a_mixed_step_is_never_faster_than_its_chunks_alone(reach: Reach, setup: Setup, load: Load) -> None:
    """Without a pipeline. With one, a step need not take the chunks through all its stages."""
    if setup.deployment["pp"] > 1:
        setup = setup.deployed(pp=1)
    law.at_least("a mixed step is never faster than its chunks", load.run(setup).step, load.prompts(setup))
    reach("exchange" if exchanges(setup) else "pass")


@pytest.mark.reaches("saved", "pipeline", "exempt")
@given(setups(fidelity="kernel"), loads())
def test_mixing_is_never_slower_than_apart(reach: Reach, setup: Setup, load: Load) -> None:
    """Weights are read once, fixed times are paid once: no time beyond the decode step and the chunks' own pass.

    In a pipeline too. Not where experts are behind an exchange: that of a prompt, which all rows then take, sends to
    scale-up what a decode exchange sends to scale-out alone.
    """
    if exchanges(setup):
        reach("exempt")
        return
    run, apart = load.run(setup), load.decode(setup) + load.prompts(setup)
    law.at_least("mixing is never slower than apart", apart, run.step)
    reach("pipeline" if setup.deployment["pp"] > 1 else "saved")


@pytest.mark.reaches("ranks")
@given(setups(routed=False, fidelity="kernel"), loads(), st.integers(2, 8))
def test_ranks_without_experts_do_not_know_of_each_other(reach: Reach, setup: Setup, load: Load, ranks: int) -> None:
    """A rank with its sequences and its chunk is a replica of one rank with them: times, work and limits."""
    one = setup.deployed(pp=1, dp=1, ep=1, moe_tp=1).on(max_accelerators=1 << 30)
    alone, each = load.run(one), replace(load, batches=[ranks * batch for batch in load.batches])
    together = each.run(one.deployed(dp=ranks))
    for name in ("step", "decode", "peak", "moved"):
        law.equal(f"{name} is that of one rank", getattr(together, name), getattr(alone, name), RTOL)
    np.testing.assert_array_equal(together.limit, alone.limit)
    if alone.ran.any():
        reach("ranks")


@pytest.mark.reaches("grows", "chunked", "exchange", "pipeline")
@given(
    setups(fidelity="kernel"),
    ascending(batches()),
    ascending(contexts(shortest=9)),
    ascending(chunks(), 2, 3),
    new_token_counts(),
    st.data(),
)
def test_a_mixed_step_grows_with_its_load(
    reach: Reach,
    setup: Setup,
    batch: list[int],
    context: list[int],
    chunk: list[int],
    new_tokens: int,
    data: st.DataObject,
) -> None:
    """With batch, chunk, contexts; chunked-local layers are exempt along contexts, not along the chunk."""
    lengths = data.draw(ascending(contexts(LONGEST, shortest=chunk[-1])))
    runs = [Load(batch, context, new_tokens, size, lengths).run(setup) for size in chunk]
    chunked = bool(pack([setup]).with_chunks().any())
    grid = np.stack([run.step for run in runs], axis=-1)
    law.never_falls("time never falls with the chunk", grid)
    law.never_falls("time never falls with batch", grid, 1)
    for name in ("peak", "moved"):
        work = np.stack([getattr(run, name) for run in runs], axis=-1)
        require("work is counted where it runs", np.isnan(work) == np.isnan(grid), work)
        require("a chunk has work", np.isnan(work) | (work > 0), work)
    if not chunked:
        law.never_falls("time never falls with context", grid, 2)
        law.never_falls("time never falls with the context of the chunk", grid, 3)
    reach("chunked" if chunked else "grows")
    for branch in places_of(setup, Load(batch, context, new_tokens, chunk[0], lengths)):
        reach(branch)


@pytest.mark.reaches("prefix")
@given(setups(fidelity="kernel"), batches(), contexts(), st.integers(0, 1 << 16), ascending(chunks(), 2, 4))
def test_a_longer_chunk_after_the_same_prefix_takes_no_less(
    reach: Reach, setup: Setup, batch: int, context: int, cached: int, chunk: list[int]
) -> None:
    """Of chunked-local layers too: tokens more see what they see, and nothing less is read."""
    times = [run_mixed(setup, [batch], [context], size, [cached + size]).step for size in chunk]
    law.never_falls("time never falls with the chunk after a prefix", np.stack(times, axis=-1))
    reach("prefix")


@pytest.mark.reaches("linear")
@given(setups(fidelity="kernel", of=models(attention=ATTENTIONS["linear"][0])), batches(), chunks())
def test_a_state_ignores_both_contexts(reach: Reach, setup: Setup, batch: int, chunk: int) -> None:
    run = run_mixed(setup, [batch], [1, 1000], chunk, [chunk, chunk + 1000])
    for values in (run.step, run.peak, run.moved):
        law.equal("a state does not grow", values, np.broadcast_to(values[..., :1, :1], values.shape), 0.0)
    reach("linear")


@pytest.mark.reaches("bits")
@settings(max_examples=HALF)
@given(st.lists(setups(fidelity="kernel"), min_size=1, max_size=3), loads())
def test_threads_and_neighbours_change_no_bits(reach: Reach, of: list[Setup], load: Load) -> None:
    whole, threaded, last = load.run(of), load.run(of, parallel=True), load.run(of[-1])
    for name in ("step", "decode", "peak", "moved", "limit"):
        values = getattr(whole, name)
        assert values.tobytes() == getattr(threaded, name).tobytes(), name
        assert values[-1:].tobytes() == getattr(last, name).tobytes(), name
    reach("bits")


def routed_over_ranks(top_k: int, **fields: float) -> Setup:
    """One layer of eight experts on eight ranks, whose time is that of its exchanges. fields : of the machine."""
    row = dense_row(1, 1, 1, 1, 0) | {"experts": 8, "top_k": top_k, "expert_inner": 1, "expert_hidden": 1024}
    machine = ROOMY | {"up_bytes_per_s": 1e6, "out_bytes_per_s": 1e12} | fields
    return Setup(model_of([row], 1024, 1), machine, BF16 | {"bound": 0}, ALONE | {"dp": 8, "ep": 8})


def test_a_chunk_does_not_save_an_exchange_its_copies() -> None:
    """All eight experts chosen, over two domains: decode sends four copies of a token over scale-out, a prompt one."""
    setup = routed_over_ranks(8, domain=4, out_bytes_per_s=1e3)
    run = run_mixed(setup, [800], [100], 1, [1])
    assert run.step[0, 0, 0, 0] == run.decode[0, 0, 0]


def test_a_chunk_may_send_more_inside_a_domain() -> None:
    """One expert chosen: decode sends over scale-up only what stays in the domain, a prompt all that leaves a rank."""
    setup = routed_over_ranks(1, domain=4)
    load = Load([800], [100], 1, 1, [1])
    apart = load.decode(setup) + load.prompts(setup)
    ratio = float((load.run(setup).step / apart)[0, 0, 0, 0])
    assert ratio == pytest.approx((7 / 8) / (7 / 8 - 1 / 2), rel=2e-2)


def test_chunks_of_all_ranks_meet_the_experts() -> None:
    """An all-gather to experts that no exchange serves: 8 decoding tokens and 2 tokens of a prompt from each rank."""
    setup = routed_over_ranks(1, domain=8).deployed(ep=1, moe_tp=8)
    times = [run_mixed(setup, [8], [100], chunk, [chunk]).step[0, 0, 0, 0] for chunk in (2, 4)]
    alone = run_decode(setup, [8], [100]).step[0, 0, 0]
    assert times[0] / alone == pytest.approx((8 + 8 * 2) / 8, rel=2e-2)
    assert times[1] / alone == pytest.approx((8 + 8 * 4) / 8, rel=2e-2)


def test_a_feed_forward_alone_ignores_both_contexts() -> None:
    """A model without attention: what a chunk adds is rows of GEMMs and one of the lm_head."""
    model = model_of([dense_row(2, 0, 0, 0, 4096) | NO_ATTENTION], 1024, 1000)
    run = run_mixed(alone(model, BF16 | {"bound": 0}), [4], [1, 1000], 16, [16, 100000])
    for values in (run.step, run.peak, run.moved):
        assert np.unique(values).size == 1
    flop = 2 * (4 + 16) * 2 * 3 * 1024 * 4096 + 2 * (4 + 1) * 1024 * 1000
    assert run.peak[0, 0, 0, 0] == pytest.approx(flop / BF16_FLOP_PER_S)
