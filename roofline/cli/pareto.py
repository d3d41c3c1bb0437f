"""`roofline pareto`: throughput against interactivity, all deployments that no other beats in both."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, shares, whole_numbers
from roofline.errors import InputError

MOST = 12
"""Points of one line that a table for people shows."""


def pareto(
    models: opt.Models,
    systems: opt.Systems,
    recipe: opt.Recipes = None,
    workload: opt.OneWorkload = "1k/1k",
    spread: opt.Spread = None,
    cached: opt.Cached = None,
    duty: opt.Duty = None,
    ttft: opt.Ttft = None,
    tpot: opt.Tpot = None,
    latency: opt.Latency = None,
    percentile: opt.Percentile = None,
    slo: opt.OneSlo = None,
    against: Annotated[
        opt.Against, typer.Option("--against", help="What tokens/s of one user are set against.")
    ] = opt.Against.TOKENS_PER_S_PER_GPU,
    mode: Annotated[
        list[opt.UnitMode] | None,
        typer.Option("--mode", help="How requests are served; repeat for more; default aggregated, disaggregated."),
    ] = None,
    max_accelerators: opt.MostAccelerators = None,
    acceptance: opt.TriedDrafts = None,
    chunk: opt.TriedChunks = None,
    stack: opt.StackOption = "default",
    boundary: opt.BoundaryOption = opt.Boundary.FACILITY,
    basis: opt.BasisOption = opt.Basis.METERED,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Throughput against tokens/s of one user: every deployment that no other beats in both.

    --out x.png draws one line a system, and the limit of TPOT.
    """
    from roofline.cli import asked
    from roofline.cli.choices import show
    from roofline.cli.evaluate import table_document
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.report.frontier import frontier_picture
    from roofline.report.tables import table

    if out is not None:
        suffix_of(out)
        check_writable(out)
    if slo is not None and len(slo) > 1:
        raise InputError("--slo: given more than once; a frontier is of one")
    given: dict[str, Any] = {} if not mode else {"modes": [one.value for one in mode]}
    given |= {} if acceptance is None else {"acceptance": shares(acceptance, "--acceptance")}
    given |= {} if chunk is None else {"chunk": whole_numbers(chunk, "--chunk")}
    with sheets_of(specs), waiting("searching (the first run compiles the kernels)") as say:
        import roofline as rl

        ds = rl.pareto(
            names(models, "model"),
            names(systems, "system"),
            None if recipe is None else names(recipe, "recipe"),
            workload=asked.workloads([workload], spread, cached, duty)[0],
            slo=asked.slos(ttft, tpot, latency, percentile, slo)[0],
            against=against.value,
            **given,
            most_accelerators=max_accelerators,
            stack=stack,
            boundary=boundary.value,
            basis=basis.value,
            progress=lambda done, of: say(f"searching: {done} of {of} pairs of model and system"),
        )
        if out is not None:
            save(ds, out, draw=frontier_picture)
    rows = table(ds)
    if as_json:
        print_json(table_document("pareto", rows, out))
        return
    without = [line for line in str(ds.attrs["without"]).split("; ") if line]
    show(ds, rows, out, most=MOST, said=without)
