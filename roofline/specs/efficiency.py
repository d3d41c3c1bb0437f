"""Sheets of efficiency: what kernels and collectives reach of an accelerator's peaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from roofline.specs import quantity as q
from roofline.specs.formats import Format
from roofline.specs.records import Frozen, FrozenMap, Record, Sheet, Source

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


_AS_ON_THE_H100 = Source(ref="rule where a sheet gives none: about what was measured on the H100", grade="estimated")


class LinearAttentionEfficiency(OperationEfficiency):
    """Equation (1) for the recurrence or chunked scan of Mamba-2 and gated delta nets."""

    default_sources: ClassVar[Mapping[str, Source]] = dict.fromkeys(
        ("eta_compute", "eta_memory", "fixed_s"), _AS_ON_THE_H100
    )

    eta_compute: Eta = 0.15
    eta_memory: Eta = 0.85
    fixed_s: Annotated[q.Seconds, Field(description="time at no work, of the whole recurrence or scan [s]")] = 6e-6


class IndexEfficiency(OperationEfficiency):
    """Equation (1) for the scoring of all tokens by the indexer of sparse attention."""

    default_sources: ClassVar[Mapping[str, Source]] = dict.fromkeys(
        ("eta_compute", "eta_memory", "fixed_s"), _AS_ON_THE_H100
    )

    eta_compute: Eta = 0.45
    eta_memory: Eta = 0.9
    fixed_s: Annotated[q.Seconds, Field(description="time at no work [s]")] = 4e-6


class TopKEfficiency(Record):
    """Selection of the tokens that sparse attention reads."""

    default_sources: ClassVar[Mapping[str, Source]] = dict.fromkeys(("eta_memory", "fixed_s"), _AS_ON_THE_H100)

    eta_memory: Eta = 0.2
    fixed_s: Annotated[q.Seconds, Field(description="time at no work [s]")] = 10e-6


ByFormat = Annotated[dict[Format, OperationEfficiency], Frozen, Field(min_length=1)]


class Operations(Record):
    """What each kind of operation reaches."""

    default_sources: ClassVar[Mapping[str, Source]] = {
        "linear_attention": _AS_ON_THE_H100,
        "index": _AS_ON_THE_H100,
        "top_k": _AS_ON_THE_H100,
    }

    gemm: Annotated[ByFormat, Field(description="by format; int4 and int8 are weight-only under wider activations")]
    experts: Annotated[ByFormat, Field(description="by format; fixed_s is the block from gate to finalize")]
    decode_attention: Annotated[ByFormat, Field(description="by KV cache format")]
    context_attention: Annotated[ByFormat, Field(description="by format of the attention arithmetic")]
    elementwise: ElementwiseEfficiency
    permute: PermuteEfficiency
    linear_attention: Annotated[
        LinearAttentionEfficiency, Field(description="recurrence or chunked scan of linear attention and Mamba-2")
    ] = LinearAttentionEfficiency()
    index: Annotated[IndexEfficiency, Field(description="scoring of all tokens by the indexer of sparse attention")] = (
        IndexEfficiency()
    )
    top_k: Annotated[TopKEfficiency, Field(description="selection of the tokens that sparse attention reads")] = (
        TopKEfficiency()
    )


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
    experts_tile_rows: Annotated[
        dict[Format, q.Count],
        Frozen,
        Field(
            default_factory=FrozenMap,
            description="by format of the experts' weights: rows of a tile of their kernels, all of which draw power; "
            "of the draw alone, not of times; 1 where none is given",
        ),
    ]
    runtime: Runtime
