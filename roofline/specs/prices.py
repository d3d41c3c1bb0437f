"""Sheets of prices: what an accelerator costs by the hour, or once, by tier of buyer, of one vintage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, StrictBool, model_validator

from roofline.errors import InputError, unknown_name
from roofline.specs import quantity as q
from roofline.specs.records import Frozen, FrozenMap, Sheet, TextKeys

UsdPerHour = Annotated[float, q.Quantity("USD/h", 0.0, 1e4, open_low=True)]
Usd = Annotated[float, q.Quantity("USD", 0.0, 1e9, (("thousands", 1e3), ("millions", 1e6)), (1e3, 1e6), open_low=True)]


class Prices(Sheet):
    """Prices of accelerators, each with its share of host, network and hall, in USD of one vintage.

    Prices of two vintages are never compared; a tier is a kind of buyer.
    """

    kind_of_sheet: ClassVar[str] = "prices"

    vintage: Annotated[str, Field(min_length=1, description="which constants these are, as of provisioned watts")]
    includes_energy: Annotated[StrictBool, Field(description="whether an hour holds the energy it takes")]
    usd_per_accelerator_hour: Annotated[
        dict[str, Annotated[dict[str, UsdPerHour], TextKeys, Frozen]],
        Frozen,
        Field(default_factory=FrozenMap, description="tier -> accelerator -> USD an hour"),
    ]
    usd_per_accelerator: Annotated[
        dict[str, Usd],
        TextKeys,
        Frozen,
        Field(default_factory=FrozenMap, description="accelerator -> USD paid once"),
    ]

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.usd_per_accelerator_hour) == bool(self.usd_per_accelerator):
            raise ValueError("give either usd_per_accelerator_hour or usd_per_accelerator")
        if self.usd_per_accelerator and self.includes_energy:
            raise ValueError("includes_energy: what is paid once holds no energy; write false")
        return self

    @property
    def tiers(self) -> tuple[str, ...]:
        """Kinds of buyers; none where prices are paid once."""
        return tuple(self.usd_per_accelerator_hour)

    def of_tier(self, tier: str) -> Mapping[str, float]:
        """Accelerator -> USD an hour. Raises InputError for a tier the sheet does not have."""
        if tier not in self.usd_per_accelerator_hour:
            raise InputError(f"prices {self.id}: {unknown_name('tier', str(tier), self.tiers)}")
        return self.usd_per_accelerator_hour[tier]

    def grade(self, accelerator: str, tier: str = "") -> str:
        """published, measured or estimated; an empty string where there is no source."""
        path = f"usd_per_accelerator_hour.{tier}" if tier else "usd_per_accelerator"
        source = self.source_of(f"{path}.{accelerator}")
        return "" if source is None else source.grade
