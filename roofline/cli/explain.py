"""`roofline explain`: one pass, operation by operation, and the classic roofline of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roofline.cli import options as opt

if TYPE_CHECKING:
    pass


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model: name, or path of a sheet or config.json.")],
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="A system or accelerator: name or path of a sheet.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help="Default: the first the model ships in.")
    ] = None,
    tp: Annotated[int, typer.Option("--tp", min=1, help="Tensor-parallel degree.")] = 1,
    pp: Annotated[int, typer.Option("--pp", min=1, help="Pipeline stages.")] = 1,
    dp: Annotated[int, typer.Option("--dp", min=1, help="Data-parallel attention ranks.")] = 1,
    ep: Annotated[int | None, typer.Option("--ep", min=1, help="Expert-parallel degree.")] = None,
    moe_tp: Annotated[
        int | None, typer.Option("--moe-tp", min=1, help="Tensor-parallel degree inside an expert.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Sequences in flight per replica.")] = 1,
    context: Annotated[
        str, typer.Option("--context", metavar="N", help="Context length in tokens; 8k is 8192.")
    ] = "2k",
    fidelity: opt.FidelityOption = opt.Fidelity.KERNEL,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """One decode step operation by operation: FLOP, bytes, intensity, time, what binds, and which number came from where."""
