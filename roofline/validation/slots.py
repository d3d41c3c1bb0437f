"""Sequences that memory holds beside their chunks, for many configurations together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from roofline.serving.deployed import MOST_SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.validation.cells import Pass, Records

    Ints = NDArray[np.int64]


def slots_of(records: Records, config: Ints, reserved: Sequence[int], passes: Sequence[Pass]) -> tuple[Ints, Ints]:
    """Most sequences of one attention rank, and the `layout.Limit` where there is none. int64[rows] each.

    As `serving.deployed`: reserved tokens each, at most MOST_SLOTS, and room for a mixed step at that batch.
    """
    from roofline.kernels.capacity import largest_batches
    from roofline.kernels.sweep import decode_grid

    ranks = records.group("dp")[config]
    held, limit = np.zeros(config.size, dtype=np.int64), np.zeros(config.size, dtype=np.int64)
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (tokens, one) in enumerate(zip(reserved, passes, strict=True)):
        groups.setdefault((tokens, one.drafts), []).append(i)
    for (tokens, drafts), listed in groups.items():
        rows, context = np.array(listed), np.array([tokens])
        cell = records.cell(config[rows])
        held[rows] = largest_batches(*cell, context, 1 + drafts, drafts)[:, 0]
        alone = decode_grid(*cell, ranks[rows][:, None], context, 1 + drafts, drafts, with_bound=False)
        limit[rows] = np.where(held[rows] < ranks[rows], alone["limit"][:, 0, 0], 0)
    slots = np.where(limit == 0, np.minimum(held // ranks, MOST_SLOTS), 0)
    _leave_room(records, config, ranks, passes, slots, limit)
    return slots, limit


def _leave_room(records: Records, config: Ints, ranks: Ints, passes: Sequence[Pass], slots: Ints, limit: Ints) -> None:
    """Lower `slots` to the most beside which a chunk fits; by halving, as memory grows with the batch."""
    from roofline.kernels.mixed import mixed_grid

    groups: dict[Pass, list[int]] = {}
    for i, one in enumerate(passes):
        if slots[i] > 0 and one.chunk:
            groups.setdefault(one, []).append(i)
    for one, listed in groups.items():
        rows = np.array(listed)

        def code(batch: Ints, rows: Ints = rows, one: Pass = one) -> Ints:
            found = mixed_grid(
                *records.cell(config[rows]), (ranks[rows] * batch)[:, None], [one.context], 1 + one.drafts, one.chunk,
                np.array(one.ahead),
            )["limit"]  # fmt: skip
            return np.asarray(found[:, 0].max(axis=(1, 2)), dtype=np.int64)

        low, high = np.zeros(rows.size, dtype=np.int64), slots[rows]
        whole = code(high) == 0
        low[whole] = high[whole]
        while (low < high - 1).any():
            middle = np.maximum((low + high) // 2, 1)
            fits = code(middle) == 0
            narrow = low < high - 1
            low, high = np.where(narrow & fits, middle, low), np.where(narrow & ~fits, middle, high)
        none = low == 0
        if none.any():
            limit[rows[none]] = code(np.ones(rows.size, dtype=np.int64))[none]
        slots[rows] = low
