"""A pass operation by operation against the oracle: the same work, the same bytes, the same times."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest
from hypothesis import assume, given

from roofline.kernels.explain import trace_pass
from roofline.layout import Operation
from roofline.testing.records import pack
from roofline.testing.strategies import DecodeCell, PrefillCell, decode_cells, prefill_cells, setups
from tests.kernels.branches import PATIENT
from tests.oracle import decode, operations_of

OPERATION_OF = {
    "embedding": Operation.EMBEDDING,
    "qkv projection": Operation.PROJECT_IN,
    "first projection": Operation.PROJECT_IN,
    "query projection": Operation.PROJECT_QUERY,
    "absorb query": Operation.ABSORB_QUERY,
    "expand": Operation.EXPAND_CACHE,
    "core": Operation.CORE,
    "absorb value": Operation.ABSORB_VALUE,
    "output projection": Operation.PROJECT_OUT,
    "all-reduce after attention": Operation.REDUCE_ATTENTION,
    "ffn up": Operation.FFN_UP,
    "ffn down": Operation.FFN_DOWN,
    "all-reduce after ffn": Operation.REDUCE_FFN,
    "router": Operation.ROUTER,
    "shared up": Operation.SHARED_UP,
    "shared down": Operation.SHARED_DOWN,
    "dispatch": Operation.DISPATCH,
    "all-gather to experts": Operation.DISPATCH,
    "experts": Operation.EXPERTS,
    "permute": Operation.PERMUTE,
    "combine": Operation.COMBINE,
    "reduce-scatter from experts": Operation.COMBINE,
    "all-reduce after experts": Operation.REDUCE_EXPERTS,
    "all-reduce after shared experts": Operation.REDUCE_EXPERTS,
    "all-gather after experts": Operation.REDUCE_EXPERTS,
    "elementwise": Operation.ELEMENTWISE,
    "lm_head": Operation.LM_HEAD,
    "vocabulary gather": Operation.GATHER_LOGITS,
    "hand-over": Operation.HAND_OVER,
    "index query": Operation.INDEX_QUERY,
    "index key": Operation.INDEX_KEY,
    "index": Operation.INDEX,
    "top k": Operation.TOP_K,
    "input projection": Operation.PROJECT_IN,
    "scan": Operation.SCAN,
    "latent down": Operation.LATENT_DOWN,
    "latent up": Operation.LATENT_UP,
    "join draft": Operation.JOIN_DRAFT,
}
Figures = dict[tuple[int, Operation], tuple[float, float, float]]


def summed(entries: Iterable[tuple[int, Operation, float, float, float]]) -> Figures:
    """(FLOP, bytes, seconds) by kind of layer and operation, without those that cost nothing."""
    out: dict[tuple[int, Operation], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for kind, operation, *figures in entries:
        for i, figure in enumerate(figures):
            out[kind, operation][i] += figure
    return {key: (f[0], f[1], f[2]) for key, f in out.items() if any(f)}


def agree(cell: DecodeCell | PrefillCell, new_tokens: int, context: int, prompt: bool, drafts: int = 0) -> Figures:
    setup = cell.setup
    assert setup.kit is not None
    arguments = setup.model, setup.machine, setup.kit, setup.deployment
    listed = operations_of(*arguments, cell.batch, new_tokens, context, prompt, drafts)
    expected = summed((o["kind"], OPERATION_OF[o["name"]], o["flop"], o["bytes"], o["time"]) for o in listed)
    traced = trace_pass(*pack([setup]).arguments(), cell.batch, context, new_tokens, prompt, drafts)
    ours = summed((int(r[0]), Operation(int(r[1])), r[2], r[3], r[4] + max(r[5], r[6]) + r[7]) for r in traced)
    assert ours.keys() == expected.keys()
    for key, figures in expected.items():
        for mine, theirs in zip(ours[key], figures, strict=True):
            assert math.isclose(mine, theirs, rel_tol=1e-12), key
    return ours


def reach_all(reach: Callable[[str], None], traced: Figures) -> None:
    for _, operation in traced:
        reach(operation.name)


@pytest.mark.reaches(*(operation.name for operation in Operation))
@PATIENT
@given(decode_cells())
def test_decode_trace_agrees_with_the_oracle(reach: Callable[[str], None], cell: DecodeCell) -> None:
    arguments = cell.setup.model, cell.setup.machine, cell.setup.kit, cell.setup.deployment
    assume(not decode(*arguments, cell.batch, cell.context, cell.new_tokens, cell.drafts)["ties"])
    reach_all(reach, agree(cell, cell.new_tokens, cell.context, prompt=False, drafts=cell.drafts))


@pytest.mark.reaches(*(operation.name for operation in Operation if operation != Operation.JOIN_DRAFT))
@PATIENT
@given(prefill_cells(setups(fidelity="kernel")))
def test_prefill_trace_agrees_with_the_oracle(reach: Callable[[str], None], cell: PrefillCell) -> None:
    new_tokens = min(cell.chunk, cell.isl - cell.cached)
    reach_all(reach, agree(cell, new_tokens, cell.cached + new_tokens, prompt=True))
