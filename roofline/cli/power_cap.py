"""`roofline power-cap`: what a cap of watts on every accelerator costs and saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import held
from roofline.cli import options as opt
from roofline.cli.held_options import PLAN, takes
from roofline.cli.numbers import numbers
from roofline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

HEADERS = {
    "cap": "cap",
    "tokens_per_mwh": "tokens/MWh",
    "tokens_per_mwh_ratio": "over no cap",
    "tpot": "TPOT",
    "tokens_per_s_per_gpu": "tok/s/GPU",
    "power": "draw",
    "decode_clock": "clock, decode",
    "prompt_clock": "with prompts",
    "ttft": "TTFT",
}
"""Columns of the table for people."""


@takes(PLAN)
def power_cap(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model: name, path of a sheet, or a config.json.")],
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="A system or accelerator: name or path of a sheet.")],
    recipe: Annotated[str | None, typer.Option("--recipe", metavar="NAME", help="Default those of the model.")] = None,
    caps: Annotated[
        str | None,
        typer.Option("--caps", metavar="W", help="Watts of one accelerator, 300:700:25; default 30 to 100 % of TDP."),
    ] = None,
    replan: Annotated[bool, typer.Option("--replan", help="Also choose anew at every cap, within the limits.")] = False,
    clock: Annotated[
        list[str] | None,
        typer.Option("--clock", metavar="NAME=X", help="How draw follows the clock: least_voltage=0.8, slope=0.5 ..."),
    ] = None,
    given: dict[str, Any] | None = None,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """What `roofline plan` chooses, with every accelerator under a cap of watts: tokens/MWh and TPOT, and the best cap.

    Each phase runs at the fastest clock whose draw meets the cap. --out FILE.png draws both against the cap.
    """
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, save, suffix_of

    if out is not None:
        suffix_of(out)
        check_writable(out)
    watts = None if caps is None else numbers(caps, "--caps")
    with sheets_of(specs), waiting("evaluating (the first run compiles the kernels)"):
        from roofline.insight.power_cap import power_cap as under_caps
        from roofline.report.power_cap import cap_curve

        ds = under_caps(
            held.one_name(model, "model") or "",
            held.one_name(system, "system") or "",
            held.one_name(recipe, "recipe"),
            caps=watts,
            replan=replan,
            clock=_clock(clock),
            **(given or {}),
        )
        if out is not None:
            save(ds, out, draw=cap_curve)
    if as_json:
        print_json(_document(ds, out))
    else:
        _show(ds, out)


def _clock(listed: list[str] | None) -> dict[str, float]:
    """Numbers by name. Raises InputError for what is no NAME=NUMBER."""
    found: dict[str, float] = {}
    for text in ",".join(listed or []).split(","):
        if not text.strip():
            continue
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = float(value) if equals else float("x")
        except ValueError:
            raise InputError(f"--clock {text}: write NAME=NUMBER, e.g. least_voltage=0.8") from None
    return found


def _document(ds: xr.Dataset, out: Path | None) -> Any:
    from roofline.cli.documents import ColumnDocument
    from roofline.cli.power_cap_documents import BestCapDocument, PowerCapDocument
    from roofline.insight.power_cap import COMPARED, sentence
    from roofline.report.tables import table

    rows = table(ds)
    best = []
    for name in ds["choice"].values:
        one = ds.sel(choice=name)
        ratios = {f"{key}_ratio": _or_none(one[f"best_{key}_ratio"]) for key in COMPARED}
        caps = {"cap": _or_none(one["best_cap"]), "least_cap": float(one["least_cap"])}
        best.append(BestCapDocument(choice=str(name), **caps, **ratios, said=sentence(ds, str(name))))
    return PowerCapDocument(
        provenance=rows.attrs,
        columns=[ColumnDocument(name=c.name, unit=c.unit, meaning=c.meaning) for c in rows.columns],
        rows=list(rows.rows()),
        file=None if out is None else str(out),
        label=str(ds.attrs["label"]),
        clock=str(ds.attrs["clock"]),
        best=best,
    )


def _or_none(value: xr.DataArray) -> Any:
    found = float(value)
    return found if found == found else None


def _show(ds: xr.Dataset, out: Path | None) -> None:
    from roofline.cli.output import print_cells
    from roofline.insight.power_cap import sentence
    from roofline.report.plots import basis_line
    from roofline.report.tables import number

    attrs = ds.attrs
    for choice in ds["choice"].values:
        one = ds.sel(choice=choice)
        units = {name: str(one[name].attrs.get("units", "")) for name in HEADERS}
        cells: list[list[str]] = []
        for n in range(ds.sizes["cap"]):
            row = one.isel(cap=n)
            if row["reason"].item() and not cells:
                continue  # said once, below
            words = [number(float(row[name]), "" if units[name] == "1" else units[name]) for name in HEADERS]
            runs = bool(row["meets_slo"].item() == 1)
            cells.append([*words, "yes" if runs else "no", str(row["deployment"].item())])
        headers = [*HEADERS.values(), "SLO met", "deployment"]
        if choice == "held":
            headers, cells = headers[:-1], [line[:-1] for line in cells]
        title = f"{attrs['model']} on {attrs['system']}, workload {attrs['workload']}, SLO {attrs['slo']}: {choice}"
        if cells:
            print_cells(
                headers, cells, left=[name == "deployment" for name in headers], title=title,
                importance=["cap", "tokens/MWh", "TPOT", "SLO met", "over no cap", "draw", "tok/s/GPU"],
                elsewhere="--json, --out x.csv",
            )  # fmt: skip
        first = next((str(why) for why in one["reason"].values if why), "")
        if first:
            print(f"caps that cannot be met: {int((one['reason'] != '').sum())}; at the lowest {first}")
        print(sentence(ds, str(choice)))
    print(f"without a cap: {attrs['label']}, {number(float(ds['uncapped_power']), 'W')} an accelerator")
    print(f"clock: {attrs['clock']}")
    print(basis_line(dict(attrs)) + ("" if out is None else f"\nwritten to {out}"))
