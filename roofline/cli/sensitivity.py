"""`roofline sensitivity`: what an answer rests on, number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import held
from roofline.cli import options as opt
from roofline.cli.held_options import EVERYTHING, takes
from roofline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

MOST_SAID, MOST_ROWS = 5, 25
"""Numbers that are said in words, and that a table for people has room for."""


@takes(EVERYTHING)
def sensitivity(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model: name, path of a sheet, or a config.json.")],
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="A system or accelerator: name or path of a sheet.")],
    recipe: held.RecipeOption = None,
    of: held.OfOption = held.Of.PLAN,
    figure: held.FigureOption = None,
    change: Annotated[float, typer.Option("--change", help="How much more and less of each number, as a share.")] = 0.1,
    searched: Annotated[
        int | None,
        typer.Option("--searched", min=1, help="Of a plan: choose again for so many numbers, the strongest first."),
    ] = None,
    given: dict[str, Any] | None = None,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Elasticities of an answer in every number of its sheets: what 10 % more of each buys.

    Without --of the deployment that `roofline plan` chooses, held; --out FILE.png draws a tornado.
    """
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, save, suffix_of

    if out is not None:
        suffix_of(out)
        check_writable(out)
    with sheets_of(specs), waiting("evaluating (the first run compiles the kernels)") as say:
        from roofline.insight import sensitivity as insight

        ds = insight.sensitivity(
            held.one_name(model, "model") or "",
            held.one_name(system, "system") or "",
            held.one_name(recipe, "recipe"),
            of=of.value,
            change=change,
            searched=searched or False,
            progress=lambda done, count: say(f"numbers changed: {done} of {count}"),
            **held.with_bill(of, figure, given),
        )
        found = insight.ranked(ds, figure or "")
        if out is not None:
            save(ds, out, draw=lambda all_of_it: _draw(all_of_it, figure))
    if as_json:
        print_json(_document(found, out))
    else:
        _show(found, out)


def _draw(ds: xr.Dataset, figure: str | None) -> Any:
    from roofline.report.tornado import tornado

    return tornado(ds, figure or "")


def _rows(ds: xr.Dataset) -> list[dict[str, Any]]:
    """One row a number, for the figure that is ranked by."""
    name = str(ds.attrs["figure"])
    one = ds.sel(figure=name)
    searched = ("searched_more", "searched_less") if "searched_more" in ds and name == ds.attrs["searched"] else ()
    found = []
    for p in range(ds.sizes["parameter"]):
        row: dict[str, Any] = {"parameter": str(ds["parameter"].values[p])}
        row |= {key: ds[f"parameter_{key}"].values[p] for key in ("value", "unit", "grade", "source")}
        for key in ("elasticity", "elasticity_error", "kink", "ratio_more", "ratio_less", *searched):
            value = float(one[key].values[p])
            row[key] = value if value == value else None
        found.append(row | {"value": float(row["value"])})
    return found


_MEANT = {
    "parameter": "which number of which sheet",
    "value": "the number, in its unit",
    "unit": "its unit",
    "grade": "published, measured or estimated",
    "source": "where it is from",
}
"""Columns that the Dataset does not explain."""


def _document(ds: xr.Dataset, out: Path | None) -> Any:
    from roofline.cli.sensitivity_documents import ColumnDocument, MovedDocument, SensitivityDocument
    from roofline.insight.sensitivity import sentence

    rows = _rows(ds)
    keys = list(rows[0]) if rows else []
    meant = {key: _MEANT[key] if key in _MEANT else str(ds[key].attrs["long_name"]) for key in keys}
    moved = [
        MovedDocument(
            figure=str(ds["figure"].values[f]),
            unit=str(ds["figure_units"].values[f]),
            meaning=str(ds["figure_meaning"].values[f]),
            value=float(ds["value"].values[f]),
            sum_of_rates=float(ds["sum_of_rates"].values[f]),
        )
        for f in range(ds.sizes["figure"])
    ]
    return SensitivityDocument(
        provenance={str(key): str(value) for key, value in ds.attrs.items()},
        columns=[ColumnDocument(name=key, unit="", meaning=text) for key, text in meant.items()],
        rows=rows,
        file=None if out is None else str(out),
        label=str(ds.attrs["label"]),
        figure=str(ds.attrs["figure"]),
        change=float(ds.attrs["change"]),
        said=[sentence(ds, str(row["parameter"]), str(ds.attrs["figure"])) for row in rows[:MOST_SAID]],
        figures=moved,
    )


def _show(ds: xr.Dataset, out: Path | None) -> None:
    from roofline.cli.output import print_cells
    from roofline.insight.sensitivity import sentence
    from roofline.report.plots import basis_line
    from roofline.report.tables import compact

    name, rows = str(ds.attrs["figure"]), _rows(ds)
    if not rows:
        raise InputError(f"--figure {name}: no number of the sheets moves it")

    def percent(ratio: float | None) -> str:
        return "" if ratio is None else f"{100 * (ratio - 1):+.2f} %"

    change = 100 * float(ds.attrs["change"])
    headers = ["number", "value", "elasticity", f"{change:.3g} % more", "as much less", "chosen again", "grade"]
    cells = [
        [
            row["parameter"],
            f"{compact(row['value'])} {row['unit'] if row['unit'] != '1' else ''}".strip(),
            f"{row['elasticity']:+.4f}" + (" (kink)" if row["kink"] else ""),
            percent(row["ratio_more"]),
            percent(row["ratio_less"]),
            percent(row.get("searched_more")),
            row["grade"],
        ]
        for row in rows[:MOST_ROWS]
    ]
    kept = [c for c in range(len(headers)) if any(line[c] for line in cells)]
    title = f"{name} of {ds.attrs['model']} on {ds.attrs['system']}: {ds.attrs['label']}"
    print_cells(
        [headers[c] for c in kept],
        [[line[c] for c in kept] for line in cells],
        left=[headers[c] in ("number", "grade") for c in kept],
        title=title,
        importance=["number", "elasticity", headers[3], "chosen again", "grade", "value"],
        elsewhere="--json, --out x.csv",
    )
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more numbers; --json or --out x.csv has all")
    print("\n".join(sentence(ds, str(row["parameter"]), name) for row in rows[:MOST_SAID]))
    total = float(ds["sum_of_rates"].sel(figure=name))
    aside = ", without that of the arrivals" if ds.attrs["of"] == "serve" and "rate" in ds.attrs else ""
    print(f"rates less times add up to {total:.6f}{aside}")
    print(basis_line(dict(ds.attrs)) + ("" if out is None else f"\nwritten to {out}"))
