"""The same cell has the same bits whatever runs beside it: threads, order, what else is asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.kernels.outputs import Var
from roofline.testing import invariants as law
from roofline.testing.records import Setup
from roofline.testing.runs import run_decode, run_prefill
from roofline.testing.strategies import ascending, batches, contexts, setups, wild_setups

Reach = Callable[[str], None]
BATCHES, CONTEXTS = ascending(batches()), ascending(contexts())
SHORT = contexts(1 << 15)


@pytest.mark.reaches("threads")
@given(st.lists(wild_setups(), min_size=1, max_size=4), BATCHES, CONTEXTS)
def test_threads_change_no_bits(reach: Reach, of: list[Setup], batch: list[int], context: list[int]) -> None:
    law.threads_change_no_bits(of, batch, context)
    reach("threads")


@pytest.mark.reaches("prompts")
@given(st.lists(wild_setups(), min_size=1, max_size=3), ascending(batches(64)), ascending(SHORT), st.booleans())
def test_threads_change_no_bits_of_prompts(
    reach: Reach, of: list[Setup], batch: list[int], lengths: list[int], chunked: bool
) -> None:
    chunk = lengths[-1] // 5 + 1 if chunked else 1 << 40
    serial = run_prefill(of, batch, lengths, 0, chunk)
    law.same_bits("threads", serial, run_prefill(of, batch, lengths, 0, chunk, parallel=True))
    reach("prompts")


@pytest.mark.reaches("order")
@given(st.lists(wild_setups(), min_size=1, max_size=4), BATCHES, CONTEXTS)
def test_order_changes_no_bits(reach: Reach, of: list[Setup], batch: list[int], context: list[int]) -> None:
    law.order_changes_no_bits(of, batch, context)
    reach("order")


@pytest.mark.reaches("subset")
@given(setups(), BATCHES, CONTEXTS, st.sets(st.sampled_from(list(Var)), min_size=1))
def test_what_is_asked_for_changes_no_bits(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], want: set[Var]
) -> None:
    whole, some = run_decode(setup, batch, context), run_decode(setup, batch, context, want=sorted(want))
    assert set(want) <= set(some.values)
    for name, values in some.values.items():
        assert values.tobytes() == whole.values[name].tobytes()
    reach("subset")
