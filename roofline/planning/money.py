"""The objective of least USD per million output tokens: prices of accelerator-seconds and joules for equation (25)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError, unknown_name
from roofline.grid import axes
from roofline.planning.objective import OBJECTIVES, Objective
from roofline.rack.cost import MILLION, SECONDS_AN_HOUR, Bill
from roofline.rack.energy import check
from roofline.serving.service import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.rack.energy import Basis, Boundary
    from roofline.specs import System

USD_PER_MTOK = "usd_per_mtok"
PRICED = {USD_PER_MTOK: "least USD per million output tokens"}
"""Objectives that take a bill: by name, what is best."""


def bill_of(given: Bill | Mapping[str, Any] | None, vintage: str | None = None) -> Bill:
    """A bill, or one of its fields; prices that nobody chose are those of the vintage, if there are.

    Raises InputError for what is neither, and as `Bill`.
    """
    if isinstance(given, Bill):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"bill = {given!r}: give a Bill, or its fields by name, e.g. {{'usd_per_kwh': 0.07}}")
    return Bill.of(given or {}, vintage)


def objective_of(
    name: str,
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    vintage: str | None = None,
    bill: Bill | Mapping[str, Any] | None = None,
    duties: Sequence[float] = (1.0,),
) -> Objective:
    """The objective of a name; of `PRICED` ones by a bill or its fields, default `Bill()`.

    duties : of the workloads it is for. Raises InputError for an unknown name, as the objective's class, for a bill
    that the objective does not read, and for several duties where hardware is paid for all of the time.
    """
    if name in PRICED:
        if len({*duties}) > 1:
            listed = ", ".join(f"{duty:g}" for duty in duties)
            raise InputError(f"objective {name}: workloads of duties {listed}; plan for one duty at a time")
        return UsdPerMtok(name, boundary, basis, vintage, bill_of(bill), duties[0])
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise unknown_name("objective", str(name), {*OBJECTIVES, *PRICED})
    if bill is not None:
        raise InputError(f"bill: objective {name} reads none; leave it out, or seek {USD_PER_MTOK}")
    return Objective(name, boundary, basis, vintage)


@dataclass(frozen=True)
class UsdPerMtok(Objective):
    """Least USD per million output tokens, the cost of (25) itself.

    bill : what is paid.   duty : share of the time in which work is offered: hardware is paid for all of it.

    Accelerators that a system has beside its replicas are not in the cost of a candidate; `site` charges them.
    Raises InputError as `Objective`, and for a duty outside (0, 1].
    """

    name: str = USD_PER_MTOK
    bill: Bill = field(default_factory=Bill)
    duty: float = 1.0

    def __post_init__(self) -> None:
        if self.name != USD_PER_MTOK:
            raise InputError(f"objective {self.name!r}: this one is {USD_PER_MTOK}")
        check(self.boundary, self.basis, number("duty", self.duty, above=0.0), self.vintage)

    @property
    def by_energy(self) -> bool:
        """Whether watts decide: not where an hour of hardware holds its energy."""
        return not self.bill.includes_energy and self.bill.usd_per_kwh > 0.0

    def prices(self, systems: Sequence[System]) -> NDArray[np.float64]:
        """alpha [USD per million accelerator-seconds at work] and beta [USD per MJ], float64[systems, 2].

        Raises InputError for an accelerator without a price.
        """
        found = np.empty((len(systems), 2))
        for row, system in zip(found, systems, strict=True):
            kind = axes.label(system.accelerator)
            hourly = self.bill.usd_per_hour(kind)
            if np.isnan(hourly):
                source = "the prices given" if self.bill.sheet is None else f"prices {self.bill.sheet.id}"
                raise InputError(f"{kind}: no price in {source}; give usd_per_accelerator_hour or usd_per_accelerator")
            row[0] = MILLION * hourly / SECONDS_AN_HOUR / self.duty
            row[1] = MILLION * self.bill.usd_per_joule if self.by_energy else 0.0
        return found

    @property
    def attributes(self) -> dict[str, str]:
        """What a result says of it."""
        return super().attributes | self.bill.attributes
