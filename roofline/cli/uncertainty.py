"""`roofline uncertainty`: how sure an answer is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import held
from roofline.cli import options as opt
from roofline.cli.held_options import EVERYTHING, takes
from roofline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

MOST_SHARES = 10
"""Numbers that a table for people names."""

LEAST_SHARE, CHANCE = 1e-3, 10.0
"""Of the variance, what a number brings to be named; and more than CHANCE/draws, which one of 600 has by chance."""


@takes(EVERYTHING)
def uncertainty(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model: name, path of a sheet, or a config.json.")],
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="A system or accelerator: name or path of a sheet.")],
    recipe: held.RecipeOption = None,
    of: held.OfOption = held.Of.PLAN,
    figure: held.FigureOption = None,
    draws: Annotated[int, typer.Option("--draws", help="Random draws of all numbers.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same result.")] = 0,
    widen: Annotated[
        str, typer.Option("--widen", metavar="F", help="Factor on all spreads, or by grade: estimated=2,measured=1.5.")
    ] = "1",
    numbers_only: Annotated[
        bool, typer.Option("--numbers-only", help="Without the band that measurements give a plan or a load.")
    ] = False,
    sobol: Annotated[
        int | None, typer.Option("--sobol", metavar="N", help="Also Sobol indices of N base samples, a power of two.")
    ] = None,
    given: dict[str, Any] | None = None,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Percentiles of an answer when every number of its sheets may be off as far as its grade says.

    Without --of the deployment that `roofline plan` chooses, held; --out FILE.png draws the intervals.
    """
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.report.tornado import interval_picture

    if out is not None:
        suffix_of(out)
        check_writable(out)
    options = held.with_bill(of, figure, given)
    where = (
        held.one_name(model, "model") or "",
        held.one_name(system, "system") or "",
        held.one_name(recipe, "recipe"),
    )
    scale = _scale(widen)
    with sheets_of(specs), waiting("drawing (the first run compiles the kernels)") as say:
        from roofline.insight import uncertainty as insight
        from roofline.insight.sobol import check_samples
        from roofline.insight.sobol import sobol as indices_of

        if sobol is not None:
            check_samples(sobol, "--sobol")
        ds = insight.uncertainty(
            *where,
            of=of.value,
            draws=draws,
            seed=seed,
            spread=scale,
            residual=not numbers_only,
            progress=lambda done, count: say(f"drawing: {done:,} of {count:,}"),
            **options,
        )
        name = figure or str(ds.attrs["figure"])
        if name not in ds["figure"].values:
            from roofline.errors import unknown_name

            raise unknown_name("figure", name, [str(one) for one in ds["figure"].values])
        indices = None
        if sobol is not None:
            say("evaluating for Sobol indices")
            indices = indices_of(*where, of=of.value, figure=name, samples=sobol, seed=seed, spread=scale, **options)
        if out is not None:
            save(ds, out, draw=interval_picture)
    if as_json:
        print_json(_document(ds, name, indices, out))
    else:
        _show(ds, name, indices, out)


def _scale(text: str) -> float | dict[str, float]:
    """2, or estimated=2,measured=1.5. Raises InputError for anything else."""
    from roofline.insight.spreads import check_scale

    pairs = [piece.partition("=") for piece in text.split(",")]
    scale: float | dict[str, float]
    try:
        scale = {name.strip(): float(value) for name, _, value in pairs} if "=" in text else float(text)
    except ValueError:
        raise InputError(f"--widen {text}: write a factor as 2, or by grade as estimated=2,measured=1.5") from None
    if isinstance(scale, dict) and len(scale) < len(pairs):
        raise InputError(f"--widen {text}: a grade is given twice")
    check_scale(scale, "--widen")
    return scale


def _shares(ds: xr.Dataset, name: str) -> list[dict[str, Any]]:
    """Numbers that bring more than `LEAST_SHARE` of the variance of a figure, and than chance does, the most first."""
    from roofline.insight.spreads import OF_KIND

    share = ds["share"].sel(figure=name).values
    least = max(LEAST_SHARE, CHANCE / int(ds.attrs["draws"]))
    return [
        {
            "parameter": str(ds["parameter"].values[p]),
            "grade": str(ds["parameter_grade"].values[p]),
            "spread": float(ds["parameter_spread"].values[p]),
            "spread_of": OF_KIND.get(str(ds["parameter_kind"].values[p]), "the number"),
            "share": float(share[p]),
        }
        for p in sorted(range(share.size), key=lambda at: -share[at])
        if share[p] > least
    ]


def _indices(indices: xr.Dataset | None) -> list[dict[str, Any]]:
    if indices is None:
        return []
    keys = ("first_order", "first_order_error", "total", "total_error")
    return [
        {"parameter": str(path)} | {key: float(indices[key].values[p]) for key in keys}
        for p, path in enumerate(indices["parameter"].values)
    ]


def _document(ds: xr.Dataset, name: str, indices: xr.Dataset | None, out: Path | None) -> Any:
    from roofline.cli.sensitivity_documents import ColumnDocument, ShareDocument, SobolDocument, UncertaintyDocument

    def plain(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    rows: list[dict[str, Any]] = []
    percents = ds["quantile"].values
    for f, figure in enumerate(ds["figure"].values):
        row: dict[str, Any] = {"figure": str(figure), "unit": str(ds["figure_units"].values[f])}
        row["point"] = plain(ds["point"].values[f])
        row |= {f"p{q:g}": plain(ds["value"].values[i, f]) for i, q in enumerate(percents)}
        row |= {f"numbers_p{q:g}": plain(ds["numbers"].values[i, f]) for i, q in enumerate(percents)}
        rows.append(row)
    meant = {"figure": "which figure", "unit": "its unit", "point": "as the sheets stand"}
    meant |= {f"p{q:g}": f"{q:g} % of draws are below, band included" for q in percents}
    meant |= {f"numbers_p{q:g}": f"the same of the numbers of the sheets alone, {q:g} %" for q in percents}
    return UncertaintyDocument(
        provenance={str(key): str(value) for key, value in ds.attrs.items()},
        columns=[ColumnDocument(name=key, unit="", meaning=text) for key, text in meant.items()],
        rows=rows,
        file=None if out is None else str(out),
        label=str(ds.attrs["label"]),
        draws=int(ds.attrs["draws"]),
        seed=int(ds.attrs["seed"]),
        fits=float(ds.attrs["fits"]),
        missing=float(ds.attrs["missing"]),
        figure=name,
        shares=[ShareDocument.model_validate(row) for row in _shares(ds, name)],
        sobol=[SobolDocument.model_validate(row) for row in _indices(indices)],
    )


def _show(ds: xr.Dataset, name: str, indices: xr.Dataset | None, out: Path | None) -> None:
    from roofline.cli.output import print_cells
    from roofline.report.plots import basis_line
    from roofline.report.tables import number

    percents = [f"p{q:g}" for q in ds["quantile"].values]
    banded = ds.attrs["residual"].split(", ")
    cells = []
    for f, figure in enumerate(ds["figure"].values):
        unit = str(ds["figure_units"].values[f])
        held_values = [ds["point"].values[f], *ds["value"].values[:, f]]
        low, high = ds["numbers"].values[[0, -1], f] / ds["point"].values[f]
        said = [number(float(value), unit) for value in held_values]
        cells.append([str(figure), *said, f"{low:.2f} to {high:.2f}", "yes" if figure in banded else ""])
    print_cells(
        ["figure", "point", *percents, "numbers alone, over point", "band"],
        cells,
        left=[True, *[False] * (2 + len(percents)), True],
        title=f"{ds.attrs['model']} on {ds.attrs['system']}: {ds.attrs['label']}",
        importance=["figure", "point", *percents],
        elsewhere="--json, --out x.csv",
    )
    total = {row["parameter"]: row["total"] for row in _indices(indices)}
    shares = _shares(ds, name)[:MOST_SHARES]
    lines = [f"what the spread of {name} comes from, as far as the numbers go:"] if shares else []
    for row in shares:
        more = "" if row["spread_of"] == "the number" else f" of {row['spread_of']}"
        more += f", Sobol total {total[row['parameter']]:.1%}" if row["parameter"] in total else ""
        lines.append(f"  {row['share']:6.1%}  {row['parameter']} ({row['grade']}, ±{row['spread']:.0%}{more})")
    lines += [] if ds.attrs["fits"] == "1" else [f"fits in memory in {float(ds.attrs['fits']):.1%} of draws"]
    lines += (
        [] if ds.attrs["missing"] == "0" else [f"cannot run in {float(ds.attrs['missing']):.1%} of draws: left out"]
    )
    count = int(ds.attrs["draws"])
    lines += [f"{count:,} draw{'s' * (count != 1)}, seed {ds.attrs['seed']}", basis_line(dict(ds.attrs))]
    print("\n".join(lines) + ("" if out is None else f"\nwritten to {out}"))
