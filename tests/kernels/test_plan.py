"""The fused search of a plan: every choice against brute force over the oracle's candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.kernels.candidates import AGGREGATED, DECODE_POOL, MODES, PREFILL_POOL, STATIC, W_ISL, W_LONGEST
from roofline.kernels.reduce import F_COST, F_WATTS, FIGURES
from roofline.layout import Limit
from roofline.testing.records import Array, Setup
from roofline.testing.searches import Found, Question, powers, questions, run_search
from roofline.testing.strategies import models, setups, tori, wild_setups
from tests.kernels.branches import ATTENTIONS, PATIENT, branches_of
from tests.kernels.every_candidate import (
    MODE_NAMES,
    Candidate,
    Memory,
    Oracle,
    legality_of,
    memory_of_batches,
    whole_pass,
)
from tests.kernels.test_oracle import HALF, RTOL
from tests.oracle.plans import decode_work, held, with_chunk, without_chunk

Reach = Callable[[str], None]
Draw = st.DrawFn

METERED = questions(power=lambda: powers(reserved=False))
POINTS = 64
EDGE = 1e-9
"""Figures that are as close to a limit as this are on neither side of it."""


@st.composite
def factors(draw: Draw) -> list[float]:
    """Limits of TTFT, TPOT and latency over what a search without limits found best; some of them none."""
    of = st.one_of(st.just(math.inf), st.floats(1e-3, 30.0), st.floats(0.3, 3.0))
    return draw(st.lists(of, min_size=3, max_size=3))


SHARES = st.lists(factors(), min_size=2, max_size=2)


def limited(setups: list[Setup], question: Question, shares: Sequence[list[float]]) -> Question:
    """Limits about what is found without."""
    found = run_search(setups, question).best[..., :3]
    known = np.isfinite(found) & (found > 0)
    scale = [float(np.median(found[..., f][known[..., f]])) if known[..., f].any() else 1.0 for f in range(3)]
    return question.asking(limits=np.array(shares[: question["limits"].shape[0]]) * scale)


def tie(oracle: Oracle, candidate: Candidate, mode: int) -> bool:
    """Whether two forms of MLA cost the same to rounding, so that a pass may draw what the other form draws."""
    b, c, g, _ = candidate.place
    case = oracle.case(b, c, g)
    passes = [without_chunk(case)] + ([with_chunk(case)] if mode == AGGREGATED else [])
    return any(one.whole().ties for one in passes) or mode in (STATIC, PREFILL_POOL)


def agree_on_one(
    ours: Array, place: Array, oracle: Oracle, mode: int, reach: Reach, cost: bool = True
) -> Candidate | None:
    """The figures found of a candidate are those of the oracle. None where a tie lets them differ."""
    theirs = oracle.at(mode, (int(place[0]), int(place[1]), int(place[2]), int(place[3])))
    assert theirs is not None, "what was found does not run"
    near = np.isclose(ours, theirs.figures, rtol=RTOL, atol=0.0, equal_nan=True)
    near[F_COST] |= not cost
    if not near[[F_WATTS, F_COST]].all() and near[:F_WATTS].all() and tie(oracle, theirs, mode):
        reach("tie")
        return None
    assert near.all(), (MODE_NAMES[mode], theirs.place, ours, theirs.figures)
    return theirs


def agree_on_best(
    found: Found, at: tuple[int, ...], oracle: Oracle, every: list[Candidate], limits: Array, reach: Reach
) -> None:
    """The cheapest within the limits, or else the nearest to them; ties are as good.

    A search may also have tried batches that nobody asked for: what it found runs, and is no worse.
    """
    mode, ours, near = at[1], found.best[at], found.near[at]
    largest = [float(one.factors(limits).max()) for one in every]
    if any(abs(factor - 1.0) < EDGE for factor in largest):
        return
    meeting = [one for one, factor in zip(every, largest, strict=True) if factor < 1.0]
    if not every:
        assert np.isnan(ours[:F_COST]).all()
        assert (ours[F_COST], near[0]) == (math.inf, math.inf)
        reach(f"{MODE_NAMES[mode]}: nothing runs")
        return
    if meeting:
        assert near[0] == 1.0
        theirs = agree_on_one(ours, found.at[at], oracle, mode, reach)
        assert theirs is None or (theirs.factors(limits) <= 1.0 + EDGE).all()
        assert ours[F_COST] <= min(one.cost for one in meeting) * (1 + RTOL)
        reach(MODE_NAMES[mode])
        return
    assert ours[F_COST] == math.inf
    theirs = agree_on_one(ours, found.at[at], oracle, mode, reach, cost=False)
    assert near[0] <= min(largest) * (1 + RTOL), (MODE_NAMES[mode], near, min(largest), found.at[at])
    if theirs is not None:
        over = theirs.factors(limits)
        assert math.isclose(near[0], over.max(), rel_tol=RTOL)
        assert over[int(near[1])] >= near[0] * (1 - RTOL)
        reach(f"{MODE_NAMES[mode]}: nearest")


def agree_on_points(
    found: Found, at: tuple[int, ...], oracle: Oracle, every: list[Candidate], limits: Array, reach: Reach
) -> None:
    """None is beaten, and none that is not beaten lacks."""
    mode, n = at[1], int(found.filled[at])
    points = found.points[at][:n]
    meeting = [one for one in every if (one.factors(limits) <= 1.0 - EDGE).all()]
    costs, tpots = points[:, F_COST], points[:, 1]
    assert (np.diff(tpots) > 0).all()
    assert (np.diff(costs) < 0).all()
    for point in points:
        agree_on_one(point[:FIGURES], point[FIGURES:], oracle, mode, reach)
    for one in meeting:
        assert ((tpots <= one.tpot * (1 + RTOL)) & (costs <= one.cost * (1 + RTOL))).any(), one
    if n > 1:
        reach("frontier")


def agree(of: list[Setup], question: Question, reach: Reach) -> None:
    """Everything found of every configuration, mode, workload and set of limits."""
    found = run_search(of, question, most_points=POINTS)
    for i, setup in enumerate(of):
        limit = legality_of(setup)
        memory = Memory([], False, False)
        if limit == Limit.NONE:
            memory = memory_of_batches(setup, question)
        if memory.on_the_edge:
            continue
        sound = {w for w in range(question["facts"].shape[0]) if runs_within_context(setup, question, w)}
        if limit == Limit.NONE and not sound:
            limit = Limit.CONTEXT
        if limit != Limit.NONE:
            assert found.limit[i] == limit
            assert np.isinf(found.near[i, ..., 0]).all()
            reach(limit.name)
            continue
        for branch in branches_of(setup, int(question["drafts"][-1]) if setup.model["draft_rows"] else 0):
            reach(branch)
        anything = False
        for mode, w, s in np.ndindex(MODES, question["facts"].shape[0], question["limits"].shape[0]):
            oracle, limits, at = Oracle(setup, question, w, s), question["limits"][s], (i, mode, w, s)
            every = oracle.candidates(mode, memory.batches)
            anything = anything or bool(every)
            agree_on_best(found, at, oracle, every, limits, reach)
            agree_on_points(found, at, oracle, every, limits, reach)
        if anything:
            assert found.limit[i] == Limit.NONE
        elif not memory.fits and found.limit[i] != Limit.NONE:
            assert found.limit[i] == Limit.MEMORY
            reach("MEMORY")


def runs_within_context(setup: Setup, question: Question, w: int) -> bool:
    """Whether a model sees as far as a prompt of a workload."""
    return bool(question["facts"][w, W_ISL] <= setup.model["max_context"])


EVERY_MODE = tuple(MODE_NAMES.values())
NEAREST = tuple(f"{name}: nearest" for name in EVERY_MODE)


@pytest.mark.reaches(*EVERY_MODE, *NEAREST, "frontier", "undisclosed TDP", "drafts", "drafts in a pipeline", "linear")
@PATIENT
@given(setups(fidelity="kernel"), METERED, SHARES)
def test_the_best_is_that_of_all_candidates(
    reach: Reach, setup: Setup, question: Question, shares: list[list[float]]
) -> None:
    agree([setup], limited([setup], question, shares), reach)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.reaches("aggregated", *ATTENTIONS[kind][1])) for kind in ATTENTIONS]
)
@settings(max_examples=HALF)
@given(st.data())
def test_the_best_of_each_attention_is_that_of_all(reach: Reach, kind: str, data: st.DataObject) -> None:
    setup = data.draw(setups(fidelity="kernel", of=models(attention=ATTENTIONS[kind][0])))
    agree([setup], data.draw(METERED), reach)


@pytest.mark.reaches("aggregated", "torus")
@settings(max_examples=HALF)
@given(setups(routed=True, fidelity="kernel", wiring=tori()), METERED)
def test_the_best_on_a_torus_is_that_of_all(reach: Reach, setup: Setup, question: Question) -> None:
    agree([setup], question, reach)


@pytest.mark.reaches("MEMORY")
@given(setups(fidelity="kernel"), METERED, SHARES, st.data())
def test_memory_is_filled_to_the_last_sequence(
    reach: Reach, setup: Setup, question: Question, shares: list[list[float]], data: st.DataObject
) -> None:
    """Machines with about as much memory as some batch takes: none between the grid and the limit is left out."""
    w = data.draw(st.integers(0, question["facts"].shape[0] - 1))
    case = Oracle(setup, question, w, 0).case(data.draw(st.integers(1, question.most)), 0, 0)
    needed = whole_pass(case) if data.draw(st.booleans()) else math.nan
    if math.isnan(needed):
        needed = held(case, case.b, decode_work(case))
    share = data.draw(st.floats(0.5, 1.5))
    tight = setup.on(memory_bytes=needed * share, memory_fraction=1.0, reserve_bytes=0.0)
    question = limited([tight], question, shares)
    agree([tight], question, reach)
    found = run_search(tight, question)
    for mode in (AGGREGATED, DECODE_POOL):
        chosen = found.at[0, mode, ..., 0][np.isfinite(found.best[0, mode, ..., F_COST])]
        if not np.isin(chosen, question["batches"]).all():
            reach("exactly at the limit")
    ran = np.isfinite(found.near[0, :, :, 0, 0]).any(axis=0)
    if ran.any() and not ran.all():
        reach("one workload alone")


@pytest.mark.reaches("HEADS", "EXPERTS", "MATH_TYPE")
@PATIENT
@given(wild_setups(), METERED)
def test_what_cannot_be_deployed_is_named(reach: Reach, setup: Setup, question: Question) -> None:
    in_series = None if setup.kit is None else setup.kit | {"bound": 0}
    agree([replace(setup, kit=in_series)], question, reach)


@pytest.mark.reaches("LAYERS")
@settings(max_examples=10)
@given(setups(fidelity="kernel"), METERED)
def test_more_stages_than_layers_are_named(reach: Reach, setup: Setup, question: Question) -> None:
    deployment = setup.deployment | {"pp": setup.model["layers"] + 1}
    machine = setup.machine | {"max_accelerators": 1 << 20}
    agree([replace(setup, deployment=deployment, machine=machine)], question, reach)


@pytest.mark.reaches("CONTEXT", "some", *EVERY_MODE)
@given(setups(fidelity="kernel"), METERED, st.integers(1, 1 << 15))
def test_a_workload_beyond_the_context_is_left_out(reach: Reach, setup: Setup, question: Question, most: int) -> None:
    """A pool that computes prompts asks no more of a model than the prompt."""
    agree([replace(setup, model=setup.model | {"max_context": most})], question, reach)
    facts = question["facts"]
    if (facts[:, W_ISL] <= most).any() and (facts[:, W_LONGEST] > most).any():
        reach("some")
