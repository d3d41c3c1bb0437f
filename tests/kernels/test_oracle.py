"""Compiled kernels against the plain-Python oracle, which was written from docs/equations.md alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.kernels.outputs import Var
from roofline.layout import Bound, Component, Limit
from roofline.testing.records import Setup, idealised
from roofline.testing.runs import Run, run_decode, run_prefill
from roofline.testing.strategies import (
    PrefillCell,
    batches,
    contexts,
    decode_cells,
    draft_counts,
    models,
    new_token_counts,
    prefill_cells,
    setups,
    tori,
    wild_setups,
)
from tests.kernels.branches import ATTENTIONS, DRAFT_BRANCHES, PATIENT, TORUS_BRANCHES, branches_of
from tests.oracle import decode, memory_of, prefill

RTOL = 1e-12
HALF = max(3, settings.default.max_examples // 2)
Reach = Callable[[str], None]
Index = tuple[int, int, int]

SCALARS = {
    Var.SERIAL: "serial",
    Var.USER_RATE: "tokens_per_s_per_user",
    Var.GPU_RATE: "tokens_per_s_per_accelerator",
    Var.POWER: "power",
    Var.ENERGY: "joules_per_token",
    Var.MFU: "u_f",
    Var.MBU: "u_m",
    Var.DRAWN_COMPUTE: "drawn_f",
    Var.DRAWN_MEMORY: "drawn_m",
}
CLASSES = {
    Var.CLASS_COMPUTE: Bound.COMPUTE,
    Var.CLASS_MEMORY: Bound.MEMORY,
    Var.CLASS_NETWORK: Bound.NETWORK,
    Var.CLASS_LATENCY: Bound.LATENCY,
}


def close(ours: float, theirs: float, floor: float = 0.0) -> bool:
    if theirs != theirs:  # power, where TDP is undisclosed
        return math.isnan(ours)
    return math.isclose(ours, theirs, rel_tol=RTOL, abs_tol=floor)


def memory_on_the_edge(setup: Setup, memory: float) -> bool:
    """Whether rounding may decide if it fits."""
    room = setup.machine["memory_bytes"] * setup.machine["memory_fraction"]
    return math.isclose(memory + setup.machine["reserve_bytes"], room, rel_tol=RTOL)


def agree(
    run: Run, at: Index, setup: Setup, expected: dict[str, Any], memory: float | None, reach: Reach, drafts: int = 0
) -> None:
    """One cell: every number at 1e-12, every choice the same unless the alternatives tie."""
    limit = Limit(int(run.limit[at]))
    if memory is not None and memory_on_the_edge(setup, memory):
        return
    assert limit == expected["limit"]
    reach("legal" if limit == Limit.NONE else "limited")
    if limit == Limit.NONE:
        for branch in branches_of(setup, drafts):
            reach(branch)
    if limit in (Limit.NONE, Limit.MEMORY, Limit.CONTEXT):
        assert memory is not None
        assert close(run[Var.MEMORY][at], memory)
    if limit != Limit.NONE:
        assert all(math.isnan(v[at]) for name, v in run.values.items() if name != Var.MEMORY)
        assert run.bound[at] == Bound.NONE
        return
    time = expected.get("step", expected.get("time"))
    assert close(run.step[at], time)
    for variable, name in SCALARS.items():
        assert close(run[variable][at], expected[name]), name
    classes = expected["classes"]
    whole = sum(classes.values())
    assert close(sum(run[variable][at] for variable in CLASSES), whole)
    if expected["ties"]:
        reach("tie")
        return
    for variable, bound in CLASSES.items():
        assert close(run[variable][at], classes[bound], RTOL * whole), bound
    best = max(classes.values())
    if sum(value >= best * (1 - RTOL) for value in classes.values()) == 1:
        assert run.bound[at] == expected["bound"]
    assert setup.kit is not None
    if setup.kit["bound"]:
        return  # where operations overlap, seconds belong to no single component
    for component in Component:
        assert close(run.component(component)[at], expected["components"][component], RTOL * time), component


def oracle_arguments(setup: Setup) -> tuple[Any, ...]:
    return setup.model, setup.machine, setup.kit, setup.deployment


def agree_on_decode(
    of: list[Setup],
    batch: list[int],
    context: list[int],
    new_tokens: int,
    reach: Reach,
    drafts: int = 0,
    kept: float | None = None,
) -> None:
    run = run_decode(of, batch, context, new_tokens, drafts=drafts, tokens_per_step=kept)
    for i, setup in enumerate(of):
        for b, sequences in enumerate(batch):
            for c, length in enumerate(context):
                expected = decode(*oracle_arguments(setup), sequences, length, new_tokens, drafts, kept)
                memory = None
                if expected["limit"] in (Limit.NONE, Limit.MEMORY, Limit.CONTEXT):
                    memory = memory_of(*oracle_arguments(setup), sequences, new_tokens, length, False, drafts)["total"]
                agree(run, (i, b, c), setup, expected, memory, reach, drafts)


def agree_on_prefill(cell: PrefillCell, reach: Reach) -> None:
    run = run_prefill(cell.setup, [cell.batch], [cell.isl], cell.cached, cell.chunk)
    arguments = oracle_arguments(cell.setup)
    expected = prefill(*arguments, cell.batch, cell.isl, cell.cached, cell.chunk)
    memory = None
    if expected["limit"] in (Limit.NONE, Limit.MEMORY, Limit.CONTEXT):
        largest = min(cell.chunk, cell.isl - cell.cached)
        memory = memory_of(*arguments, cell.batch, largest, cell.isl, True)["total"]
    agree(run, (0, 0, 0), cell.setup, expected, memory, reach)


@pytest.mark.reaches("legal")
@given(
    st.lists(setups(fidelity="kernel"), min_size=1, max_size=2),
    st.lists(batches(), min_size=1, max_size=2),
    st.lists(contexts(), min_size=1, max_size=4),
)
def test_kernel_decode_agrees_with_the_oracle(
    reach: Reach, setup_list: list[Setup], batch: list[int], context: list[int]
) -> None:
    agree_on_decode(setup_list, batch, context, 1, reach)


@pytest.mark.reaches("legal")
@given(
    setups(fidelity="ideal"), st.lists(batches(), min_size=1, max_size=2), st.lists(contexts(), min_size=1, max_size=4)
)
def test_ideal_decode_agrees_with_the_oracle(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    agree_on_decode([setup], batch, context, 1, reach)


@pytest.mark.reaches("legal")
@given(setups(), st.lists(batches(), min_size=1, max_size=2), contexts(shortest=9), new_token_counts())
def test_passes_of_several_tokens_agree_with_the_oracle(
    reach: Reach, setup: Setup, batch: list[int], context: int, new_tokens: int
) -> None:
    agree_on_decode([setup], batch, [context, context + 1], new_tokens, reach)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.reaches("prompt", *ATTENTIONS[kind][1])) for kind in ATTENTIONS]
)
@settings(max_examples=HALF)
@given(st.data())
def test_each_attention_agrees_with_the_oracle(reach: Reach, kind: str, data: st.DataObject) -> None:
    """Steps with and without drafts, and a prompt, of models all of whose layers have one kind of attention."""
    cell = data.draw(decode_cells(setups(of=models(attention=ATTENTIONS[kind][0]))))
    both = [cell.setup, idealised(cell.setup)]
    agree_on_decode(both, [cell.batch], [cell.context], cell.new_tokens, reach, cell.drafts, cell.tokens_per_step)
    for setup in both:
        agree_on_prefill(data.draw(prefill_cells(st.just(setup))), reach)
        reach("prompt")


@pytest.mark.reaches(*TORUS_BRANCHES)
@PATIENT
@given(setups(routed=True, wiring=tori()), st.lists(batches(), min_size=1, max_size=3), contexts())
def test_tori_agree_with_the_oracle(reach: Reach, setup: Setup, batch: list[int], context: int) -> None:
    agree_on_decode([setup, idealised(setup)], batch, [context], 1, reach)


@pytest.mark.reaches("legal", *DRAFT_BRANCHES)
@PATIENT
@given(
    setups(of=models(drafts=True)),
    batches(),
    contexts(shortest=5),
    draft_counts(),
    st.one_of(st.none(), st.floats(1.0, 2.0)),
)
def test_drafts_agree_with_the_oracle(
    reach: Reach, setup: Setup, batch: int, context: int, drafts: int, kept: float | None
) -> None:
    agree_on_decode([setup], [batch], [context, context + 1], drafts + 1, reach, drafts, kept)


@pytest.mark.reaches("legal")
@given(prefill_cells(setups(fidelity="kernel")))
def test_kernel_prefill_agrees_with_the_oracle(reach: Reach, cell: PrefillCell) -> None:
    agree_on_prefill(cell, reach)


@pytest.mark.reaches("legal")
@given(prefill_cells(setups(fidelity="ideal")))
def test_ideal_prefill_agrees_with_the_oracle(reach: Reach, cell: PrefillCell) -> None:
    agree_on_prefill(cell, reach)


@pytest.mark.reaches("limited")
@given(
    wild_setups(),
    st.lists(batches(), min_size=1, max_size=3),
    st.lists(contexts(shortest=3), min_size=1, max_size=3),
    st.sampled_from([0, 0, 2]),
)
def test_limits_of_decode_agree_with_the_oracle(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], drafts: int
) -> None:
    agree_on_decode([setup], batch, context, drafts + 1, reach, drafts)


@pytest.mark.reaches("limited")
@given(prefill_cells(wild_setups()))
def test_limits_of_prefill_agree_with_the_oracle(reach: Reach, cell: PrefillCell) -> None:
    agree_on_prefill(cell, reach)


@pytest.mark.reaches("legal")
@given(setups(), batches(), contexts(1 << 16))
def test_contexts_past_one_tile_agree_with_the_oracle(reach: Reach, setup: Setup, batch: int, start: int) -> None:
    """Kernels sum contexts in tiles: a grid of several hundred, looked at across the seams."""
    grid = [start + 3 * i for i in range(600)]
    run = run_decode([setup, idealised(setup)], [batch], grid)
    for i, which in enumerate((setup, idealised(setup))):
        for c in (0, 1, 255, 256, 257, 511, 512, 599):
            expected = decode(*oracle_arguments(which), batch, grid[c])
            memory = memory_of(*oracle_arguments(which), batch, 1, grid[c], False)["total"]
            agree(run, (i, 0, c), which, expected, memory, reach)
