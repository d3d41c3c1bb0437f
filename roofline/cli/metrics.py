"""`roofline metrics`: the measures of the field side by side, and where their rankings disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.cli import options as opt
from roofline.cli.numbers import names, shares, whole_numbers
from roofline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

HEADERS = {
    "peak_flop_per_s": "peak FLOP/s",
    "flop_per_s_per_w": "peak FLOP/s/W",
    "throughput": "throughput, tok/s/GPU",
    "goodput": "goodput, tok/s/GPU",
    "tokens_per_mwh": "tokens/MWh",
}
"""Short names of measures."""


def metrics(
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
    mode: opt.Modes = None,
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
    """Peak FLOP/s, FLOP/s per watt, throughput, goodput and tokens/MWh of each system, and how each ranks them.

    Goodput and tokens/MWh are of the best plan that meets the limits: give one at least.
    """
    from roofline.cli import asked
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, save, suffix_of

    if out is not None:
        suffix_of(out, (".csv", ".parquet", ".nc", ".zarr"))
        check_writable(out)
    if slo is not None and len(slo) > 1:
        raise InputError("--slo: given more than once; measures are of one")
    given: dict[str, Any] = {} if not mode else {"modes": [one.value for one in mode]}
    given |= {} if acceptance is None else {"acceptance": shares(acceptance, "--acceptance")}
    given |= {} if chunk is None else {"chunk": whole_numbers(chunk, "--chunk")}
    with sheets_of(specs), waiting("searching (the first run compiles the kernels)") as say:
        import roofline as rl

        limits = asked.slos(ttft, tpot, latency, percentile, slo)[0]
        if not limits.limits:
            raise InputError("no limit given: goodput is of requests that meet one; give --ttft, --tpot or --latency")
        ds = rl.metrics(
            names(models, "model"),
            names(systems, "system"),
            recipes=None if recipe is None else names(recipe, "recipe"),
            workload=asked.workloads([workload], spread, cached, duty)[0],
            slo=limits,
            **given,
            most_accelerators=max_accelerators,
            stack=stack,
            boundary=boundary.value,
            basis=basis.value,
            progress=lambda done, of: say(f"searching: {done} of {of}"),
        )
        if out is not None:
            save(ds, out)
    if as_json:
        print_json(_document(ds, out))
    else:
        _show(ds, out)


def _agreements(ds: xr.Dataset) -> list[dict[str, Any]]:
    """Each two measures of each model once."""
    measures = [str(name) for name in ds["measure"].values]
    found = []
    for m, model in enumerate(ds["model"].values):
        for i, measure in enumerate(measures):
            for j in range(i + 1, len(measures)):
                tau = float(ds["agreement"].values[m, i, j])
                found.append(
                    {
                        "model": str(model),
                        "measure": measure,
                        "other": measures[j],
                        "agreement": tau if tau == tau else None,
                        "reversed_pairs": int(ds["reversed_pairs"].values[m, i, j]),
                    }
                )
    return found


def _document(ds: xr.Dataset, out: Path | None) -> Any:
    from roofline.cli.documents import AgreementDocument, ColumnDocument, MetricsDocument
    from roofline.report.tables import table

    rows = table(ds)
    return MetricsDocument(
        provenance=rows.attrs,
        columns=[ColumnDocument(name=c.name, unit=c.unit, meaning=c.meaning) for c in rows.columns],
        rows=list(rows.rows()),
        agreement=[AgreementDocument.model_validate(row) for row in _agreements(ds)],
        file=None if out is None else str(out),
    )


def _show(ds: xr.Dataset, out: Path | None) -> None:
    from roofline.cli.evaluate import limits
    from roofline.cli.output import print_cells
    from roofline.report.plots import basis_line
    from roofline.report.tables import number

    measures = [str(name) for name in ds["measure"].values]
    several = ds.sizes["model"] > 1
    cells = []
    for m, model in enumerate(ds["model"].values):
        for s, system in enumerate(ds["system"].values):
            value, rank = ds["value"].values[m, s], ds["rank"].values[m, s]
            said = [
                number(v) + ("" if r != r else f" ({r:.0f})") if v == v else "-"
                for v, r in zip(value, rank, strict=True)
            ]
            cells.append([*([str(model)] if several else []), str(system), *said])
    headers = [*(["model"] if several else []), "system", *(HEADERS[name] for name in measures)]
    facts = {"model": "" if several else ds["model"].values[0]} | {n: ds.attrs.get(n) for n in ("workload", "slo")}
    title = "  ".join(f"{name} {value}" for name, value in facts.items() if value)
    print_cells(
        headers,
        cells,
        left=[header in ("model", "system") for header in headers],
        title=title,
        importance=["model", "system", *(HEADERS[name] for name in reversed(measures))],
        elsewhere="--json, --out x.csv",
    )
    lines = [_said(row, several) for row in _agreements(ds) if row["reversed_pairs"]]
    print("(1) is the best system by a measure, - has no value")
    print("\n".join(lines or ["no two measures order two systems differently"]))
    lines = [*limits(ds), basis_line(ds.attrs)] + ([] if out is None else [f"written to {out}"])
    print("\n".join(lines))


def _said(row: dict[str, Any], several: bool) -> str:
    """Two measures that do not agree, in words."""
    pairs = row["reversed_pairs"]
    tau = "" if row["agreement"] is None else f", Kendall's tau {row['agreement']:.2f}"
    whose = f"{row['model']}: " if several else ""
    first, other = (HEADERS[row[name]].split(",")[0] for name in ("measure", "other"))
    return f"{whose}{first} and {other} disagree on {pairs} pair{'s' * (pairs != 1)} of systems{tau}"
