"""`roofline feasibility`: which model runs on which system, and on how few accelerators."""

from __future__ import annotations

from typing import Annotated

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, whole_numbers
from roofline.errors import InputError

SHOWN = {
    "model": "model",
    "system": "system",
    "accelerators": "accelerators",
    "deployment": "deployment",
    "recipe": "recipe",
}


def feasibility(
    models: Annotated[str | None, typer.Option("--model", metavar="NAME[,...]", help="Models; default all.")] = None,
    systems: Annotated[str | None, typer.Option("--system", metavar="NAME[,...]", help="Systems; default all.")] = None,
    recipe: opt.Recipes = None,
    context: Annotated[str, typer.Option("--context", metavar="N", help="Context length in tokens.")] = "8k",
    fidelity: opt.FidelityOption = opt.Fidelity.KERNEL,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Fewest accelerators that decode one sequence, for every model and system; why not, where none do.

    --out x.png draws them as one table in colour.
    """
    from roofline.cli.evaluate import table_document
    from roofline.cli.output import print_json, print_table, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.feasibility import feasibility_picture
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.report.tables import Table, table

    if out is not None:
        suffix_of(out)
        check_writable(out)
    lengths = whole_numbers(context, "--context")
    if len(lengths) != 1:
        raise InputError(f"--context {context}: feasibility takes one value")
    with sheets_of(specs), waiting("reading sheets (the first run compiles the kernels)") as say:
        import roofline as rl

        ds = rl.feasibility(
            None if models is None else names(models, "model"),
            None if systems is None else names(systems, "system"),
            recipes=None if recipe is None else names(recipe, "recipe"),
            context=lengths[0],
            fidelity=fidelity.value,
            progress=lambda done, of: say(f"evaluating: {done} of {of} pairs of model and system"),
        )
        if out is not None:
            save(ds, out, draw=feasibility_picture)
    rows = table(ds)
    if as_json:
        print_json(table_document("feasibility", rows, out))
        return
    runs = int(ds["accelerators"].notnull().sum())
    footer = "" if out is None else f"written to {out}"
    shown = Table(tuple(column for column in rows.columns if column.name in {*SHOWN, "limit"}), rows.attrs)
    title = f"{runs} of {ds['accelerators'].size} pairs run at context {lengths[0]}"
    print_table(shown, title=title, footer=footer, headers=SHOWN, importance=[*SHOWN])
