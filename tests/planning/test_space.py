"""All configurations of a model: which there are, how they stand in records, what a pruned search finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.grid import axes
from roofline.grid.deployments import every_deployment
from roofline.kernels.candidates import AGGREGATED, DECODE_POOL, MODES, PREFILL_POOL, STATIC
from roofline.kernels.plan import search_grid
from roofline.kernels.reduce import F_COST, F_RATE, F_WATTS
from roofline.planning.objective import Objective
from roofline.planning.question import Question, question
from roofline.planning.space import Space, self_contained
from roofline.rack.best import native_recipes
from roofline.serving import Lognormal

Plain = dict[str, Any]
Reach = Callable[[str], None]

TOGETHER = ([AGGREGATED, STATIC], [PREFILL_POOL], [DECODE_POOL])
"""Modes of which a plan takes one, and pools, of which it takes one of each."""


def space_of(model: str, systems: list[str], recipes: list[str] | None = None, most: int | None = None) -> Space:
    named = None if recipes is None else [rl.Recipe.load(name) for name in recipes]
    return Space.of(rl.Model.load(model), [rl.System.load(name) for name in systems], named, most)


def test_all_recipes_and_deployments_of_each_system() -> None:
    names = ["dgx-h100", "gb200-nvl72"]
    space = space_of("gpt-oss-120b", names, most=8)
    expected = []
    for s, system in enumerate(space.systems):
        for recipe in native_recipes(space.model, system):
            rows = every_deployment(space.model, system, 8).rows
            expected += [(s, axes.label(recipe), row) for row in rows]
    found = [
        (int(space.system[i]), axes.label(space.recipes[space.recipe[i]]), tuple(space.degrees(i).values()))
        for i in range(space.configs.size)
    ]
    assert found == expected
    for i, (_, _, row) in enumerate(expected):
        assert space.group[i] == row[0] * row[1] * row[2]
        assert space.label(i) == axes.deployment_label(row)
    assert (space.configs["machine"] == space.system).all()
    assert (space.configs["model"] == 0).all()


def test_named_recipes_and_deployments_in_their_place() -> None:
    rows = axes.deployments(rows=[{"tp": 2}, {"tp": 1}])
    named = [rl.Recipe.load(name) for name in ("fp8", "nvfp4", "bf16")]
    boxes = [rl.System.load(name) for name in ("dgx-h100", "dgx-b200")]
    space = Space.of(rl.Model.load("llama-3.1-70b"), boxes, named, None, rows)
    assert space.configs.size == 2 * 3 * 2
    assert [space.label(i) for i in range(4)] == ["tp2", "tp1"] * 2
    assert space.recipe[:6].tolist() == [0, 0, 1, 1, 2, 2]
    assert space.deployments.rows == rows.rows
    records = space.records
    assert len(records) == 6
    assert records[4]["tp"].tolist() == [2, 1]
    kits = space.packed.kit_index
    assert space.configs["kit"].tolist() == [
        int(kits[0, s, r]) for s, r in zip(space.system.tolist(), space.recipe.tolist(), strict=True)
    ]


def test_the_hand_over_runs_at_the_scale_out_of_a_part() -> None:
    space = space_of("llama-3.1-8b", ["dgx-h100", "groq3-lpx"], most=1)
    for system, machine, link in zip(space.systems, space.packed.machines, space.links, strict=True):
        there = 0.0 if system.scale_out is None else system.scale_out.bytes_per_s
        assert machine["out_bytes_per_s"] == there
        assert link == there * machine["eta_out"]


def test_a_replica_is_of_as_many_systems_as_hold_the_weights_twice() -> None:
    model, box = rl.Model.load("llama-3.1-405b"), rl.System.load("dgx-h100")
    bf16 = [rl.Recipe.load("bf16")]
    assert 16 * 80e9 < 2 * 2 * model.total_params < 32 * 80e9
    assert self_contained(model, box, bf16) == 32
    assert self_contained(rl.Model.load("llama-3.1-8b"), box, bf16) == 8
    tight = box.replace(max_systems=1)
    assert self_contained(model, tight, bf16) == 8
    both = [rl.Recipe.load(name) for name in ("bf16", "fp8")]
    assert self_contained(model, box, both) <= self_contained(model, box, bf16)  # the smallest that is tried


MODELS = [
    "llama-3.1-8b", "gemma-3-27b", "qwen3-30b-a3b", "gpt-oss-20b", "mixtral-8x7b", "deepseek-v2-236b",
    "nemotron-h-56b", "qwen3-next-80b-a3b",
]  # fmt: skip
SYSTEMS = ["dgx-a100", "dgx-h200", "gb200-nvl72", "mi300x-8", "rtx-pro-6000-8", "ironwood-rack"]


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """One or two workloads under one or two sets of limits."""
    asked = []
    for _ in range(draw(st.integers(1, 2))):
        isl, osl = draw(st.integers(50, 12_000)), draw(st.integers(2, 1500))
        spread = draw(st.sampled_from([0.0, 0.7]))
        lengths: Plain = {"isl": Lognormal(isl, spread), "osl": Lognormal(osl, spread)} if spread else {}
        cached = draw(st.sampled_from([0.0, 0.5]))
        load, rate = draw(st.sampled_from([1.0, 0.5])), draw(st.floats(0.5, 500.0))
        asked.append(rl.Workload(**({"isl": isl, "osl": osl} | lengths), cached_share=cached, load=load, rate=rate))
    limit = st.one_of(st.none(), st.floats(-2.0, 1.3).map(lambda x: 10.0**x))
    slos = [
        {
            "ttft_s": draw(limit),
            "tpot_s": draw(st.one_of(st.none(), st.floats(0.003, 0.1))),
            "latency_s": draw(st.one_of(st.none(), st.none(), limit)),
            "percentile": draw(st.sampled_from([50, 90, 99])),
        }
        for _ in range(draw(st.integers(1, 2)))
    ]
    chunks = sorted(draw(st.sets(st.sampled_from([256, 1024, 4096]), min_size=1, max_size=2)))
    accepted = draw(st.sampled_from([None, None, [0.7]]))
    loaded = draw(st.sampled_from([False, False, True]))
    return question(asked, slos, chunks=chunks, acceptance=accepted, loaded=loaded, most_batch=512)


def unpruned(space: Space, asked: Question, aim: Objective, modes: list[int]) -> Plain:
    wanted = np.isin(np.arange(MODES), modes).astype(np.int64)
    arguments: Plain = {"powers": aim.powers(space.systems), "prices": aim.prices(space.systems), "modes": wanted}
    found: Plain = search_grid(*space.records, links=space.links, prune=False, **arguments, **asked.arrays())
    return found


@pytest.mark.reaches("fewer", "best", "none", *(f"modes {modes[0]}" for modes in TOGETHER))
@settings(max_examples=25)
@given(
    st.sampled_from(MODELS),
    st.lists(st.sampled_from(SYSTEMS), min_size=1, max_size=2, unique=True),
    questions(),
    st.booleans(),
    st.sets(st.sampled_from(range(3)), min_size=1),
)
def test_a_pruned_search_finds_the_best_of_each_system(
    reach: Reach, model: str, systems: list[str], asked: Question, by_energy: bool, wanted: set[int]
) -> None:
    """Of any shipped model on any system, in energy and in accelerators; with as many modes as are asked for."""
    aim = Objective("min_gpus" if asked.loaded else "tokens_per_mwh" if by_energy else "tokens_per_s_per_gpu")
    space = space_of(model, systems, most=8)
    modes = [mode for one in sorted(wanted) for mode in TOGETHER[one]]
    whole, pruned = unpruned(space, asked, aim, modes), space.search(asked, aim, modes)
    assert pruned["count"][:, 0].sum() <= whole["count"][:, 0].sum()
    if pruned["count"][:, 0].sum() < whole["count"][:, 0].sum():
        reach("fewer")
    np.testing.assert_array_equal(pruned["limit"], whole["limit"])
    for s in range(len(systems)):
        mine = space.system == s
        for group in (TOGETHER[one] for one in sorted(wanted)):
            best, kept = (found["best"][mine][:, group, ..., F_COST].min(axis=(0, 1)) for found in (whole, pruned))
            np.testing.assert_array_equal(kept, best)
            near, found_near = (found["near"][mine][:, group, ..., 0].min(axis=(0, 1)) for found in (whole, pruned))
            lost = ~np.isfinite(best)
            np.testing.assert_allclose(found_near[lost], near[lost], rtol=1e-12)
            reach("best" if np.isfinite(best).any() else "none")
            if np.isfinite(best).any():
                reach(f"modes {group[0]}")


@given(st.sampled_from(MODELS), st.sampled_from(SYSTEMS), questions(), st.sampled_from([PREFILL_POOL, DECODE_POOL]))
@settings(max_examples=25)
def test_pools_up_to_a_quarter_dearer_are_found_too(model: str, system: str, asked: Question, mode: int) -> None:
    """All that match rates may take: the best of each deployment that costs up to 1.25 times the cheapest."""
    aim, space = Objective("min_gpus" if asked.loaded else "tokens_per_mwh"), space_of(model, [system], most=8)
    whole, pruned = unpruned(space, asked, aim, [mode]), space.search(asked, aim, [mode])
    costs, kept = (found["best"][:, mode, ..., F_COST] for found in (whole, pruned))
    close = costs <= 1.25 * costs.min(axis=0)
    np.testing.assert_array_equal(kept[close & np.isfinite(costs)], costs[close & np.isfinite(costs)])
    for figure in (F_RATE, F_WATTS):
        values, others = (found["best"][:, mode, ..., figure] for found in (whole, pruned))
        np.testing.assert_array_equal(others[close & np.isfinite(costs)], values[close & np.isfinite(costs)])


def test_a_slower_link_of_the_other_side_is_taken() -> None:
    """Without a link nothing is handed over: no prefill pool, and decode pools as before."""
    space, asked = space_of("llama-3.1-8b", ["dgx-h100"], ["fp8"], most=2), question("1k/128", chunks=[1024])
    aim = Objective()
    modes = [PREFILL_POOL, DECODE_POOL]
    fast, slow, none = (
        space.search(asked, aim, modes, links=None if share is None else space.links * share, parallel=False)
        for share in (None, 0.01, 0.0)
    )
    dear, cheap = (found["best"][:, PREFILL_POOL, ..., F_COST].min() for found in (slow, fast))
    assert dear > cheap  # fewer prompts at once
    assert np.isinf(none["best"][:, PREFILL_POOL, ..., F_COST]).all()
    np.testing.assert_array_equal(none["best"][:, DECODE_POOL], fast["best"][:, DECODE_POOL])
