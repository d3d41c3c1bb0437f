"""Options that several commands share, with one wording each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

NUMBERS = "1,16,64 | 1:8 | 16:64:16 | 1:256:x2 | 8k"


class Fidelity(StrEnum):
    """What is modelled."""

    IDEAL = "ideal"
    KERNEL = "kernel"


class Boundary(StrEnum):
    """Where energy is counted."""

    ACCELERATOR = "accelerator"
    RACK = "rack"
    FACILITY = "facility"


class Objective(StrEnum):
    """What is best."""

    TOKENS_PER_MWH = "tokens_per_mwh"
    JOULES_PER_TOKEN = "joules_per_token"
    TOKENS_PER_S_PER_GPU = "tokens_per_s_per_gpu"
    MIN_GPUS = "min_gpus"


class Mode(StrEnum):
    """How requests are served."""

    AGGREGATED = "aggregated"
    STATIC = "static"
    DISAGGREGATED = "disaggregated"
    ATTENTION_FFN = "attention_ffn"


class Against(StrEnum):
    """What interactivity is set against."""

    TOKENS_PER_S_PER_GPU = "tokens_per_s_per_gpu"
    TOTAL_TOKENS_PER_S_PER_GPU = "total_tokens_per_s_per_gpu"
    TOKENS_PER_S_PER_MW = "tokens_per_s_per_mw"
    TOKENS_PER_MWH = "tokens_per_mwh"


class UnitMode(StrEnum):
    """How requests are served, of modes that frontiers are made of."""

    AGGREGATED = "aggregated"
    STATIC = "static"
    DISAGGREGATED = "disaggregated"


class Basis(StrEnum):
    """Modelled draw, or the power a site sets aside."""

    METERED = "metered"
    PROVISIONED = "provisioned"


Models = Annotated[str, typer.Argument(metavar="MODEL[,...]", help="Models: names, paths of sheets, or a config.json.")]
Systems = Annotated[
    str, typer.Argument(metavar="SYSTEM[,...]", help="Systems or accelerators: names or paths of sheets.")
]
Recipes = Annotated[
    str | None, typer.Option("--recipe", metavar="NAME[,...]", help="Recipes; default those the model ships in.")
]
Tp = Annotated[str, typer.Option("--tp", metavar="N[,...]", help="Tensor-parallel degrees.")]
Pp = Annotated[str, typer.Option("--pp", metavar="N[,...]", help="Pipeline stages.")]
Dp = Annotated[str, typer.Option("--dp", metavar="N[,...]", help="Data-parallel attention ranks of one replica.")]
Ep = Annotated[
    str | None,
    typer.Option("--ep", metavar="N[,...]", help="Expert-parallel degrees; default 1: each expert is sliced tp*dp."),
]
MoeTp = Annotated[
    str | None,
    typer.Option("--moe-tp", metavar="N[,...]", help="Tensor-parallel degrees inside an expert; default tp*dp/ep."),
]
Batch = Annotated[str, typer.Option("--batch", metavar="N[,...]", help=f"Sequences in flight per replica: {NUMBERS}.")]
Context = Annotated[str, typer.Option("--context", metavar="N[,...]", help=f"Context length in tokens: {NUMBERS}.")]
FidelityOption = Annotated[
    Fidelity, typer.Option("--fidelity", help="ideal: a lower bound; kernel: efficiencies of measured kernels.")
]
BoundaryOption = Annotated[Boundary, typer.Option("--boundary", help="Where energy is counted.")]
BasisOption = Annotated[
    Basis, typer.Option("--basis", help="metered: modelled draw; provisioned: power set aside per accelerator.")
]
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload",
        metavar="W",
        help="Lengths: ISL/OSL such as 8k/1k, a preset, or a CSV of isl, osl; repeat for more; default 1k/1k.",
    ),
]
OneWorkload = Annotated[
    str, typer.Option("--workload", metavar="W", help="Lengths: ISL/OSL such as 8k/1k, a preset, or a CSV of isl, osl.")
]
Spread = Annotated[
    float | None,
    typer.Option("--spread", min=0.0, help="Coefficient of variation of both lengths, lognormal; default all equal."),
]
Cached = Annotated[int | None, typer.Option("--cached", min=0, help="Prompt tokens that are in the prefix cache.")]
Duty = Annotated[
    float | None, typer.Option("--duty", min=0.0, help="Share of the time in which work is offered; default all of it.")
]
Ttft = Annotated[
    str | None, typer.Option("--ttft", metavar="S", help="Limit on the time to first token: seconds, or 200ms.")
]
Tpot = Annotated[
    str | None, typer.Option("--tpot", metavar="S", help="Limit on the time per output token: seconds, or 20ms.")
]
Latency = Annotated[
    str | None, typer.Option("--latency", metavar="S", help="Limit on the time to the last token: seconds.")
]
Percentile = Annotated[
    str | None,
    typer.Option("--percentile", metavar="P", help="Percentile of the limits, or ttft=99,tpot=90; default 50."),
]
Slos = Annotated[
    list[str] | None,
    typer.Option(
        "--slo", metavar="SLO", help="Instead: all limits in one, ttft=2,tpot=20ms,percentile=99; repeat for more."
    ),
]
OneSlo = Annotated[
    list[str] | None,
    typer.Option("--slo", metavar="SLO", help="Instead: all limits in one, ttft=2,tpot=20ms,percentile=99."),
]
ObjectiveOption = Annotated[Objective, typer.Option("--objective", help="What is best; min_gpus needs --rate.")]
Modes = Annotated[
    list[Mode] | None, typer.Option("--mode", help="How requests are served; repeat for more; default any.")
]
PrefillSystems = Annotated[
    str | None,
    typer.Option(
        "--prefill-system", metavar="NAME[,...]", help="Systems that may compute prompts, beside the system itself."
    ),
]
FfnSystems = Annotated[
    str | None,
    typer.Option(
        "--ffn-system", metavar="NAME[,...]", help="Systems that may run feed-forwards, with attention on the system."
    ),
]
MostAccelerators = Annotated[
    int | None,
    typer.Option("--max-accelerators", min=1, help="Most accelerators of one unit; default what a system can join."),
]
Rate = Annotated[
    float | None, typer.Option("--rate", min=0.0, help="Requests a second: how many accelerators a load takes.")
]
StackOption = Annotated[str, typer.Option("--stack", metavar="NAME", help="Serving stack: name or path of a sheet.")]
TriedChunks = Annotated[
    str | None,
    typer.Option("--chunk", metavar="N[,...]", help="Prompt tokens of a step to try; default 512,2048,8192."),
]
TriedDrafts = Annotated[
    str | None,
    typer.Option(
        "--acceptance",
        metavar="A[,...]",
        help="Chance that the draft at each position is kept, e.g. 0.8,0.6: the model's own drafts are then tried.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON (schemas: docs/schema) instead of a table.")]
Drafts = Annotated[
    int, typer.Option("--drafts", min=0, help="Tokens drafted by the model's MTP layers and checked in the same step.")
]
Acceptance = Annotated[
    str | None,
    typer.Option(
        "--acceptance",
        metavar="A[,...]",
        help="Chance that a draft is kept, given that those before it were, e.g. 0.8,0.6; one value stands for all.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write the result too: .csv .parquet .nc .zarr .png .svg .pdf, by suffix."
    ),
]
FlatOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the result too: .csv .parquet .png .svg .pdf, by suffix."),
]
"""`Out` of a result that is one list of operations: there are no arrays to write."""
Specs = Annotated[
    Path | None,
    typer.Option("--specs", metavar="DIR", help="A folder of your own sheets; they go before built-in ones."),
]
PriceSheet = Annotated[
    str | None, typer.Option("--prices", metavar="NAME", help="Prices of accelerators: name or path of a sheet.")
]
Tier = Annotated[
    str | None, typer.Option("--tier", metavar="NAME", help="Kind of buyer: hyperscaler, neocloud, rental-3yr.")
]
VintageOption = Annotated[
    str | None,
    typer.Option("--vintage", metavar="NAME", help="All-in watts per accelerator of a vintage; --basis provisioned."),
]
