"""`roofline serve`: requests under a load, on deployments that are given."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, shares, whole_numbers

SHOWN = {
    "ttft": "TTFT",
    "ttft_p99": "TTFT p99",
    "tpot": "TPOT",
    "tokens_per_s_per_user": "tok/s/user",
    "tokens_per_s_per_gpu": "tok/s/GPU",
    "batch": "batch",
    "power_at_boundary": "power/GPU",
    "joules_per_token_at_boundary": "energy/token",
    "tokens_per_mwh": "tokens/MWh",
    "load": "load",
    "limit": "limit",
}
"""What a table for people shows; files and JSON hold all of it."""


def serve(
    models: opt.Models,
    systems: opt.Systems,
    recipe: opt.Recipes = None,
    workload: Annotated[
        str,
        typer.Option("--workload", metavar="W", help="Lengths: ISL/OSL such as 8k/1k, a preset, or a CSV of isl, osl."),
    ] = "1k/1k",
    spread: Annotated[
        float | None,
        typer.Option(
            "--spread", min=0.0, help="Coefficient of variation of both lengths, lognormal; default all equal."
        ),
    ] = None,
    cached: Annotated[
        int | None, typer.Option("--cached", min=0, help="Prompt tokens that are in the prefix cache.")
    ] = None,
    concurrency: Annotated[
        str | None, typer.Option("--concurrency", metavar="N[,...]", help="A closed loop of so many clients a replica.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="R[,...]", help="Instead: requests a second to a replica.")
    ] = None,
    cv: Annotated[
        float | None,
        typer.Option("--cv", min=0.0, help="Coefficient of variation of the times between arrivals; 1: Poisson."),
    ] = None,
    tp: opt.Tp = "1",
    pp: opt.Pp = "1",
    dp: opt.Dp = "1",
    ep: opt.Ep = None,
    moe_tp: opt.MoeTp = None,
    chunk: Annotated[
        int, typer.Option("--chunk", min=1, help="Most prompt tokens in a step, on each of dp ranks.")
    ] = 2048,
    slots: Annotated[
        int | None,
        typer.Option("--slots", min=1, help="Most sequences of a replica, dp ranks share them; default: memory."),
    ] = None,
    stack: Annotated[
        str, typer.Option("--stack", metavar="NAME", help="Serving stack: name or path of a sheet.")
    ] = "default",
    boundary: opt.BoundaryOption = opt.Boundary.ACCELERATOR,
    basis: opt.BasisOption = opt.Basis.METERED,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Time to first token, time per token, throughput and energy of continuous batching under a load."""
    from roofline.cli.evaluate import show, table_document
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.bands import with_bands
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.report.tables import table

    if out is not None:
        suffix_of(out, (".csv", ".parquet", ".nc", ".zarr"))
        check_writable(out)
    given: dict[str, Any] = {
        "concurrency": None if concurrency is None else whole_numbers(concurrency, "--concurrency"),
        "rate": None if rate is None else shares(rate, "--rate"),
    }
    if concurrency is None and rate is None:
        given["concurrency"] = (1, 4, 16, 64, 256)
    with sheets_of(specs), waiting("evaluating (the first run compiles the kernels)"):
        import roofline as rl
        from roofline.serving import Workload

        changes: dict[str, Any] = {} if spread is None else {"isl_cv": spread, "osl_cv": spread}
        changes |= {} if cached is None else {"cached": cached}
        ds = rl.serve(
            names(models, "model"),
            names(systems, "system"),
            None if recipe is None else names(recipe, "recipe"),
            workload=Workload.of(workload, **changes),
            **given,
            cv=cv,
            tp=whole_numbers(tp, "--tp"),
            pp=whole_numbers(pp, "--pp"),
            dp=whole_numbers(dp, "--dp"),
            ep=None if ep is None else whole_numbers(ep, "--ep"),
            moe_tp=None if moe_tp is None else whole_numbers(moe_tp, "--moe-tp"),
            chunk=chunk,
            slots=slots,
            stack=stack,
        )
        ds = with_bands(rl.rollup(ds, boundary=boundary.value, basis=basis.value))
        if out is not None:
            save(ds, out)
    rows = table(ds)
    if as_json:
        print_json(table_document("serve", rows, out))
        return
    show(rows, ds, out, SHOWN)
