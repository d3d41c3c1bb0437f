"""`roofline compare`: the ratio of two systems over interactivity, and what it is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, numbers, shares, whole_numbers
from roofline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from roofline.insight.studies import Rerun


class Measure(StrEnum):
    """What is compared."""

    TOKENS_PER_MWH = "tokens_per_mwh"
    TOKENS_PER_S_PER_GPU = "tokens_per_s_per_gpu"
    TOKENS_PER_USD = "tokens_per_usd"


Side = Annotated[str | None, typer.Argument(metavar="SYSTEM", help="System or accelerator: name or path of a sheet.")]
SUFFIXES = (".csv", ".parquet", ".nc", ".zarr", ".png", ".svg", ".pdf")


def compare(
    old: Side = None,
    new: Side = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Model: name or path of a sheet.")
    ] = None,
    isl: Annotated[
        str | None, typer.Option("--isl", metavar="N", help="Prompt tokens: 1024 or 8k; default 1024.")
    ] = None,
    osl: Annotated[str | None, typer.Option("--osl", metavar="N", help="Output tokens; default 1024.")] = None,
    at: Annotated[
        float | None, typer.Option("--at", help="Tokens/s of a user at which the ratio is taken apart; default 50.")
    ] = None,
    interactivity: Annotated[
        str | None,
        typer.Option(
            "--interactivity", metavar="N[,...]", help=f"Those of the curve: {opt.NUMBERS}; default 20 to 200."
        ),
    ] = None,
    ttft: opt.Ttft = None,
    latency: opt.Latency = None,
    percentile: opt.Percentile = None,
    measure: Annotated[Measure | None, typer.Option("--measure", help="What is taken apart.")] = None,
    levers: Annotated[
        str | None,
        typer.Option(
            "--levers",
            metavar="NAME[,...]",
            help="Levers or groups of them to move: flops, formats, bandwidth, capacity, kernels, watts, domain, "
            "scale_up, scale_out, interconnect, orchestration, facility ...; `all`: each by itself.",
        ),
    ] = None,
    curve_only: Annotated[
        bool, typer.Option("--curve-only", help="The ratio over interactivity without its factors.")
    ] = False,
    price: Annotated[
        str | None,
        typer.Option("--price", metavar="OLD,NEW", help="Instead: USD per accelerator-hour of both, 1.41,2.65."),
    ] = None,
    prices: opt.PriceSheet = None,
    tier: opt.Tier = None,
    recipe: opt.Recipes = None,
    mode: Annotated[
        list[opt.Mode] | None,
        typer.Option("--mode", help="How requests are served; repeat for more; default aggregated, disaggregated."),
    ] = None,
    old_mode: Annotated[
        list[opt.Mode] | None, typer.Option("--old-mode", help="The same, of the old system alone.")
    ] = None,
    acceptance: opt.TriedDrafts = None,
    old_acceptance: Annotated[
        str | None,
        typer.Option("--old-acceptance", metavar="A[,...]", help="The same, of the old system alone; or none."),
    ] = None,
    max_accelerators: Annotated[
        int | None,
        typer.Option("--max-accelerators", min=1, help="Of a replica; default those of the larger scale-up domain."),
    ] = None,
    one_domain: Annotated[
        bool, typer.Option("--one-domain", help="No replica spans scale-up domains: no experts across NICs.")
    ] = False,
    stack: Annotated[
        str | None, typer.Option("--stack", metavar="NAME", help="Serving stack: name or path of a sheet.")
    ] = None,
    boundary: Annotated[
        opt.Boundary | None, typer.Option("--boundary", help="Where energy is counted; default facility.")
    ] = None,
    basis: Annotated[opt.Basis | None, typer.Option("--basis", help="metered (default) or provisioned.")] = None,
    vintage: opt.VintageOption = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="NAME", help="A published claim run again: name of a shipped study, or a YAML."
        ),
    ] = None,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """How many times more a new system makes than an old one, over interactivity, and the factors of it at one.

    Recipe and deployment are searched again in each mixture of the two. --out x.png draws the factors and the curve;
    --out x.csv writes the curve, and the factors beside it as x-factors.csv.
    """  # fmt: skip
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import check_writable, suffix_of

    if out is not None:
        suffix_of(out, SUFFIXES)
        check_writable(out)
    given: dict[str, Any] = {
        "at": at,
        "interactivity": None if interactivity is None else numbers(interactivity, "--interactivity"),
        "slo": _limits(ttft, latency, percentile),
        "measure": None if measure is None else measure.value,
        "levers": None if levers is None else "all" if levers == "all" else names(levers, "lever"),
        "attribution": False if curve_only else None,
        "recipes": None if recipe is None else names(recipe, "recipe"),
        "most_accelerators": max_accelerators,
        "across": False if one_domain else None,
        "isl": None if isl is None else _length(isl, "--isl"),
        "osl": None if osl is None else _length(osl, "--osl"),
        "boundary": None if boundary is None else boundary.value,
        "basis": None if basis is None else basis.value,
        "vintage": vintage,
        "prices": prices,
        "tier": tier,
    }
    given = {name: value for name, value in given.items() if value is not None}
    with sheets_of(specs), waiting("searching (the first run compiles the kernels)") as say:

        def progress(done: int, of: int) -> None:
            say(f"searching: {done} of {of} mixtures")

        rerun: Rerun | None = None
        served = {
            "OLD": old, "NEW": new, "--model": model, "--price": price, "--mode": mode, "--old-mode": old_mode,
            "--acceptance": acceptance, "--old-acceptance": old_acceptance, "--stack": stack,
        }  # fmt: skip
        if study is not None:
            from roofline.insight.studies import rerun as run_again

            for name, value in served.items():
                if value is not None:
                    raise InputError(f"{name}: the study says it; leave it out, or copy the study and change it")
            rerun = run_again(study, progress=progress, **given)
            ds = rerun.ds
        else:
            from roofline.insight.compare import compare as compared

            sides = _sides(old, new, price, mode, old_mode, acceptance, old_acceptance, stack)
            if model is None:
                raise InputError("--model: missing; e.g. --model deepseek-r1")
            ds = compared(*sides, model=model, progress=progress, **({"isl": 1024, "osl": 1024} | given))
        if out is not None:
            _save(ds, out)
    if as_json:
        print_json(_document(ds, out, rerun))
        return
    from roofline.cli.compare_words import show

    show(ds, out, rerun)


def _length(text: str, option: str) -> int:
    found = whole_numbers(text, option)
    if len(found) != 1:
        raise InputError(f"{option} {text}: give one length")
    return found[0]


def _sides(
    old: str | None,
    new: str | None,
    price: str | None,
    mode: list[opt.Mode] | None,
    old_mode: list[opt.Mode] | None,
    acceptance: str | None,
    old_acceptance: str | None,
    stack: str | None,
) -> list[dict[str, Any]]:
    """Both sides as mappings of the fields of a `Side`."""
    if old is None or new is None:
        raise InputError(
            "give two systems, the old one first: roofline compare dgx-h200 gb300-nvl72 --model deepseek-r1"
        )
    both: dict[str, Any] = {} if stack is None else {"stack": stack}
    both |= {} if not mode else {"modes": [one.value for one in mode]}
    both |= {} if acceptance is None else {"acceptance": shares(acceptance, "--acceptance")}
    first = both | ({} if not old_mode else {"modes": [one.value for one in old_mode]})
    if old_acceptance is not None:
        first["acceptance"] = None if old_acceptance == "none" else shares(old_acceptance, "--old-acceptance")
    sides = [{"system": old} | first, {"system": new} | both]
    if price is not None:
        for side, usd in zip(sides, _prices(price), strict=True):
            side["usd_per_hour"] = usd
    return sides


def _prices(text: str) -> list[float]:
    """USD per accelerator-hour of both sides."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 2 or not all(0.0 < usd < float("inf") for usd in found):
        raise InputError(
            f"--price {text}: give USD per accelerator-hour of both, above 0, the old one first: 1.41,2.65"
        )
    return found


def _limits(ttft: str | None, latency: str | None, percentile: str | None) -> Any:
    """Limits beside that of TPOT, and its percentile; None where none is given."""
    if ttft is None and latency is None and percentile is None:
        return None
    from roofline.cli.asked import slos
    from roofline.serving import SLO

    found = slos(ttft, "1", latency, percentile, None)[0]  # the interactivity is the limit of TPOT
    return SLO(found.ttft_s, latency_s=found.latency_s, percentile=found.percentile)


def _save(ds: xr.Dataset, out: Path) -> None:
    """Write a comparison; of tables also the factors, in a file of their own."""
    from roofline.report.files import TABLES, save
    from roofline.report.waterfall import comparison_picture

    save(ds, out, draw=comparison_picture)
    if out.suffix.lower() in TABLES and "factor" in ds and ds.sizes["lever"]:
        number = {name: float(ds.attrs[name] or "nan") for name in ("ratio", "at_reported")}
        units = {"ratio": "1", "at_reported": "1/s"}
        more = {name: ((), value, {"units": units[name]}) for name, value in number.items()}
        save(ds[["factor", "alone", "last"]].assign(more), out.with_name(f"{out.stem}-factors{out.suffix}"))


def _document(ds: xr.Dataset, out: Path | None, rerun: Rerun | None) -> Any:
    from roofline.cli import compare_documents as doc
    from roofline.cli.documents import ColumnDocument
    from roofline.report.tables import plain, table

    rows = table(ds)

    def numbers(name: str) -> list[Any]:
        return plain(ds[name].values) if name in ds else []

    factors = [
        doc.FactorDocument(
            lever=lever, group=group, levers_moved=held.split(", "), factor=factor, alone=alone, last=last
        )
        for lever, group, held, factor, alone, last in zip(
            *map(numbers, ("lever", "lever_group", "levers_moved", "factor", "alone", "last")), strict=True
        )
    ]
    mixtures = [
        doc.MixtureDocument(moved=[] if moved == "old" else moved.split(" + "), value=value, served=served)
        for moved, value, served in zip(*map(numbers, ("mixture", "mixture_value", "mixture_served")), strict=True)
    ]
    baselines = [
        doc.BaselineDocument(baseline=str(name), ratio=plain(ratio))
        for name, ratio in zip(ds["baseline"].values, ds["baseline_ratio"].values, strict=True)
    ]
    return doc.CompareDocument(
        provenance=rows.attrs,
        columns=[ColumnDocument(name=c.name, unit=c.unit, meaning=c.meaning) for c in rows.columns],
        rows=list(rows.rows()),
        file=None if out is None else str(out),
        measure=ds.attrs["measure"],
        interactivity=numbers("interactivity"),
        at=float(ds.attrs["at"]),
        at_reported=_known(ds, "at_reported"),
        ratio=_known(ds, "ratio"),
        undefined=ds.attrs.get("undefined", ""),
        factors=factors,
        mixtures=mixtures,
        baselines=baselines,
        claim=None if rerun is None else _claim(rerun),
    )


def _known(ds: xr.Dataset, name: str) -> float | None:
    return float(ds.attrs[name]) if ds.attrs.get(name) else None


def _claim(rerun: Rerun) -> Any:
    from roofline.cli import compare_documents as doc

    claim = rerun.study.claim
    return doc.ClaimDocument(
        name=rerun.study.name,
        says=claim.says,
        source=claim.source,
        notes=claim.notes,
        sums=[
            doc.SumDocument(what=s.what, how=s.how, value=s.value, unit=s.units, published=s.published)
            for s in rerun.sums
        ],
        places=[doc.PlaceDocument(what=p.what, value=p.value, at=list(p.at)) for p in rerun.places],
        factors={name: (ours if ours == ours else None, theirs) for name, (ours, theirs) in rerun.factors.items()},
        watts_left={f"{x:g}": watts for x, watts in rerun.watts_left.items()},
    )
