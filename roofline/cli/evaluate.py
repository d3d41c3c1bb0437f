"""`roofline decode` and `roofline prefill`: the cost of a pass over named axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, shares, whole_numbers

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from roofline.report.tables import Table


SHOWN = {
    "tpot": "TPOT",
    "prefill_time": "time",
    "tokens_per_s_per_user": "tok/s/user",
    "tokens_per_s_per_gpu": "tok/s/GPU",
    "memory": "memory",
    "mfu": "MFU",
    "mbu": "MBU",
    "power_at_boundary": "power/GPU",
    "joules_per_token_at_boundary": "energy/token",
    "tokens_per_mwh": "tokens/MWh",
    "bound": "bound",
    "limit": "limit",
}
"""Variables that a table for people has room for, with short headers; files and JSON hold all of them."""

IMPORTANCE = (
    *("tpot", "prefill_time", "tokens_per_s_per_gpu", "limit", "tokens_per_mwh", "tokens_per_s_per_user", "memory"),
    *("bound", "joules_per_token_at_boundary", "power_at_boundary", "mfu", "mbu"),
)
"""Which columns a narrow terminal keeps after the labels, first those before."""

LABELS = {"widened_parts": "widened"}
"""Short names of labels."""

DEGREES = ("tp", "pp", "dp", "ep", "moe_tp", "accelerators", "system_name")
"""Coordinates that the labels of a deployment and of a system say already."""

SAID_BELOW = ("power_unknown", "tier", "energy_tier")
"""Coordinates that lines under a table speak of."""


def decode(
    models: opt.Models,
    systems: opt.Systems,
    recipe: opt.Recipes = None,
    tp: opt.Tp = "1",
    pp: opt.Pp = "1",
    dp: opt.Dp = "1",
    ep: opt.Ep = None,
    moe_tp: opt.MoeTp = None,
    batch: opt.Batch = "1,4,16,64,256",
    context: opt.Context = "2k",
    new_tokens: Annotated[
        int,
        typer.Option("--new-tokens", min=1, help="New tokens per sequence in one step; more than 1 to verify drafts."),
    ] = 1,
    drafts: opt.Drafts = 0,
    acceptance: opt.Acceptance = None,
    components: Annotated[
        bool, typer.Option("--components", help="Also where the time goes (in .nc and .zarr).")
    ] = False,
    fidelity: opt.FidelityOption = opt.Fidelity.KERNEL,
    boundary: opt.BoundaryOption = opt.Boundary.ACCELERATOR,
    basis: opt.BasisOption = opt.Basis.METERED,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """One decode step: time, tokens per second, memory, power and energy."""
    axes = _axes(models, systems, recipe, tp, pp, dp, ep, moe_tp, batch)
    axes |= {"context": whole_numbers(context, "--context"), "new_tokens": new_tokens, "components": components}
    axes |= {"drafts": drafts, "acceptance": None if acceptance is None else shares(acceptance, "--acceptance")}
    _run("decode", axes, fidelity, boundary, basis, out, as_json, specs)


def prefill(
    models: opt.Models,
    systems: opt.Systems,
    recipe: opt.Recipes = None,
    tp: opt.Tp = "1",
    pp: opt.Pp = "1",
    dp: opt.Dp = "1",
    ep: opt.Ep = None,
    moe_tp: opt.MoeTp = None,
    batch: opt.Batch = "1",
    isl: Annotated[
        str, typer.Option("--isl", metavar="N[,...]", help=f"Input sequence length in tokens: {opt.NUMBERS}.")
    ] = "1k,8k,32k",
    chunk: Annotated[
        int | None,
        typer.Option("--chunk", min=1, help="Most tokens of a prompt in one pass; default the whole prompt."),
    ] = None,
    cached: Annotated[int, typer.Option("--cached", min=0, help="Tokens of prefix that are in the cache already.")] = 0,
    fidelity: opt.FidelityOption = opt.Fidelity.KERNEL,
    boundary: opt.BoundaryOption = opt.Boundary.ACCELERATOR,
    basis: opt.BasisOption = opt.Basis.METERED,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Prompts: time, tokens per second, memory, power and energy."""
    axes = _axes(models, systems, recipe, tp, pp, dp, ep, moe_tp, batch)
    axes |= {"isl": whole_numbers(isl, "--isl"), "chunk": chunk, "cached": cached}
    _run("prefill", axes, fidelity, boundary, basis, out, as_json, specs)


def _axes(
    models: str,
    systems: str,
    recipe: str | None,
    tp: str,
    pp: str,
    dp: str,
    ep: str | None,
    moe_tp: str | None,
    batch: str,
) -> dict[str, Any]:
    return {
        "models": names(models, "model"),
        "systems": names(systems, "system"),
        "recipes": None if recipe is None else names(recipe, "recipe"),
        "tp": whole_numbers(tp, "--tp"),
        "pp": whole_numbers(pp, "--pp"),
        "dp": whole_numbers(dp, "--dp"),
        "ep": None if ep is None else whole_numbers(ep, "--ep"),
        "moe_tp": None if moe_tp is None else whole_numbers(moe_tp, "--moe-tp"),
        "batch": whole_numbers(batch, "--batch"),
    }


def _run(
    kind: Any,
    axes: dict[str, Any],
    fidelity: opt.Fidelity,
    boundary: opt.Boundary,
    basis: opt.Basis,
    out: Path | None,
    as_json: bool,
    specs: Path | None,
) -> None:
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, save, suffix_of

    if out is not None:
        suffix_of(out)
        check_writable(out)
    with sheets_of(specs), waiting("evaluating (the first run compiles the kernels)"):
        import roofline as rl

        evaluate = rl.decode if kind == "decode" else rl.prefill
        ds = rl.rollup(evaluate(**axes, fidelity=fidelity.value), boundary=boundary.value, basis=basis.value)
        if out is not None:
            save(ds, out, draw=_draw(kind))
    rows = _table(ds)
    if as_json:
        print_json(table_document(kind, rows, out))
        return
    show(rows, ds, out)


def _draw(kind: str) -> Any:
    from roofline.report import curves

    return curves.throughput_curves if kind == "decode" else curves.prefill_curves


def _table(ds: xr.Dataset) -> Table:
    from roofline.report.tables import table

    return table(ds, [str(name) for name in ds.data_vars if "component" not in ds[name].dims])


def table_document(kind: Any, rows: Table, out: Path | None) -> Any:
    """A table as the published document."""
    from roofline.cli.documents import ColumnDocument, TableDocument

    columns = [ColumnDocument(name=c.name, unit=c.unit, meaning=c.meaning) for c in rows.columns]
    file = None if out is None else str(out)
    return TableDocument(kind=kind, provenance=rows.attrs, columns=columns, rows=list(rows.rows()), file=file)


def show(rows: Table, ds: xr.Dataset, out: Path | None, headers: dict[str, str] = SHOWN) -> None:
    """Print a table with what is the same in every row above it.   headers : the variables it has room for."""
    from roofline.cli.output import print_table
    from roofline.report import bands
    from roofline.report.plots import basis_line
    from roofline.report.tables import Table

    labels = [c for c in rows.columns if c.name in ds.coords and c.name not in (*DEGREES, *SAID_BELOW)]
    same = [c for c in labels if len(rows) and (c.values == c.values[0]).all()]
    varying = [c for c in labels if not any(c is other for other in same)]
    shown = Table((*varying, *(c for c in rows.columns if c.name in headers)), rows.attrs)
    title = "  ".join(_fact(c.name, c.values[0]) for c in same if c.values[0] != "")
    footer = "\n".join([*limits(ds), *undisclosed(ds), *_doubts(ds), *bands.lines(ds), basis_line(rows.attrs)]) + (
        "" if out is None else f"\nwritten to {out}"
    )
    if not (ds["limit"].values == 0).any():
        print("No cell runs; the reasons are under the table.")
    importance = (*(c.name for c in varying), *IMPORTANCE, *headers)
    print_table(shown, title=title, footer=footer, headers=headers | LABELS, importance=importance)


def _fact(name: str, value: Any) -> str:
    if name in LABELS:
        return f"{LABELS[name]}: {str(value).replace(',', ', ')}"
    return f"{name} {value}"


def undisclosed(ds: xr.Dataset) -> list[str]:
    """A line for each system whose watts are not known: why it has no power and no energy."""
    if "power_unknown" not in ds.coords:
        return []
    said = zip(ds["system"].values.flat, ds["power_unknown"].values.flat, strict=True)
    return list(dict.fromkeys(f"{system}: no power or energy, {reason}" for system, reason in said if reason))


def _doubts(ds: xr.Dataset) -> list[str]:
    """A line for each reason why figures are missing or outside what was checked, with how many cells it is of."""
    from collections import Counter

    if "reason" not in ds:
        return []
    cells = ds["reason"].values
    return [f"{reason} ({n} of {cells.size} cells)" for reason, n in Counter(cells.flat).items() if reason]


def limits(ds: xr.Dataset) -> list[str]:
    """A line for each reason why cells do not run: its word in the table, how many cells, what it means."""
    import numpy as np

    from roofline.report.plots import reasons
    from roofline.report.tables import meanings

    limit = ds["limit"]
    words, said = meanings(limit) or {}, reasons(limit)
    codes, times = np.unique(limit.values, return_counts=True)
    found = [(int(code), int(cells)) for code, cells in zip(codes, times, strict=True) if code]
    return [f"{words[code]}: {said[code]} ({cells} of {limit.size} cells)" for code, cells in found]
