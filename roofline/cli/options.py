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
