"""`roofline pairs`: many pairings of model and system evaluated at once, from a study or a list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, shares, whole_numbers
from roofline.errors import InputError

LABELS = ("model", "system", "asked_recipe", "workload", "slo")


def pairs(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A YAML file with models and systems, or pairs, and with workloads, slos, objective and so on; "
            "or a CSV of pairs with the columns model, system and perhaps recipe.",
        ),
    ] = None,
    models: Annotated[
        str | None, typer.Option("--model", "--models", metavar="NAME[,...]", help="Models, each with every system.")
    ] = None,
    systems: Annotated[str | None, typer.Option("--system", "--systems", metavar="NAME[,...]", help="Systems.")] = None,
    recipe: opt.Recipes = None,
    workload: Annotated[
        list[str] | None,
        typer.Option("--workload", metavar="W", help="Lengths: ISL/OSL, a preset, or a CSV; repeat for more."),
    ] = None,
    ttft: opt.Ttft = None,
    tpot: opt.Tpot = None,
    latency: opt.Latency = None,
    percentile: opt.Percentile = None,
    slo: opt.Slos = None,
    objective: Annotated[
        opt.Objective | None, typer.Option("--objective", help="What is best; default tokens_per_mwh.")
    ] = None,
    mode: opt.Modes = None,
    prefill_system: opt.PrefillSystems = None,
    ffn_system: opt.FfnSystems = None,
    max_accelerators: opt.MostAccelerators = None,
    acceptance: opt.TriedDrafts = None,
    rate: opt.Rate = None,
    chunk: opt.TriedChunks = None,
    stack: Annotated[
        str | None, typer.Option("--stack", metavar="NAME", help="Serving stack: name or path of a sheet.")
    ] = None,
    boundary: Annotated[
        opt.Boundary | None, typer.Option("--boundary", help="Where energy is counted; default facility.")
    ] = None,
    basis: Annotated[opt.Basis | None, typer.Option("--basis", help="metered (default) or provisioned.")] = None,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """The best deployment of each of many pairings of model and system. Options go before what the study says."""
    from roofline.cli import asked
    from roofline.cli.choices import show
    from roofline.cli.evaluate import table_document
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.report.tables import table

    if out is not None:
        suffix_of(out, (".csv", ".parquet", ".nc", ".zarr"))
        check_writable(out)
    if study is None and (models is None or systems is None):
        raise InputError("give a study, or --model and --system: roofline pairs STUDY.yaml")
    with sheets_of(specs), waiting("searching (the first run compiles the kernels)") as say:
        import roofline as rl

        limited = any(value is not None for value in (ttft, tpot, latency, percentile)) or slo
        over: dict[str, Any] = {
            "models": None if models is None else names(models, "model"),
            "systems": None if systems is None else names(systems, "system"),
            "recipes": None if recipe is None else names(recipe, "recipe"),
            "workloads": workload or (None if study and study.suffix.lower() != ".csv" else [asked.DEFAULT_WORKLOAD]),
            "slos": asked.slos(ttft, tpot, latency, percentile, slo) if limited else None,
            "objective": None if objective is None else objective.value,
            "modes": [one.value for one in mode] if mode else None,
            "prefill_systems": None if prefill_system is None else names(prefill_system, "system"),
            "ffn_systems": None if ffn_system is None else names(ffn_system, "system"),
            "most_accelerators": max_accelerators,
            "acceptance": None if acceptance is None else shares(acceptance, "--acceptance"),
            "rate": rate,
            "chunk": None if chunk is None else whole_numbers(chunk, "--chunk"),
            "stack": stack,
            "boundary": None if boundary is None else boundary.value,
            "basis": None if basis is None else basis.value,
        }
        ds = rl.pairs(study, progress=lambda done, of: say(f"searching: {done} of {of} models"), **over)
        if out is not None:
            save(ds, out)
    rows = table(ds)
    if as_json:
        print_json(table_document("pairs", rows, out))
        return
    show(ds, rows, out, labels=LABELS)
