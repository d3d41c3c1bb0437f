"""The same physics as scalar Python: what a cell costs without compilation."""

from __future__ import annotations

import numpy as np

from bench.record import Row, Task, rates
from bench.shapes import Shape, blocks
from tests.oracle import decode, plain_case


def oracle_row(shape: Shape, cells: int, repeats: int) -> Row:
    """Cells/s of the test suite's oracle, over cells drawn from the sweep. It keeps every operation, not just sums."""
    draw = np.random.default_rng(1)
    pieces = blocks(shape, "kernel")
    drawn = []
    for number in range(cells):
        piece = pieces[number % len(pieces)]
        i = int(draw.integers(piece.batch.shape[0]))
        case = plain_case(*piece.records[:-1], piece.records[-1][i])
        drawn.append((*case, int(draw.choice(piece.batch[i])), int(draw.choice(piece.context))))

    def run() -> int:
        for case in drawn:
            decode(*case)
        return len(drawn)

    row = Row(
        "plain Python oracle, decode", "1 thread", "cells/s", parameters=shape.parameters("kernel") | {"cells": cells}
    )
    return rates([Task(row, run)], repeats)[0]
