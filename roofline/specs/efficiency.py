"""Sheets of efficiency: what kernels and collectives reach of an accelerator's peaks."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from roofline.specs import quantity as q
from roofline.specs.formats import Format
from roofline.specs.records import Frozen, Record, Sheet, Source

Eta = Annotated[q.Share, Field(description="achieved share of the peak, at most 1")]


class OperationEfficiency(Record):
    """Equation (1) for one operation in one format."""

    eta_compute: Eta
    eta_memory: Eta
    fixed_s: Annotated[q.Seconds, Field(description="time at no work, inside a CUDA graph or its like [s]")]
    source: Annotated[Source | None, Field(description="of these three numbers, where they have their own")] = None


class ElementwiseEfficiency(Record):
    """Element-wise kernels: norms, rotary, activation, residual."""

    eta_memory: Eta
    fixed_s: Annotated[q.Seconds, Field(description="per kernel [s]")]


class PermuteEfficiency(Record):
    """Gathering and scattering tokens around the experts."""

    eta_memory: Eta


ByFormat = Annotated[dict[Format, OperationEfficiency], Frozen, Field(min_length=1)]


class Operations(Record):
    """What each kind of operation reaches."""

    gemm: Annotated[ByFormat, Field(description="by format; int4 and int8 are weight-only under wider activations")]
    experts: Annotated[ByFormat, Field(description="by format; fixed_s is the block from gate to finalize")]
    decode_attention: Annotated[ByFormat, Field(description="by KV cache format")]
    context_attention: Annotated[ByFormat, Field(description="by format of the attention arithmetic")]
    elementwise: ElementwiseEfficiency
    permute: PermuteEfficiency


class Collectives(Record):
    """Constants of the collective library, equations (10) to (14)."""

    one_shot_s: Annotated[q.Seconds, Field(description="one-shot all-reduce [s]")]
    two_shot_s: Annotated[q.Seconds, Field(description="two-shot or in-switch all-reduce [s]")]
    gather_s: Annotated[q.Seconds, Field(description="all-gather or reduce-scatter [s]")]
    exchange_s: Annotated[q.Seconds, Field(description="one expert all-to-all [s]")]
    p2p_s: Annotated[q.Seconds, Field(description="send to the next pipeline stage [s]")]
    out_s: Annotated[q.Seconds, Field(description="added where a collective crosses scale-out [s]")]
    eta_reduce: Eta
    eta_gather: Eta
    eta_exchange: Eta
    eta_p2p: Eta
    eta_out: Eta


class Runtime(Record):
    """What a serving process may use of the memory."""

    memory_fraction: Annotated[q.Share, Field(description="share of memory the process may use")]
    reserve_bytes: Annotated[q.ReserveBytes, Field(description="taken by context, graphs and buffers out of that [B]")]


class Efficiency(Sheet):
    """Measured (or estimated) efficiencies of a family of accelerators."""

    kind_of_sheet: ClassVar[str] = "efficiency"

    accelerators: Annotated[tuple[str, ...], Field(description="ids of the accelerators it was measured on")] = ()
    operations: Operations
    collectives: Collectives
    experts_skew: Annotated[q.Skew, Field(description="load of the fullest expert rank over its expectation")]
    runtime: Runtime
