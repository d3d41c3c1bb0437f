"""Kernels on setups: what laws are checked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofline.kernels.mixed import mixed_grid
from roofline.kernels.outputs import VARIABLES, Var
from roofline.kernels.prefill import prefill_grid
from roofline.kernels.sweep import decode_grid
from roofline.layout import Component
from roofline.testing.records import Array, Records, Setup, pack

EVERYTHING = tuple(range(VARIABLES))
"""Every variable number a kernel can write."""


@dataclass(frozen=True)
class Run:
    """Results of a kernel, [config, batch, context] (prefill: [config, batch, isl]).

    values : {variable number: float64[...]}, NaN where `limit` is not 0.   limit, bound : int8[...].
    """

    values: dict[int, Array]
    limit: Array
    bound: Array

    def __getitem__(self, variable: int) -> Array:
        return self.values[int(variable)]

    @property
    def step(self) -> Array:
        """Time of the decode step, or of the whole prompt [s]."""
        return self[Var.STEP]

    def component(self, component: Component) -> Array:
        """Seconds spent in one component."""
        return self[int(Var.COMPONENT) + int(component)]

    @property
    def ran(self) -> Array:
        """Cells that have a value."""
        result: Array = self.limit == 0
        return result


def _records(of: Records | Setup | Sequence[Setup]) -> Records:
    if isinstance(of, Records):
        return of
    return pack([of] if isinstance(of, Setup) else of)


def _batches(batches: Sequence[int] | Array, configs: int) -> Array:
    """int64[config, batch]: one row for each config, repeated where one row is given."""
    grid = np.atleast_2d(np.asarray(batches, dtype=np.int64))
    return np.ascontiguousarray(np.broadcast_to(grid, (configs, grid.shape[1])))


def run_decode(
    of: Records | Setup | Sequence[Setup],
    batches: Sequence[int] | Array,
    contexts: Sequence[int],
    new_tokens: int = 1,
    want: Sequence[int] = EVERYTHING,
    parallel: bool = False,
    drafts: int = 0,
    tokens_per_step: float | None = None,
) -> Run:
    """Decode of every setup at every batch and context.

    new_tokens : in the pass of each sequence.   drafts : passes of the draft module in a step, 0 without speculation.
    tokens_per_step : tau, what rates and energy count of a sequence's step; all `new_tokens` where not given.
    """
    records = _records(of)
    out = decode_grid(
        *records.arguments(),
        batch=_batches(batches, records.configs.size),
        context=np.asarray(contexts, dtype=np.int64),
        new_tokens=new_tokens,
        drafts=drafts,
        tokens_per_step=tokens_per_step,
        want=want,
        parallel=parallel,
    )
    return Run(out["values"], out["limit"], out["bound"])


def run_prefill(
    of: Records | Setup | Sequence[Setup],
    batches: Sequence[int] | Array,
    lengths: Sequence[int],
    cached: int = 0,
    chunk: int = 1 << 40,
    want: Sequence[int] = EVERYTHING,
    parallel: bool = False,
) -> Run:
    """Prefill of every setup at every batch and prompt length [tokens]; `cached` of each are there already."""
    records = _records(of)
    out = prefill_grid(
        *records.arguments(),
        batch=_batches(batches, records.configs.size),
        isl=np.asarray(lengths, dtype=np.int64),
        cached=cached,
        chunk=chunk,
        want=want,
        parallel=parallel,
    )
    return Run(out["values"], out["limit"], out["bound"])


@dataclass(frozen=True)
class MixedRun:
    """Steps with a chunk of a prompt beside the decoding sequences, [config, batch, context, chunk context].

    step, peak, moved : s, s at dense peak and B of the micro-batch with the chunk; NaN where `limit` is not 0.
    decode : the step without the chunk [s], [config, batch, context].   limit : int8[...].
    """

    step: Array
    decode: Array
    peak: Array
    moved: Array
    limit: Array

    @property
    def ran(self) -> Array:
        """Cells that have a value."""
        result: Array = self.limit == 0
        return result


def run_mixed(
    of: Records | Setup | Sequence[Setup],
    batches: Sequence[int] | Array,
    contexts: Sequence[int],
    chunk: int,
    chunk_contexts: Sequence[int],
    new_tokens: int = 1,
    parallel: bool = False,
) -> MixedRun:
    """Mixed steps of every setup. chunk : tokens of the prompt computed.   chunk_contexts : from `chunk` up."""
    records = _records(of)
    out = mixed_grid(
        *records.arguments(),
        batch=_batches(batches, records.configs.size),
        context=np.asarray(contexts, dtype=np.int64),
        new_tokens=new_tokens,
        chunk=chunk,
        chunk_context=np.asarray(chunk_contexts, dtype=np.int64),
        parallel=parallel,
    )
    return MixedRun(out["step"], out["decode"], out["peak"], out["moved"], out["limit"])
