"""The same cell has the same bits whatever runs beside it: threads, order, what else is asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.kernels.outputs import Var
from roofline.testing import invariants as law
from roofline.testing.records import Setup
from roofline.testing.runs import EVERYTHING, run_decode, run_prefill
from roofline.testing.strategies import ascending, batches, contexts, setups, wild_setups

Reach = Callable[[str], None]
BATCHES, CONTEXTS = ascending(batches()), ascending(contexts(shortest=3))
DRAFTS = st.sampled_from([0, 2])
SHORT = contexts(1 << 15)


def drafting(of: list[Setup], drafts: int) -> bool:
    return drafts > 0 and any(setup.model["draft_rows"] for setup in of)


@pytest.mark.reaches("threads", "drafts")
@given(st.lists(wild_setups(), min_size=1, max_size=4), BATCHES, CONTEXTS, DRAFTS)
def test_threads_change_no_bits(
    reach: Reach, of: list[Setup], batch: list[int], context: list[int], drafts: int
) -> None:
    law.threads_change_no_bits(of, batch, context, drafts + 1, drafts)
    reach("drafts" if drafting(of, drafts) else "threads")


@pytest.mark.reaches("prompts")
@given(st.lists(wild_setups(), min_size=1, max_size=3), ascending(batches(64)), ascending(SHORT), st.booleans())
def test_threads_change_no_bits_of_prompts(
    reach: Reach, of: list[Setup], batch: list[int], lengths: list[int], chunked: bool
) -> None:
    chunk = lengths[-1] // 5 + 1 if chunked else 1 << 40
    serial = run_prefill(of, batch, lengths, 0, chunk)
    law.same_bits("threads", serial, run_prefill(of, batch, lengths, 0, chunk, parallel=True))
    reach("prompts")


@pytest.mark.reaches("order", "drafts")
@given(st.lists(wild_setups(), min_size=1, max_size=4), BATCHES, CONTEXTS, DRAFTS)
def test_order_changes_no_bits(
    reach: Reach, of: list[Setup], batch: list[int], context: list[int], drafts: int
) -> None:
    law.order_changes_no_bits(of, batch, context, drafts + 1, drafts)
    reach("drafts" if drafting(of, drafts) else "order")


@pytest.mark.reaches("subset")
@given(setups(), BATCHES, CONTEXTS, DRAFTS, st.sets(st.sampled_from(list(Var)), min_size=1))
def test_what_is_asked_for_changes_no_bits(
    reach: Reach, setup: Setup, batch: list[int], context: list[int], drafts: int, want: set[Var]
) -> None:
    wanted = EVERYTHING, sorted(want)
    whole, some = (run_decode(setup, batch, context, drafts + 1, want=names, drafts=drafts) for names in wanted)
    assert set(want) <= set(some.values)
    for name, values in some.values.items():
        assert values.tobytes() == whole.values[name].tobytes()
    reach("subset")
