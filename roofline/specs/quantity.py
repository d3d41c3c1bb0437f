"""Numbers of a sheet: unit, range, and the guess at the slip behind a value that is out of range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Slip = tuple[str, float]
"""What was perhaps written (a unit), and the factor from it to the sheet's own unit."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A pydantic annotation: a finite number of one unit within a range.

    low, high : float
        Values outside are refused. Wide enough for any what-if, narrow enough to catch a wrong unit.
    typical : (float, float)
        Where today's hardware lies: a slip is guessed only where its correction lands inside.
    open_low : bool
        `low` itself is refused.
    whole : bool
        Only whole numbers.
    """

    unit: str
    low: float
    high: float
    slips: tuple[Slip, ...] = ()
    typical: tuple[float, float] = (0.0, math.inf)
    open_low: bool = False
    whole: bool = False
    remark: str = ""

    @property
    def expected(self) -> str:
        """The accepted range in words."""
        number = "a whole number" if self.whole else "a number"
        unit = f" {self.unit}" if self.unit else ""
        low = f"above {self.low:g}" if self.open_low else f"from {self.low:g}"
        if math.isinf(self.high):
            return f"{number} {'above' if self.open_low else 'of at least'} {self.low:g}{unit}"
        return f"{number} {low} to {self.high:g}{unit}"

    def guess(self, value: float) -> str:
        """The likely slip behind a value out of range, or an empty string."""
        for written, factor in self.slips:
            if self.typical[0] <= value * factor <= self.typical[1]:
                return f"did you write {written}? then {value * factor:.6g}"
        return self.remark

    def check(self, value: Any) -> float | int:
        """The value, or a `PydanticCustomError` that names the expected range and the likely slip."""
        if isinstance(value, bool) or value is None:
            raise self._error("not a number", "")
        if isinstance(value, str):
            raise self._error("text, not a number", self._text_hint(value))
        if not isinstance(value, int | float):
            raise self._error("not a number", "")
        if not math.isfinite(value):
            raise self._error("not finite", "")
        if self.whole and value != int(value):
            raise self._error("not a whole number", "")
        if self.whole and isinstance(value, float):
            raise self._error("written as a decimal number", f"write {int(value)}")
        below = value <= self.low if self.open_low else value < self.low
        if below or value > self.high:
            negative = "drop the minus sign?" if value < 0 else ""
            raise self._error("out of range", negative or self.guess(value))
        return value if self.whole else float(value)

    def _text_hint(self, text: str) -> str:
        try:
            float(text)
        except ValueError:
            return "write a bare number; units stand in the documentation, not in the sheet"
        return f"remove the quotes: {text.strip()}"

    def _error(self, problem: str, hint: str) -> PydanticCustomError:
        return PydanticCustomError(
            "quantity", "{problem}: expected {expected}", {"problem": problem, "expected": self.expected, "hint": hint}
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema: dict[str, Any] = {"type": "integer" if self.whole else "number"}
        schema["exclusiveMinimum" if self.open_low else "minimum"] = self.low
        if math.isfinite(self.high):
            schema["maximum"] = self.high
        if self.unit:
            schema["description"] = f"[{self.unit}]"
        return schema


_WATT_SLIPS: tuple[Slip, ...] = (("kW", 1e3), ("MW", 1e6))
_RATE_SLIPS: tuple[Slip, ...] = (("GB/s", 1e9), ("TB/s", 1e12), ("MB/s", 1e6))

BytesPerSecond = Annotated[float, Quantity("B/s", 1e8, 1e18, _RATE_SLIPS, (5e10, 3e14))]
LinkBytesPerSecond = Annotated[
    float, Quantity("B/s, one direction per accelerator", 1e8, 1e18, (*_RATE_SLIPS, ("Gbit/s", 1.25e8)), (1e9, 1e13))
]
FlopPerSecond = Annotated[
    float,
    Quantity("FLOP/s, dense", 1e10, 1e20, (("TFLOP/s", 1e12), ("PFLOP/s", 1e15), ("GFLOP/s", 1e9)), (2e13, 1e17)),
]
MemoryBytes = Annotated[float, Quantity("B", 1e8, 1e16, (("GB", 1e9), ("TB", 1e12), ("MB", 1e6)), (2e8, 2e12))]
CacheBytes = Annotated[float, Quantity("B", 1e4, 1e12, (("MB", 1e6), ("GB", 1e9), ("kB", 1e3)), (1e6, 1e10))]
ReserveBytes = Annotated[float, Quantity("B", 0.0, 1e15)]
Watts = Annotated[float, Quantity("W", 5.0, 1e9, _WATT_SLIPS, (30.0, 1e5))]
IdleWatts = Annotated[float, Quantity("W", 0.0, 1e9, open_low=True)]
SystemWatts = Annotated[float, Quantity("W", 50.0, 1e12, _WATT_SLIPS, (300.0, 1e7))]
# Left out where undisclosed, so that the default None stands; a null that was written is refused as no number.
WattsIfKnown = Annotated[float | None, get_args(Watts)[1]]
IdleWattsIfKnown = Annotated[float | None, get_args(IdleWatts)[1]]
SystemWattsIfKnown = Annotated[float | None, get_args(SystemWatts)[1]]
NetworkWatts = Annotated[float, Quantity("W", 0.0, 1e9, (("kW", 1e3),))]
HostWatts = Annotated[float, Quantity("W", 0.0, 1e9, (("kW", 1e3),), (30.0, 1e7))]
Seconds = Annotated[float, Quantity("s", 0.0, 1e-2, (("microseconds", 1e-6), ("milliseconds", 1e-3)), (1e-9, 1e-3))]
HostSeconds = Annotated[float, Quantity("s", 0.0, 10.0, (("microseconds", 1e-6), ("milliseconds", 1e-3)), (1e-7, 1.0))]
Share = Annotated[float, Quantity("", 0.0, 1.0, (("a percentage", 1e-2),), (0.01, 1.0), open_low=True)]
ShareOrNone = Annotated[float, Quantity("", 0.0, 1.0, (("a percentage", 1e-2),))]
Pue = Annotated[float, Quantity("", 1.0, 10.0, remark="PUE is total over IT power, never below 1")]
Coefficient = Annotated[float, Quantity("", 0.0, 1e3, open_low=True)]
Skew = Annotated[float, Quantity("", 1.0, 1e3, remark="the fullest rank never holds less than its expectation")]
Parameters = Annotated[float, Quantity("parameters", 1e6, 1e15, (("billions", 1e9),), (1e8, 1e13))]
Count = Annotated[int, Quantity("", 1, 1e9, whole=True)]
CountOrNone = Annotated[int, Quantity("", 0, 1e9, whole=True)]
Year = Annotated[int, Quantity("", 1990, 2100, whole=True)]
