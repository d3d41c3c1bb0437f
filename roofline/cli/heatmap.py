"""`roofline heatmap`: the main job, with nothing to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, whole_numbers

DEFAULT = Path("roofline-heatmap.png")

SHOWN = {
    "model_name": "model",
    "system_name": "system",
    "tokens_per_mwh": "tokens/MWh",
    "joules_per_token_at_boundary": "energy/token",
    "batch_per_gpu": "batch/GPU",
    "context": "context",
    "recipe": "recipe",
    "deployment": "deployment",
    "accelerators": "GPUs",
    "tokens_per_s_per_user": "tok/s/user",
    "tokens_per_s_per_gpu": "tok/s/GPU",
}
"""What the table for people shows, in this order; JSON holds all figures."""

IMPORTANCE = (
    *("model_name", "system_name", "tokens_per_mwh", "deployment", "accelerators", "recipe", "batch_per_gpu"),
    *("context", "tokens_per_s_per_user", "joules_per_token_at_boundary", "tokens_per_s_per_gpu"),
)
"""Which columns a narrow terminal keeps, first those before."""


def heatmap(
    models: Annotated[str | None, typer.Option("--model", metavar="NAME[,...]", help="Models, one row each.")] = None,
    systems: Annotated[
        str | None, typer.Option("--system", metavar="NAME[,...]", help="Systems, one column each.")
    ] = None,
    recipe: opt.Recipes = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="N[,...]", help=f"Context length in tokens: {opt.NUMBERS}.")
    ] = None,
    batch_per_gpu: Annotated[
        str | None,
        typer.Option("--batch-per-gpu", metavar="N[,...]", help=f"Sequences in flight per accelerator: {opt.NUMBERS}."),
    ] = None,
    fidelity: opt.FidelityOption = opt.Fidelity.KERNEL,
    boundary: opt.BoundaryOption = opt.Boundary.FACILITY,
    basis: opt.BasisOption = opt.Basis.METERED,
    out: opt.Out = DEFAULT,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Output tokens per MWh over batch per GPU and context, model by system, as one picture and one table.

    Each cell takes the best deployment of those tried: powers of two up to what the system can join, tp within a
    scale-up domain, pp up to 8, dp only for models with experts, which are spread (ep = tp*dp) or sliced (ep = 1).
    """
    given = {
        "models": None if models is None else names(models, "model"),
        "systems": None if systems is None else names(systems, "system"),
        "recipes": None if recipe is None else names(recipe, "recipe"),
        "batch_per_gpu": None if batch_per_gpu is None else whole_numbers(batch_per_gpu, "--batch-per-gpu"),
        "context": None if context is None else whole_numbers(context, "--context"),
    }
    from roofline.cli.output import print_json, print_table, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, suffix_of

    out = out or DEFAULT
    suffix_of(out)
    check_writable(out)
    with sheets_of(specs), waiting("reading sheets (the first run compiles the kernels)") as say:
        from roofline.report import headline

        ds = headline.heatmap(
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
            fidelity=fidelity.value,
            boundary=boundary.value,
            basis=basis.value,
            out=out,
            progress=lambda done, of: say(f"evaluating: {done} of {of} pairs of model and system"),
        )
    rows = headline.best_cells(ds)
    if as_json:
        from roofline.cli.evaluate import table_document

        print_json(table_document("heatmap", rows, out))
        return
    from roofline.report.plots import basis_line
    from roofline.report.tables import Table

    title = "Most output tokens per MWh of decode, per model and system"
    shown = Table(tuple(rows[name] for name in SHOWN), rows.attrs)
    footer = f"{basis_line(rows.attrs)}\nevery cell: {out}"
    print_table(shown, title=title, footer=footer, headers=SHOWN, importance=IMPORTANCE)
