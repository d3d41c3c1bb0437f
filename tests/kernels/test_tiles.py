"""What the draw of experts is of: a mean rank, in whole tiles of rows (7t). Times know nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from roofline.kernels.moe import computed_rows
from roofline.kernels.outputs import Var
from roofline.testing.records import Setup
from roofline.testing.runs import run_decode, run_prefill
from roofline.testing.strategies import ascending, batches, contexts, prefill_cells, setups

Reach = Callable[[str], None]
BATCHES, CONTEXTS = ascending(batches()), ascending(contexts())
OF_DRAW = (Var.POWER, Var.ENERGY, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY)


@njit
def rows_in_tiles(touched, rows, tile):
    """Building blocks of kernels have no Python entry of their own."""
    return computed_rows(touched, rows, tile)


def tiled(setup: Setup, tile: float) -> Setup:
    assert setup.kit is not None
    return replace(setup, kit=setup.kit | {"expert_tile": tile})


@given(st.floats(0.5, 256.0), st.floats(1.0, 1e4), st.sampled_from([1.0, 16.0, 64.0, 128.0]))
def test_rows_in_tiles(touched: float, each: float, tile: float) -> None:
    """No fewer than the rows, a tile for each expert at least, under one tile more than the rows of each."""
    rows = touched * each
    found = rows_in_tiles(touched, rows, tile)
    assert rows <= found <= rows + (tile - 1.0) * touched * (1 + 1e-12)
    assert found >= tile * touched * (1 - 1e-12)
    assert rows_in_tiles(touched, rows, 1.0) == rows


def test_a_tile_by_hand() -> None:
    assert rows_in_tiles(8.0, 8.0, 64.0) == 8 * 64  # one row an expert: 63 of each 64 are empty
    assert rows_in_tiles(2.0, 2000.0, 64.0) == 2000 + 2 * 31.5  # many tiles, the last one half empty


@pytest.mark.reaches("routed", "more draw", "drafts")
@given(setups() | setups(routed=True), BATCHES, CONTEXTS)
def test_tiles_change_the_draw_alone(reach: Reach, setup: Setup, batch: list[int], context: list[int]) -> None:
    drafts = 2 if setup.model["draft_rows"] else 0
    context = [length + drafts for length in context]
    none, some = (run_decode(tiled(setup, t), batch, context, 1 + drafts, drafts=drafts) for t in (1.0, 64.0))
    for variable, values in none.values.items():
        if variable not in OF_DRAW:
            np.testing.assert_array_equal(some[variable], values, err_msg=str(variable))
    np.testing.assert_array_equal(some[Var.DRAWN_MEMORY], none[Var.DRAWN_MEMORY])
    ran = none.ran
    assert (some[Var.DRAWN_COMPUTE] >= none[Var.DRAWN_COMPUTE] * (1 - 1e-12))[ran].all()
    with np.errstate(invalid="ignore"):
        assert not (some[Var.POWER] < none[Var.POWER] * (1 - 1e-12))[ran].any()  # NaN where undisclosed
    if any(row["experts"] for row in setup.model["rows"]):
        reach("routed")
    if (some[Var.DRAWN_COMPUTE] > 1.01 * none[Var.DRAWN_COMPUTE]).any():
        reach("more draw")
    if drafts:
        reach("drafts")


@pytest.mark.reaches("one rank", "experts in parallel", "less than the fullest")
@given(setups(routed=True), BATCHES, CONTEXTS)
def test_a_mean_rank_does_no_more_than_the_fullest(
    reach: Reach, setup: Setup, batch: list[int], context: list[int]
) -> None:
    run = run_decode(tiled(setup, 1.0), batch, context)
    assert setup.kit is not None
    pairs = ((Var.DRAWN_COMPUTE, Var.MFU), (Var.DRAWN_MEMORY, Var.MBU))
    if setup.deployment["ep"] == 1 and setup.kit["expert_skew"] == 1.0:
        for drawn, used in pairs:
            np.testing.assert_array_equal(run[drawn], run[used])
        reach("one rank")
        return
    reach("experts in parallel")
    for drawn, used in pairs:
        assert (run[drawn] <= run[used] * (1 + 1e-9))[run.ran].all()
        assert (run[drawn] >= 0.0)[run.ran].all()
    if any((run[drawn] < (1 - 1e-6) * run[used])[run.ran].any() for drawn, used in pairs):
        reach("less than the fullest")


@pytest.mark.reaches("runs")
@given(prefill_cells(setups(routed=True)))
def test_tiles_change_the_draw_of_prompts_alone(reach: Reach, cell) -> None:
    none, some = (
        run_prefill(tiled(cell.setup, t), [cell.batch], [cell.isl], cell.cached, cell.chunk) for t in (1.0, 16.0)
    )
    for variable, values in none.values.items():
        if variable not in OF_DRAW:
            np.testing.assert_array_equal(some[variable], values)
    assert (some[Var.DRAWN_COMPUTE] >= none[Var.DRAWN_COMPUTE] * (1 - 1e-12))[none.ran].all()
    if none.ran.any():
        reach("runs")
