"""Laws of the fused search of a plan: what more freedom, faster parts and other orders do to the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roofline.kernels.candidates import (
    AGGREGATED,
    DECODE_POOL,
    MODES,
    PREFILL_POOL,
    STATIC,
    T_SEQUENCES,
    TABLE,
    W_DUTY,
    W_LONGEST,
)
from roofline.kernels.reduce import F_COST, F_RATE, F_SEQUENCES, F_TPOT, F_TTFT, FIGURES
from roofline.layout import CONFIG, PSU_POINTS, Limit
from roofline.specs import Model, Recipe, System
from roofline.specs.pack import pack as pack_sheets
from roofline.specs.pack import pack_deployments
from roofline.testing.checks import require
from roofline.testing.records import PARTS, Array, Records, Setup, pack
from roofline.testing.runs import run_decode, run_mixed
from roofline.testing.searches import Found, Question, questions, run_search, same_choice
from roofline.testing.strategies import deployments, models, setups
from tests.kernels.branches import PATIENT
from tests.kernels.test_plan import SHARES, limited

Reach = Callable[[str], None]
SETUPS = setups(fidelity="kernel")
DECODING = (AGGREGATED, STATIC, DECODE_POOL)


def no_more(what: str, values: Array, others: Array, slack: float = 0.0) -> None:
    """No value is above the other; inf where there is none."""
    require(what, values <= others * (1 + slack), values, others)


def never_dearer(what: str, freer: Found, found: Found, slack: float = 0.0) -> None:
    """What is found with more freedom costs no more, and is no further from its limits."""
    no_more(what, freer.best[..., F_COST], found.best[..., F_COST], slack)
    no_more(f"{what}: nearest", freer.near[..., 0], found.near[..., 0], slack)


def found_any(found: Found) -> bool:
    return bool(np.isfinite(found.best[..., F_COST]).any())


@pytest.mark.reaches("cost", "met by none")
@given(SETUPS, questions(), SHARES, st.floats(1.0, 10.0))
def test_looser_limits_never_cost(
    reach: Reach, setup: Setup, question: Question, shares: list[list[float]], looser: float
) -> None:
    question = limited([setup], question, shares)
    tight, loose = run_search(setup, question), run_search(setup, question.asking(limits=question["limits"] * looser))
    never_dearer("looser limits never cost", loose, tight)
    if found_any(tight):
        reach("cost")
    if (np.isinf(tight.best[..., F_COST]) & np.isfinite(tight.near[..., 0])).any():
        reach("met by none")


@pytest.mark.reaches("fewer", "cost")
@pytest.mark.parametrize("axis", "bcgun")
@given(SETUPS, questions(drafts=st.sampled_from([[0, 1], [0, 1, 3]])), SHARES, st.data())
def test_more_to_choose_from_never_costs(
    reach: Reach, axis: str, setup: Setup, question: Question, shares: list[list[float]], data: st.DataObject
) -> None:
    """More batches (up to the same largest), chunks, drafts, loads, prompts at once."""
    name = {"b": "batches", "c": "chunks", "g": "drafts", "u": "loads", "n": "at_once"}[axis]
    size = question[name].size
    kept = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    if axis == "b":  # powers of two and the largest are looked at in any case
        octaves = [i for i, b in enumerate(question[name]) if b & (b - 1) == 0 or i == size - 1]
        kept = sorted({*kept, *octaves})
    if axis == "g" and kept[0] != 0:
        kept = [0, *kept]
    if axis == "c":  # a chunk that holds any prompt is left out where a smaller one does
        question = question.asking(filling=np.where(question["filling"] > 0, question["filling"], 0.5))
    question = limited([setup], question, shares)
    freer, found = run_search(setup, question), run_search(setup, question.only(axis, kept))
    never_dearer(f"more {name} never cost", freer, found)
    if found_any(found):
        reach("cost")
    if len(kept) < size:
        reach("fewer")


@pytest.mark.reaches(*map(str, range(MODES)))
@given(SETUPS, questions(), SHARES, st.sets(st.sampled_from(range(MODES)), min_size=1))
def test_other_modes_never_cost(
    reach: Reach, setup: Setup, question: Question, shares: list[list[float]], modes: set[int]
) -> None:
    question = limited([setup], question, shares)
    freer, found = run_search(setup, question), run_search(setup, question, sorted(modes))
    never_dearer("more modes never cost", freer, found)
    for mode in range(MODES):
        if mode not in modes:
            assert np.isinf(found.best[:, mode, ..., F_COST]).all()
            assert np.isinf(found.near[:, mode]).all() or np.isinf(found.near[:, mode, ..., 0]).all()
        elif found_any(found):
            reach(str(mode))


@pytest.mark.reaches("cost")
@given(SETUPS, questions(loaded=False), st.floats(0.05, 1.0), st.floats(1.0, 10.0))
def test_more_duty_never_costs_energy(
    reach: Reach, setup: Setup, question: Question, duty: float, times: float
) -> None:
    question = replace(question, price=(0.0, 1.0)).fact(W_DUTY, duty)
    idler, busier = run_search(setup, question), run_search(setup, question.fact(W_DUTY, min(1.0, duty * times)))
    no_more("more duty never costs", busier.best[..., F_COST], idler.best[..., F_COST], 1e-12)
    if found_any(idler):
        reach("cost")


def faster_peak(setup: Setup, k: float) -> Setup:
    """Every math type k times as fast."""
    assert setup.kit is not None
    kit = setup.kit | {part: setup.kit[part] | {"flop_per_s": setup.kit[part]["flop_per_s"] * k} for part in PARTS}
    return replace(setup, kit=kit)


@pytest.mark.reaches("bandwidth", "peak", "link", "cost")
@PATIENT
@given(SETUPS, questions(nodes=1), SHARES, st.sampled_from(["bandwidth", "peak", "link"]), st.floats(1.0, 20.0))
def test_a_faster_part_never_costs_accelerators(
    reach: Reach, setup: Setup, question: Question, shares: list[list[float]], what: str, k: float
) -> None:
    """In accelerator-seconds: it may draw more. Of one context a workload, at which all terms of a step fall together.

    A pool that computes prompts must hand them over while it computes the next: there a faster link alone helps.
    """
    question = limited([setup], replace(question, price=(1.0, 0.0)), shares)
    machine = setup.machine
    faster = {
        "bandwidth": setup.on(bytes_per_s=machine["bytes_per_s"] * k),
        "peak": faster_peak(setup, k),
        "link": setup.on(**{name: machine[name] * k for name in ("up_bytes_per_s", "out_bytes_per_s")}),
    }[what]
    modes = range(MODES) if what == "link" else DECODING
    found, better = run_search(setup, question, modes), run_search(faster, question, modes)
    if edges(found, better):
        return
    no_more(f"a faster {what} never costs", better.best[..., F_COST], found.best[..., F_COST], 1e-12)
    reach(what)
    if found_any(found):
        reach("cost")


def edges(found: Found, other: Found) -> bool:
    """Whether what was nearest in one search is within the limits in the other but for rounding."""
    gained = np.isfinite(found.best[..., F_COST]) & ~np.isfinite(other.best[..., F_COST])
    return bool((gained & (other.near[..., 0] < 1 + 1e-9)).any())


@pytest.mark.reaches("drafts")
@given(
    setups(fidelity="kernel", of=models(drafts=True)),
    questions(drafts=st.sampled_from([[0, 1], [0, 2], [0, 4]])),
)
def test_drafts_that_are_never_kept_never_pay(reach: Reach, setup: Setup, question: Question) -> None:
    """tau = 1: as many steps as without drafts, each of them longer. In accelerator-seconds of a decode pool."""
    timing = question["timing"].copy()
    timing[:, 1:] = timing[:, :1]
    question = replace(question, price=(1.0, 0.0)).asking(timing=timing)
    without, drafting = (run_search(setup, question.only("g", [g]), [DECODE_POOL]) for g in (0, 1))
    no_more("drafts never pay", without.best[..., F_COST], drafting.best[..., F_COST], 1e-12)
    if found_any(drafting):
        reach("drafts")


@pytest.mark.reaches("frontier", "thinned")
@PATIENT
@given(SETUPS, questions(), st.integers(1, 4))
def test_a_frontier_stands_and_its_end_is_the_best(reach: Reach, setup: Setup, question: Question, few: int) -> None:
    """However few points are kept, the quickest and the cheapest are among them, and the best is found as without."""
    none, whole, thinned = (run_search(setup, question, most_points=n) for n in (0, 200, few))
    same_choice("points change no choice", none, whole)
    same_choice("points change no choice", none, thinned)
    for at in np.ndindex(none.best.shape[:-1]):
        n, kept = int(whole.filled[at]), int(thinned.filled[at])
        points, some = whole.points[at][:n], thinned.points[at][:kept]
        assert min(n, 1) <= kept <= min(n, few)  # one that gave way may be missed when those beside it are beaten
        for found in (points, some):
            assert (np.diff(found[:, F_TPOT]) > 0).all()
            assert (np.diff(found[:, F_COST]) < 0).all()
        if n == 0:
            assert np.isinf(none.best[at][F_COST])
            continue
        np.testing.assert_array_equal(points[-1, :FIGURES], none.best[at])
        np.testing.assert_array_equal(some[-1], points[-1])
        if few > 1:
            np.testing.assert_array_equal(some[0], points[0])
        if n > 1:
            reach("frontier")
        if kept < n:
            reach("thinned")


@pytest.mark.reaches("bits")
@given(st.lists(SETUPS, min_size=1, max_size=3), questions(), SHARES)
def test_threads_and_neighbours_change_no_bits(
    reach: Reach, of: list[Setup], question: Question, shares: list[list[float]]
) -> None:
    question = limited(of, question, shares)
    whole, threaded = run_search(of, question), run_search(of, question, parallel=True)
    same_choice("threads change nothing", whole, threaded)
    for i, setup in enumerate(of):
        alone = run_search(setup, question)
        for name in ("best", "near", "at", "limit", "count"):
            assert getattr(whole, name)[i : i + 1].tobytes() == getattr(alone, name).tobytes(), name
    reach("bits")


@pytest.mark.reaches("w", "s")
@given(SETUPS, questions(), SHARES)
def test_order_changes_no_bits(reach: Reach, setup: Setup, question: Question, shares: list[list[float]]) -> None:
    """Of workloads, and of sets of limits."""
    question = limited([setup], question, shares)
    found = run_search(setup, question)
    for axis, dim, size in (("w", 2, question["facts"].shape[0]), ("s", 3, question["limits"].shape[0])):
        order = list(reversed(range(size)))
        other = run_search(setup, question.only(axis, order))
        for name in ("best", "near", "at"):
            theirs = np.flip(getattr(other, name), dim)
            assert theirs.tobytes() == getattr(found, name).tobytes(), name
        if size > 1:
            reach(axis)


@st.composite
def fleets(draw: st.DrawFn) -> Records:
    """Several deployments of one model on one machine."""
    setup = draw(SETUPS)
    several = [
        setup,
        *(replace(setup, deployment=draw(deployments(setup.model))) for _ in range(draw(st.integers(1, 4)))),
    ]
    records = pack([one.on(max_accelerators=1 << 30) for one in several])
    for name in ("model", "machine", "kit"):
        records.configs[name] = 0
    return records


CHOSEN_TOGETHER = ([AGGREGATED, STATIC], [PREFILL_POOL], [DECODE_POOL])
"""Modes of which a plan takes one, and pools, of which it takes one of each."""


@pytest.mark.reaches("fewer", *(str(modes[0]) for modes in CHOSEN_TOGETHER))
@PATIENT
@given(fleets(), questions(), SHARES, st.booleans())
def test_what_is_left_out_is_not_the_best(
    reach: Reach, records: Records, question: Question, shares: list[list[float]], parallel: bool
) -> None:
    """Of a machine, over its deployments, to the bit; but a smaller chunk than needs be may draw a little less."""
    question = question.asking(limits=np.array(shares[: question["limits"].shape[0]]))
    whole, pruned = run_search(records, question), run_search(records, question, prune=True, parallel=parallel)
    for modes in CHOSEN_TOGETHER:
        best, kept = (found.best[:, modes, ..., F_COST].min(axis=(0, 1)) for found in (whole, pruned))
        slack = 1e-2 if PREFILL_POOL in modes else 0.0
        no_more(f"modes {modes}: what is left out is not the best", kept, best, slack)
        if np.isfinite(best).any():
            reach(str(modes[0]))
    assert (pruned.count[:, 0] <= whole.count[:, 0]).all()
    if (pruned.count[:, 0] < whole.count[:, 0]).any():
        reach("fewer")


@pytest.mark.reaches("CONTEXT")
@given(SETUPS, questions())
def test_why_nothing_decodes(reach: Reach, setup: Setup, question: Question) -> None:
    """A prompt within the context is not enough."""
    most = int(question["facts"][:, W_LONGEST].min()) - 1
    assume(most > 0)
    found = run_search(replace(setup, model=setup.model | {"max_context": most}), question, DECODING)
    assert found.limit[0] == Limit.CONTEXT
    reach("CONTEXT")


OWN_S, EACH_S = 2e-3, 1e-5
"""Host time of a step, and of each sequence in it."""


def fixed_question(reserved: int, chunk: int, context: int, most: int) -> Question:
    """One workload at one context and no limits, by hand: 100 steps of decoding after a prompt of two chunks."""
    tables = np.ones((1, 1, 1, 1, most + 1, TABLE))
    tables[..., T_SEQUENCES] = np.arange(most + 1) + 2.0
    arrays = {
        "facts": np.array([[2.0 * chunk, 2.0 * chunk, reserved, 101.0, 0.0, 1.0, 0.0, reserved]]),
        "contexts": np.array([[1.0 * context]]),
        "prompt_ends": np.array([[[2.0 * chunk]]]),
        "chunks": np.array([chunk]),
        "drafts": np.array([0]),
        "batches": np.arange(1, most + 1),
        "padded": np.arange(most + 1),
        "at_once": np.array([1]),
        "loads": np.array([0.5]),
        "tables": tables,
        "timing": np.array([[[100.0, 1.0]]]),
        "filling": np.array([[[2.0, 2.0]]]),
        "longest": np.full((1, 1, 2), 100.0),
        "quants": np.array([[[0.9, 150.0]]]),
        "limits": np.full((1, 3), np.inf),
        "stack": np.array([OWN_S, EACH_S, 0.0]),
    }
    alone = {"accelerators": 8, "boundary": 0, "reserved": 0, "psu_points": 1, "idle_w": 100.0, "host_w": 0.0}
    alone |= {
        "psu_rated_w": 1e3,
        "pue": 1.0,
        "fixed_w": 0.0,
        "most_w": np.inf,
        "reserved_part_w": 0.0,
        "reserved_system_w": 0.0,
    }
    power = alone | {name: [1.0] * PSU_POINTS for name in ("psu_load", "psu_efficiency")}
    return Question(arrays, (), power, (1.0, 0.0))


def test_a_search_prices_steps_as_the_grids_of_steps_do() -> None:
    """Shipped sheets, two ranks of four: rates of a decode pool and of continuous batching from their definitions."""
    packed = pack_sheets([Model.load("llama-3.1-70b")], [System.load("dgx-h100")], [Recipe.load("fp8")], "kernel")
    configs = np.zeros(1, CONFIG)
    configs["kit"] = packed.kit_index[0, 0, 0]
    records = Records(
        packed.models, packed.layers, packed.machines, packed.kits, pack_deployments([(4, 1, 2, 1, 1)]), configs
    )
    chunk, context = 1024, 3000
    found = run_search(records, fixed_question(4096, chunk, context, 40), (AGGREGATED, DECODE_POOL))
    for mode in (AGGREGATED, DECODE_POOL):
        figures, b = found.best[0, mode, 0, 0], int(found.at[0, mode, 0, 0, 0])
        step_s = OWN_S + EACH_S * b + float(run_decode(records, [2 * b], [context]).step[0, 0, 0])
        assert b > 1
        if mode == DECODE_POOL:
            assert figures[F_RATE] == pytest.approx(2 * b / (100 * step_s), rel=1e-12)
            assert figures[F_TPOT] == pytest.approx(step_s, rel=1e-12)
            assert (figures[F_TTFT], figures[F_SEQUENCES]) == (0.0, 2 * b)
            assert figures[F_COST] == pytest.approx(8 / (figures[F_RATE] * 101), rel=1e-12)
            continue
        mixed = run_mixed(records, [2 * b], [context], chunk, [2 * chunk])
        more_s = float(mixed.step[0, 0, 0, 0] - mixed.decode[0, 0, 0])
        assert figures[F_RATE] == pytest.approx(2 * b / (100 * step_s + 2 * b * more_s), rel=1e-12)
        assert figures[F_TPOT] == pytest.approx(step_s + more_s, rel=1e-12)
        assert figures[F_TTFT] == pytest.approx(step_s + more_s, rel=1e-12)
        assert figures[F_SEQUENCES] == 2 * (b + 2)
