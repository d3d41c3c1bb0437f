"""`roofline site`: what a site of a given power serves, draws, earns and costs with each system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.cli import options as opt
from roofline.cli import site_options as own
from roofline.cli.numbers import names, shares, whole_numbers
from roofline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

HEADERS = {
    "systems": "systems",
    "output_tokens_per_s": "output tok/s",
    "output_tokens_per_day": "output tok/day",
    "tokens_per_mwh": "tokens/MWh",
    "joules_per_token_at_boundary": "J/token",
    "usd_per_mtok": "$/Mtok",
    "usd_per_mtok_hardware": "hardware",
    "usd_per_mtok_energy": "energy",
    "usd_per_mtok_input": "$/Mtok in",
    "usd_per_mtok_output": "$/Mtok out",
    "revenue_per_day": "revenue/day",
    "margin_per_day": "margin/day",
    "gco2e_per_token": "gCO2e/token",
    "water_l_per_token": "L/token",
    "power_left": "power left",
}
"""Columns of the table for people."""

IMPORTANT = ("system", "output tok/s", "tokens/MWh", "$/Mtok", "J/token", "systems", "mode", "output tok/day")


def site(
    power: own.Power,
    model: own.Model = own.DEFAULT_MODEL,
    systems: own.Systems = own.DEFAULT_SYSTEMS,
    recipe: opt.Recipes = None,
    isl: own.Isl = None,
    osl: own.Osl = None,
    workload: opt.Workloads = None,
    spread: opt.Spread = None,
    cached: opt.Cached = None,
    load: own.Load = None,
    ttft: opt.Ttft = None,
    tpot: opt.Tpot = None,
    latency: opt.Latency = None,
    percentile: opt.Percentile = None,
    slo: opt.Slos = None,
    objective: own.ObjectiveOption = own.SiteObjective.TOKENS_PER_MWH,
    mode: opt.Modes = None,
    prefill_system: opt.PrefillSystems = None,
    ffn_system: opt.FfnSystems = None,
    max_accelerators: opt.MostAccelerators = None,
    acceptance: opt.TriedDrafts = None,
    chunk: opt.TriedChunks = None,
    stack: opt.StackOption = "default",
    basis: opt.BasisOption = opt.Basis.METERED,
    vintage: opt.VintageOption = None,
    facility: own.FacilityOption = None,
    pue: own.PueOption = None,
    prices: opt.PriceSheet = None,
    tier: opt.Tier = None,
    usd_per_gpu_hour: own.UsdPerHour = None,
    usd_per_gpu: own.UsdPerGpu = None,
    lifetime: own.Lifetime = 5.0,
    discount: own.Discount = 0.08,
    operations: own.Operations = 0.05,
    usd_per_kwh: own.UsdPerKwh = 0.07,
    carbon: own.Carbon = None,
    water: own.Water = None,
    wue: own.Wue = None,
    sell: own.Sell = None,
    sell_input: own.SellInput = None,
    out: opt.Out = None,
    day_out: own.DayOut = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """The same power with each system: tokens, energy, money, each at the plan that is best for it.

    --basis says how systems are counted: metered, what they draw at work, or provisioned, what is set aside for them.
    What is drawn and paid is metered at the facility. --out x.png draws tokens/s, a bar a system.
    """
    from roofline.cli import asked
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import PICTURES, check_writable, save, save_figure, suffix_of
    from roofline.report.same_power import MOST_MODELS, day, same_power

    for path, known in ((out, None), (day_out, PICTURES)):
        if path is not None:
            suffix_of(path, *(() if known is None else (known,)))
            check_writable(path)
    shapes = names(model, "model")
    workloads = asked.workloads(_lengths(isl, osl, workload), spread, cached, None)
    limits = asked.slos(ttft, tpot, latency, percentile, slo)
    for option, path, most in (("--out", out, MOST_MODELS), ("--day-out", day_out, 1)):
        if path is not None and suffix_of(path) in PICTURES:
            _drawable(f"{option} {path}", {"models": shapes, "workloads": workloads, "SLOs": limits}, most)
    given: dict[str, Any] = {"objective": objective.value}
    given |= {} if not mode else {"modes": [one.value for one in mode]}
    given |= {} if acceptance is None else {"acceptance": shares(acceptance, "--acceptance")}
    given |= {} if chunk is None else {"chunk": whole_numbers(chunk, "--chunk")}
    with sheets_of(specs), waiting("searching (the first run compiles the kernels)") as say:
        from roofline.planning.site import site as of_power

        bill = {
            "prices": prices,
            "tier": tier,
            "usd_per_accelerator_hour": usd_per_gpu_hour,
            "usd_per_accelerator": usd_per_gpu,
            "lifetime_years": lifetime,
            "discount_rate": discount,
            "operations_share": operations,
            "usd_per_kwh": usd_per_kwh,
            "gco2e_per_kwh": carbon,
            "water_l_per_kwh": water,
            "wue_l_per_kwh": wue,
            "sold_usd_per_mtok": sell,
            "sold_usd_per_mtok_input": sell_input,
        }
        ds = of_power(
            shapes,
            names(systems, "system"),
            None if recipe is None else names(recipe, "recipe"),
            power=power,
            workload=workloads,
            slo=limits,
            load=None if load is None else _load(load),
            bill=bill,
            basis=basis.value,
            vintage=vintage,
            facility=facility,
            pue=None if pue is None else _pue(pue),
            stack=stack,
            prefill_systems=None if prefill_system is None else names(prefill_system, "system"),
            ffn_systems=None if ffn_system is None else names(ffn_system, "system"),
            most_accelerators=max_accelerators,
            progress=lambda done, of: say(f"searching: {done} of {of} models"),
            **given,
        )
        if out is not None:
            save(ds, out, draw=same_power)
        if day_out is not None:
            save_figure(day(ds), day_out)
    if as_json:
        print_json(_document(ds, out, day_out))
    else:
        _show(ds, [path for path in (out, day_out) if path is not None])


def _drawable(what: str, asked: dict[str, Any], models: int) -> None:
    """Raise InputError, before anything is searched, where a picture cannot show all that is asked."""
    for name, listed in asked.items():
        most = models if name == "models" else 1
        if len(listed) > most:
            fix = "fewer models" if name == "models" else "one of them"
            raise InputError(f"{what}: a picture shows {most} of {len(listed)} {name}; give {fix}, or --out x.csv")


def _lengths(isl: str | None, osl: str | None, workload: list[str] | None) -> list[str] | None:
    """Workloads as written. Raises InputError where lengths are given twice, or one of them alone."""
    if isl is None and osl is None:
        return workload
    if workload:
        raise InputError("--workload and --isl, --osl: give one of them")
    if isl is None or osl is None:
        raise InputError(f"{'--osl' if isl is None else '--isl'}: give {'--isl' if isl is None else '--osl'} too")
    return [f"{isl}/{osl}"]


def _load(text: str) -> float | list[float] | str:
    """A share or 24 of them as numbers; a name or a path as it stands."""
    pieces = [piece.strip() for piece in text.split(",")]
    try:
        found = [float(piece) for piece in pieces]
    except ValueError:
        return text.strip()
    return found[0] if len(found) == 1 else found


def _pue(text: str) -> float | list[tuple[float, float]]:
    """A number, or points of load and PUE. Raises InputError."""
    try:
        if ":" not in text:
            return float(text)
        pairs = [piece.split(":") for piece in text.split(",")]
        return [(float(load), float(value)) for load, value in pairs]
    except ValueError:
        raise InputError(f"--pue {text}: write a number as 1.25, or points of load and PUE as 0.3:1.6,1:1.3") from None


def _document(ds: xr.Dataset, out: Path | None, day_out: Path | None) -> Any:
    from roofline.cli.documents import ColumnDocument
    from roofline.cli.site_documents import HourDocument, SiteDocument
    from roofline.planning.site import by_hour
    from roofline.report.tables import table

    rows = table(ds)
    varies = bool((ds["load"].max("hour") > ds["load"].min("hour")).any())
    hours = [HourDocument.model_validate(row) for row in _hours(by_hour(ds))] if varies else []
    return SiteDocument(
        provenance=rows.attrs,
        columns=[ColumnDocument(name=c.name, unit=c.unit, meaning=c.meaning) for c in rows.columns],
        rows=list(rows.rows()),
        hours=hours,
        file=None if out is None else str(out),
        day_file=None if day_out is None else str(day_out),
    )


def _hours(hours: xr.Dataset) -> list[dict[str, Any]]:
    from roofline.report.tables import table

    wanted = ("model", "system", "workload", "slo", "hour", "load", "power", "output_tokens_per_s")
    return [{name: row[name] for name in wanted} for row in table(hours).rows()]


def _show(ds: xr.Dataset, files: list[Path]) -> None:
    from roofline.cli.output import print_cells
    from roofline.report import bands
    from roofline.report.plots import basis_line
    from roofline.report.same_power import systems_in_words
    from roofline.report.tables import number, table

    rows = table(ds)
    units = {column.name: column.unit for column in rows.columns}
    dims = [name for name in ("model", "system", "workload", "slo") if ds.sizes[name] > 1 or name == "system"]
    shown = [name for name in HEADERS if name in units]
    cells, said = [], []
    for row in rows.rows():
        label = " ".join(str(row[name]) for name in dims)
        words = {name: number(row[name], units[name]) for name in shown} | {"systems": systems_in_words(row)}
        cells.append([*(str(row[name]) for name in (*dims, "mode")), *words.values()])
        said += [f"{label}: {row[name]}" for name in ("site_reason", "rack_limited") if row[name]]
        if not row["price_grade"] and not row["site_reason"]:
            said.append(f"{label}: no price of its accelerator; give --usd-per-gpu-hour or --usd-per-gpu")
        if row["price_grade"] == "estimated" and "price_vintage" in ds.attrs:  # not for a price of the user's own
            said.append(f"{label}: the price of its accelerator is estimated")
    fixed = {name: ds[name].values[0] for name in ("model", "workload", "slo") if name not in dims}
    title = "  ".join([number(float(ds.attrs["site_power_w"]), "W"), *(f"{k} {v}" for k, v in fixed.items())])
    print_cells(
        [*dims, "mode", *(HEADERS[name] for name in shown)],
        cells,
        left=[True] * (len(dims) + 1) + [False] * len(shown),
        title=title,
        importance=[*dims, *IMPORTANT],
        elsewhere="--json, --out x.csv",
    )
    attrs = ds.attrs
    capital = f" ({attrs['capital']})" if "capital" in attrs else ""
    said.append(f"systems counted: {attrs['filled_by']}; mean load {float(attrs['duty'].split(',')[0]):.0%}")
    if "pue_by_load" in attrs:
        said.append(f"PUE by load of the racks: {attrs['pue_by_load']}")
    said.append(f"prices: {attrs['hardware_prices']}{capital}; energy {attrs['usd_per_kwh']} USD/kWh")
    print("\n".join([*said, *bands.lines(ds), basis_line(attrs), *(f"written to {path}" for path in files)]))
