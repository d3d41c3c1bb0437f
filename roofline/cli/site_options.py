"""Options of `roofline site` that no other command has."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SiteObjective(StrEnum):
    """What is best for a site."""

    TOKENS_PER_MWH = "tokens_per_mwh"
    JOULES_PER_TOKEN = "joules_per_token"
    TOKENS_PER_S_PER_GPU = "tokens_per_s_per_gpu"
    USD_PER_MTOK = "usd_per_mtok"


DEFAULT_MODEL = "llama-3.3-70b"
DEFAULT_SYSTEMS = "hgx-h100,hgx-h200,hgx-b200,gb300-nvl72,vr-nvl72"

ObjectiveOption = Annotated[SiteObjective, typer.Option("--objective", help="What each system's plan is best in.")]
Power = Annotated[
    str, typer.Option("--power", metavar="P", help="Power of the site at the facility's meter: 1MW, 250kW, 1.2GW.")
]
Model = Annotated[
    str, typer.Option("--model", metavar="NAME[,...]", help="Models: names, paths of sheets, or a config.json.")
]
Systems = Annotated[
    str, typer.Option("--systems", metavar="NAME[,...]", help="Systems or accelerators: names or paths of sheets.")
]
Isl = Annotated[
    str | None, typer.Option("--isl", metavar="N", help="Prompt tokens, 8k is 8192; with --osl, for --workload.")
]
Osl = Annotated[
    str | None, typer.Option("--osl", metavar="N", help="Output tokens; with --isl in place of --workload.")
]
Load = Annotated[
    str | None,
    typer.Option(
        "--load",
        metavar="L",
        help="Load of the day: a share, 24 shares, a CSV with a column load, or flat, day, evening, office, night.",
    ),
]
FacilityOption = Annotated[
    str | None,
    typer.Option("--facility", metavar="NAME", help="Facility in place of each system's own: name or path of a sheet."),
]
PueOption = Annotated[
    str | None,
    typer.Option("--pue", metavar="X", help="PUE in place of that of each facility, or by load: 0.3:1.6,1:1.3."),
]
UsdPerHour = Annotated[
    float | None,
    typer.Option("--usd-per-gpu-hour", metavar="USD", help="Instead: an hour of an accelerator, without energy."),
]
UsdPerGpu = Annotated[
    float | None, typer.Option("--usd-per-gpu", metavar="USD", help="Instead: an accelerator, paid once, all in.")
]
Lifetime = Annotated[float, typer.Option("--lifetime", metavar="YEARS", help="Years of use of what is paid once.")]
Discount = Annotated[float, typer.Option("--discount", metavar="R", help="Discount rate a year, a share.")]
Operations = Annotated[
    float, typer.Option("--operations", metavar="S", help="Operation a year as a share of what is paid once.")
]
UsdPerKwh = Annotated[float, typer.Option("--usd-per-kwh", metavar="USD", help="Price of energy at the meter.")]
Carbon = Annotated[float | None, typer.Option("--carbon", metavar="G", help="Grams of CO2 equivalent of a kWh.")]
Water = Annotated[float | None, typer.Option("--water", metavar="L", help="Litres that generating a kWh takes.")]
Wue = Annotated[float | None, typer.Option("--wue", metavar="L", help="Litres that the site evaporates a kWh of IT.")]
Sell = Annotated[float | None, typer.Option("--sell", metavar="USD", help="What a million output tokens are sold for.")]
SellInput = Annotated[
    float | None, typer.Option("--sell-input", metavar="USD", help="What a million input tokens are sold for.")
]
DayOut = Annotated[
    Path | None, typer.Option("--day-out", metavar="FILE", help="Picture of the day: .png .svg .pdf, by suffix.")
]
