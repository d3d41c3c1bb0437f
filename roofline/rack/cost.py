"""What a token costs in money, carbon and water: equations (1) to (5) of docs/site.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.serving.service import number
from roofline.specs import list_specs
from roofline.specs.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

JOULES_PER_KWH = 3.6e6
HOURS_A_YEAR = 365.0 * 24.0
HOURS_A_DAY = 24.0
SECONDS_AN_HOUR = 3600.0
MILLION = 1e6

DEFAULT_PRICES = "semianalysis-v1"
DEFAULT_TIER = "hyperscaler"

Each = float | Mapping[str, float]
"""One number for all accelerators, or one for each by its id."""

WAYS = ("prices", "usd_per_accelerator_hour", "usd_per_accelerator")
"""Fields of a bill that say what hardware costs; one of them."""


def annuity(paid: float, years: float, rate: float) -> float:
    """What is due each year for a sum paid at once [USD/year]: equation (1).

    paid : USD.   years : of use, then worth nothing.   rate : discount rate a year; 0 spreads the sum evenly.
    """
    if rate == 0.0:
        return paid / years
    return float(paid * rate / -np.expm1(-years * np.log1p(rate)))


@dataclass(frozen=True)
class Bill:
    """What a site pays, and what it emits and draws for a kWh.

    Hardware is one of three: `prices` with a tier, `usd_per_accelerator_hour`, or `usd_per_accelerator`, paid once.

    prices : a sheet of prices, its name, path or mapping; default SemiAnalysis InferenceX, first vintage.
    tier : kind of buyer, of a sheet of prices by the hour; default hyperscaler.
    usd_per_accelerator_hour : with its share of host and network, without energy [USD/h].
    usd_per_accelerator : paid once, with its share of host, network and hall [USD].
    lifetime_years, discount_rate, operations_share : of what is paid once: years of use, rate a year, and what its
        operation takes each year as a share of it, energy apart.
    usd_per_kwh : price of energy at the facility's meter.
    gco2e_per_kwh, water_l_per_kwh : of that energy where it is generated; None: not stated.
    wue_l_per_kwh : water that the facility evaporates for a kWh of the racks (WUE); None: not stated.
    sold_usd_per_mtok, sold_usd_per_mtok_input : what a million output and input tokens are sold for; None: not sold.

    Raises InputError naming field, value and fix.
    """

    prices: Prices | str | PathLike[str] | Mapping[str, Any] | None = None
    tier: str | None = None
    usd_per_accelerator_hour: Each | None = None
    usd_per_accelerator: Each | None = None
    lifetime_years: float = 5.0
    discount_rate: float = 0.08
    operations_share: float = 0.05
    usd_per_kwh: float = 0.07
    gco2e_per_kwh: float | None = None
    water_l_per_kwh: float | None = None
    wue_l_per_kwh: float | None = None
    sold_usd_per_mtok: float | None = None
    sold_usd_per_mtok_input: float | None = None

    def __post_init__(self) -> None:
        ways = [name for name in WAYS if self._given(name)]
        if len(ways) > 1:
            raise InputError(f"{', '.join(ways)}: all given; hardware is paid for in one of these ways")
        for name in WAYS[1:]:
            if self._given(name):
                object.__setattr__(self, name, _each(name, getattr(self, name)))
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name not in (*WAYS, "tier"):
                bound = {"above": 0.0} if field.name == "lifetime_years" else {"least": 0.0}
                object.__setattr__(self, field.name, number(field.name, value, **bound))
        if self.discount_rate >= 1.0:
            raise InputError(f"discount_rate = {self.discount_rate:g}: a share a year below 1; 8 % is 0.08")
        if self.operations_share > 1.0:
            raise InputError(f"operations_share = {self.operations_share:g}: a share a year up to 1; 5 % is 0.05")
        if ways in ([], ["prices"]):
            sheet = Prices.load(DEFAULT_PRICES if self.prices is None else self.prices)
            object.__setattr__(self, "prices", sheet)
            if sheet.tiers:
                tier = self.tier or (DEFAULT_TIER if DEFAULT_TIER in sheet.tiers else sheet.tiers[0])
                sheet.of_tier(tier)
                object.__setattr__(self, "tier", tier)
        if self.tier is not None and not (isinstance(self.prices, Prices) and self.prices.tiers):
            raise InputError(f"tier {self.tier!r}: of no prices by the hour; leave it out")

    @classmethod
    def of(cls, given: Mapping[str, Any], vintage: str | None = None) -> Bill:
        """A bill of its fields; prices that nobody chose are those of the vintage of provisioned watts, if there are.

        Raises InputError for an unknown field, and as `Bill`.
        """
        known = tuple(field.name for field in fields(cls))
        for name in given:
            if name not in known:
                raise InputError(f"bill: {name!r} is none of its fields; give {', '.join(known)}")
        if vintage in list_specs("prices") and not any(given.get(name) is not None for name in WAYS):
            given = {**given, "prices": vintage}
        return cls(**given)

    def check_vintage(self, vintage: str | None) -> None:
        """Raise InputError where watts and hourly prices are of two vintages, whose figures mean different things."""
        sheet = self.sheet
        if vintage is not None and sheet is not None and sheet.tiers and sheet.vintage != vintage:
            raise InputError(
                f"prices {sheet.id} are of vintage {sheet.vintage!r}, watts of {vintage!r}: the two are never mixed; "
                "give prices of that vintage, or your own by the hour"
            )

    def all_in_usd_per_hour(self, accelerators: Iterable[str]) -> dict[str, float]:
        """What each accelerator costs an hour, energy in it [USD/h], those that have a price.

        Raises InputError where hours of this bill do not hold their energy.
        """
        if not self.includes_energy:
            paid = self.attributes["hardware_prices"]
            raise InputError(
                f"prices {paid}: hold no energy, and what is compared here is the price of an hour with all in it; "
                "give a sheet whose hours hold it, or the price of an accelerator-hour"
            )
        found = {name: self.usd_per_hour(name) for name in accelerators}
        return {name: usd for name, usd in found.items() if not np.isnan(usd)}

    def _given(self, name: str) -> bool:
        return getattr(self, name) is not None

    @property
    def sheet(self) -> Prices | None:
        """The sheet of prices; None where prices are the user's own."""
        return self.prices if isinstance(self.prices, Prices) else None

    @property
    def includes_energy(self) -> bool:
        """Whether what hardware costs an hour holds the energy."""
        return self.sheet is not None and self.sheet.includes_energy

    def usd_per_hour(self, accelerator: str) -> float:
        """What an accelerator costs an hour, used or not [USD/h]; NaN where it has no price.

        With `includes_energy` that is all; else energy comes on top.
        """
        if self.usd_per_accelerator_hour is not None:
            return _of(self.usd_per_accelerator_hour, accelerator)
        if self.sheet is not None and self.sheet.tiers:
            return self.sheet.of_tier(str(self.tier)).get(accelerator, np.nan)
        once = self.sheet.usd_per_accelerator if self.sheet is not None else self.usd_per_accelerator
        paid = _of(once if once is not None else {}, accelerator)
        return (annuity(paid, self.lifetime_years, self.discount_rate) + self.operations_share * paid) / HOURS_A_YEAR

    def grade(self, accelerator: str) -> str:
        """Grade of that price; `estimated` where it is the user's own, an empty string where there is none."""
        if np.isnan(self.usd_per_hour(accelerator)):
            return ""
        return "estimated" if self.sheet is None else self.sheet.grade(accelerator, self.tier or "")

    def source(self, accelerator: str) -> str:
        """Where that price is from."""
        if self.sheet is None:
            return "given"
        path = f"usd_per_accelerator_hour.{self.tier}" if self.sheet.tiers else "usd_per_accelerator"
        found = self.sheet.source_of(f"{path}.{accelerator}")
        return "" if found is None else found.ref

    @property
    def usd_per_joule(self) -> float:
        """Price of energy [USD/J]."""
        return self.usd_per_kwh / JOULES_PER_KWH

    @property
    def attributes(self) -> dict[str, str]:
        """What a result says of it."""
        if self.sheet is not None:
            paid = f"{self.sheet.id}{f', {self.tier}' if self.tier else ''}"
        else:
            paid = "given by the hour" if self.usd_per_accelerator_hour is not None else "given, paid once"
        found = {"hardware_prices": paid, "usd_per_kwh": f"{self.usd_per_kwh:g}"}
        if self.sheet is not None:
            found["price_vintage"] = self.sheet.vintage
        if self.usd_per_accelerator is not None or (self.sheet is not None and not self.sheet.tiers):
            terms = f"{self.lifetime_years:g} years, {self.discount_rate:g} a year"
            found["capital"] = f"{terms}, operations {self.operations_share:g} a year"
        stated = ("gco2e_per_kwh", "water_l_per_kwh", "wue_l_per_kwh", "sold_usd_per_mtok", "sold_usd_per_mtok_input")
        return found | {name: f"{getattr(self, name):g}" for name in stated if self._given(name)}


@dataclass(frozen=True)
class Spent:
    """Money of the same time [USD].

    total, energy : all of it, and what is for energy.   prompts, energy_prompts : of each, what is for prompt tokens.
    """

    total: float
    energy: float
    prompts: float
    energy_prompts: float

    @property
    def hardware(self) -> float:
        """What is for accelerators and all around them, energy apart."""
        return self.total - self.energy

    def per_mtok(self, input_tokens: float, output_tokens: float) -> dict[str, float]:
        """USD per million tokens, by name: equations (3) and (4).

        usd_per_mtok puts all of it on the output tokens, _hardware and _energy are its parts; _total puts it on input
        and output tokens alike; _input and _output price each by what it takes, so that they pay for all of it.
        """
        output, prompts = MILLION / output_tokens, MILLION / input_tokens
        return {
            "usd_per_mtok": self.total * output,
            "usd_per_mtok_hardware": self.hardware * output,
            "usd_per_mtok_energy": self.energy * output,
            "usd_per_mtok_total": self.total * MILLION / (input_tokens + output_tokens),
            "usd_per_mtok_input": self.prompts * prompts,
            "usd_per_mtok_output": (self.total - self.prompts) * output,
        }


def spent(bill: Bill, accelerator_hours: Mapping[str, tuple[float, float]], kwh: tuple[float, float]) -> Spent:
    """What accelerators and energy cost: equation (2).

    accelerator_hours : of each kind of accelerator, those that stand and of them those charged to prompts [h].
    kwh : at the facility's meter, and of it what is charged to prompts [kWh].

    Where an hour holds its energy, hardware is what is left of it. Without a price all but energy is NaN; with unknown
    energy its part is NaN, and so is the total where an hour does not hold it.
    Raises InputError where energy costs more than the hours that hold it.
    """
    hourly = {name: bill.usd_per_hour(name) for name in accelerator_hours}
    total, prompts = (sum(hourly[name] * hours[at] for name, hours in accelerator_hours.items()) for at in (0, 1))
    energy, energy_prompts = (share * bill.usd_per_kwh for share in kwh)
    if bill.includes_energy and energy > total:
        listed = ", ".join(f"{name} {usd:g} USD/h" for name, usd in hourly.items())
        raise InputError(
            f"usd_per_kwh = {bill.usd_per_kwh:g}: energy costs more than the hour that is to hold it ({listed}); "
            "give a lower one, or usd_per_accelerator_hour, which is without energy"
        )
    if not bill.includes_energy:
        total, prompts = total + energy, prompts + energy_prompts
    return Spent(float(total), float(energy), float(prompts), float(energy_prompts))


def token_cost(
    bill: Bill, accelerator: str, tokens_per_s_per_gpu: Floats, joules_per_token: Floats, *, duty: float = 1.0
) -> tuple[Floats, Floats]:
    """Hardware and energy of a million tokens [USD] of accelerators that are all in replicas; arrays of any one shape.

    tokens_per_s_per_gpu : at work.   joules_per_token : at the facility's meter, idle energy of the duty in it.
    duty : share of the time at work; hardware is paid for all of it. Where an hour holds its energy, hardware is what
    is left of it.
    """
    energy = MILLION * bill.usd_per_joule * joules_per_token
    total = MILLION * bill.usd_per_hour(accelerator) / SECONDS_AN_HOUR / (duty * tokens_per_s_per_gpu)
    return (total - energy if bill.includes_energy else total), energy


def footprint(bill: Bill, facility_kwh: float, rack_kwh: float, output_tokens: float) -> dict[str, float]:
    """Carbon and water of an output token, those that the bill states an intensity of: equation (5).

    gco2e_per_token [g]; water_l_per_token [L]: what generation takes of facility energy and what the site evaporates
    for the energy of its racks.
    """
    found: dict[str, float] = {}
    if bill.gco2e_per_kwh is not None:
        found["gco2e_per_token"] = facility_kwh * bill.gco2e_per_kwh / output_tokens
    if bill.water_l_per_kwh is not None or bill.wue_l_per_kwh is not None:
        litres = facility_kwh * (bill.water_l_per_kwh or 0.0) + rack_kwh * (bill.wue_l_per_kwh or 0.0)
        found["water_l_per_token"] = litres / output_tokens
    return found


def _each(name: str, given: Any) -> Each:
    if isinstance(given, Mapping):
        if not given:
            raise InputError(f"{name}: names no accelerator; give e.g. {{h100-sxm: 2.0}}, or one number for all")
        return {str(key): number(f"{name}[{key}]", value, above=0.0) for key, value in given.items()}
    return number(name, given, above=0.0)


def _of(each: Each, accelerator: str) -> float:
    return each.get(accelerator, np.nan) if isinstance(each, Mapping) else each
