"""Closed forms of docs/equations.md against counting: tokens seen, one query at a time, and boxes of a torus."""

from __future__ import annotations

from itertools import product

import pytest

from roofline.layout import NO_WINDOW, Topology
from tests.oracle.torus import box, torus_exchange_rate, torus_hops, torus_up_rate
from tests.oracle.visible import (
    pairs_in_chunks,
    pairs_seen,
    tokens_kept,
    tokens_of_chunks,
    tokens_of_selections,
    tokens_read,
)

PASSES = [(new, context) for new in (1, 2, 5, 9) for context in range(new, 24)]


def seen_by(position: int, window: int) -> range:
    return range(max(1, position - window + 1), position + 1)


def seen_in_chunk(position: int, chunk: int) -> range:
    return range((position - 1) // chunk * chunk + 1, position + 1)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 30, NO_WINDOW])
def test_windowed_pairs_and_reads_match_counting_token_by_token(window: int) -> None:
    for new, context in PASSES:
        positions = range(context - new + 1, context + 1)
        assert pairs_seen(new, context, window) == sum(len(seen_by(p, window)) for p in positions)
        assert tokens_read(new, context, window) == len({key for p in positions for key in seen_by(p, window)})


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 30])
def test_chunked_pairs_and_reads_match_counting_token_by_token(chunk: int) -> None:
    """(3c): its triangles, and what a pass reads, which may begin chunks before the one it ends in."""

    def triangles(n: int) -> int:
        return n // chunk * chunk * (chunk + 1) // 2 + (n % chunk) * (n % chunk + 1) // 2

    for new, context in PASSES:
        positions = range(context - new + 1, context + 1)
        pairs = sum(len(seen_in_chunk(p, chunk)) for p in positions)
        assert pairs == pairs_in_chunks(new, context, chunk) == triangles(context) - triangles(context - new)
        read = {key for p in positions for key in seen_in_chunk(p, chunk)}
        assert len(read) == tokens_of_chunks(new, context, chunk) == context - (context - new) // chunk * chunk


def test_one_token_sees_half_a_chunk_on_the_mean() -> None:
    """(w + 1)/2 over a chunk of decode steps, and at least one token wherever it stands."""
    steps = [pairs_in_chunks(1, context, 64) for context in range(1, 64 * 9 + 1)]
    assert sum(steps) / len(steps) == 65 / 2
    assert min(steps) == 1
    assert max(steps) == 64 == tokens_kept(10**6, 64)


@pytest.mark.parametrize("selected", [1, 2, 3, 7, 30])
def test_selected_pairs_match_counting_query_by_query(selected: int) -> None:
    """(3s): each query takes the best of what it sees; together they read between one selection and all of theirs."""
    for new, context in PASSES:
        taken = [min(p, selected) for p in range(context - new + 1, context + 1)]
        assert pairs_seen(new, context, selected) == sum(taken)
        apart, together = (tokens_of_selections(new, context, selected, shared) for shared in (False, True))
        assert together == max(taken)
        assert apart == min(context, new * selected)
        assert together <= apart <= context


CUBE = {"mesh": int(Topology.TORUS), "axis_x": 4, "axis_y": 4, "axis_z": 4, "domain": 64, "up_bytes_per_s": 6.0}


@pytest.mark.parametrize(
    ("n", "sides", "up", "hops", "exchange"),
    [
        (2, [2, 1, 1], 1.0, 1, 1.0),
        (3, [2, 2, 1], 2.0, 2, 1.5),
        (8, [2, 2, 2], 3.0, 3, 1.75),
        (16, [4, 2, 2], 4.0, 4, 1.875),
        (33, [4, 4, 4], 6.0, 6, 1.96875),
        (64, [4, 4, 4], 6.0, 6, 1.96875),
    ],
)
def test_boxes_of_a_cube(n: int, sides: list[int], up: float, hops: int, exchange: float) -> None:
    """Six links of 1 B/s: a side of 2 uses one of an axis, one of 4 closes its ring and uses both."""
    assert box(CUBE, n) == sides
    assert torus_up_rate(CUBE, n) == pytest.approx(up)
    assert torus_hops(CUBE, n) == hops
    assert torus_exchange_rate(CUBE, n) == pytest.approx(exchange)


def test_sides_that_do_not_double_close_in_one_step() -> None:
    """A torus of 5 x 3 x 2: what cannot double takes its whole axis."""
    odd = CUBE | {"axis_x": 5, "axis_y": 3, "axis_z": 2, "domain": 30}
    sides = {n: box(odd, n) for n in (2, 4, 8, 12, 16, 17, 25, 30)}
    assert sides[2] == [2, 1, 1]
    assert sides[4] == [2, 2, 1]
    assert sides[8] == [2, 2, 2]
    assert sides[12] == sides[16] == [4, 2, 2]
    assert sides[17] == [4, 3, 2]
    assert sides[25] == sides[30] == [5, 3, 2]


@pytest.mark.parametrize("extents", [(16, 1, 1), (4, 4, 1), (4, 3, 2), (3, 3, 3), (2, 2, 2), (8, 4, 4)])
def test_every_group_has_a_box_that_holds_it(extents: tuple[int, int, int]) -> None:
    """Never less than n, never beyond an axis; the farthest two are as far apart as a walk along the links."""
    torus = CUBE | dict(zip(("axis_x", "axis_y", "axis_z"), extents, strict=True))
    torus["domain"] = extents[0] * extents[1] * extents[2]
    for n in range(2, torus["domain"] + 1):
        sides = box(torus, n)
        assert sides[0] * sides[1] * sides[2] >= n
        assert all(side <= extent for side, extent in zip(sides, extents, strict=True))

        def apart(a: int, b: int, side: int, extent: int) -> int:
            straight = abs(a - b)
            return min(straight, extent - straight) if side == extent else straight

        corners = product(*(range(side) for side in sides))
        far = max(
            sum(apart(0, at, side, extent) for at, side, extent in zip(corner, sides, extents, strict=True))
            for corner in corners
        )
        assert torus_hops(torus, n) == far
