"""The clock and voltage of an accelerator below its rated ones, and the fastest clock at which a draw meets a cap.

Equations (1) to (4) of docs/power-cap.md. At the rated clock the draw is the metered one, (16) of docs/equations.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HALVINGS = 36
"""Of the interval of clocks: leaves 1e-11 of it."""


class Band(NamedTuple):
    """A number nobody publishes: what is taken, how far off it may be, and why."""

    value: float
    low: float
    high: float
    why: str


BANDS = {
    "slope": Band(
        0.7, 0.4, 1.0,
        "desktop parts of the same processes go from 0.65 V when idle to 0.90 to 1.05 V at boost; just below the top "
        "voltage falls about as fast as the clock",
    ),
    "least_voltage": Band(
        0.7, 0.6, 0.85, "0.65 V over 0.90 to 1.05 V is 0.62 to 0.72; parts run with large margins lie higher"
    ),
    "least_clock": Band(
        0.3, 0.15, 0.5, "parts can be locked far lower, but firmware under a cap and kernels tuned near the top cannot"
    ),
    "static_share": Band(
        0.2, 0.1, 0.35, "leakage of logic at work, hot, as shares of its power are given for processes of 5 to 7 nm"
    ),
    "hbm_pj_per_bit": Band(
        3.92, 2.5, 6.0,
        "3.92 pJ/bit of an access to HBM2, both ends of the interface: O'Connor et al., MICRO-50, 2017; later stacks "
        "take less, controllers and what crosses the die are not in it",
    ),
    "gddr_pj_per_bit": Band(8.0, 5.0, 14.0, "between HBM and the 14 pJ/bit that the same source gives for GDDR5"),
}  # fmt: skip
"""All grade `estimated`. SRAM is on the die, at the voltage of the logic: no part of its draw stays."""


@dataclass(frozen=True)
class Clock:
    """How draw follows the clock.   Raises InputError for a number that is none or out of range.

    slope : b of v = a + b*clock, over rated voltage and clock; a = 1 - b, as v = 1 at the rated clock.
    least_voltage, least_clock : v_min and phi_min, over the rated ones.
    static_share : of the watts of logic at work, what flows whether or not it switches.
    hbm_pj_per_bit, gddr_pj_per_bit : energy of a bit read from or written to memory [pJ], which keeps its clock.
    """

    slope: float = BANDS["slope"].value
    least_voltage: float = BANDS["least_voltage"].value
    least_clock: float = BANDS["least_clock"].value
    static_share: float = BANDS["static_share"].value
    hbm_pj_per_bit: float = BANDS["hbm_pj_per_bit"].value
    gddr_pj_per_bit: float = BANDS["gddr_pj_per_bit"].value

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            above = one.name in ("least_voltage", "least_clock")  # what draw and time are divided by
            most = 1e3 if one.name.endswith("per_bit") else 1.0
            real = isinstance(value, int | float) and not isinstance(value, bool)
            if not real or not 0.0 <= value <= most or (above and value == 0.0):
                least = "above 0 and" if above else "of at least 0 and"
                said = f"give a number {least} at most {most:g}, e.g. {BANDS[one.name].value}"
                raise InputError(f"clock.{one.name} = {value!r}: {said}")

    @classmethod
    def of(cls, given: Clock | Mapping[str, float] | None) -> Clock:
        """A clock, or its numbers that are not the default ones, by name. Raises InputError for what is neither."""
        if given is None or isinstance(given, Clock):
            return given or cls()
        if not isinstance(given, Mapping):
            raise InputError(f"clock = {given!r}: give numbers by name, e.g. {{'slope': 0.5}}")
        for name in given:
            if name not in BANDS:
                raise unknown_name("number of the clock", str(name), BANDS)
        return cls(**given)

    def voltage(self, clock: Floats) -> Floats:
        """v over the rated voltage: (1). Exactly 1 at the rated clock."""
        found: Floats = np.maximum(self.least_voltage, 1.0 - self.slope * (1.0 - clock))
        return found

    def memory_w(self, kind: str, bytes_per_s: Floats) -> Floats:
        """Watts of memory of a kind (`HBM3e`) that moves so much [W]."""
        start = kind.upper()
        bit = 0.0 if start.startswith("SRAM") else self.hbm_pj_per_bit
        if start.startswith(("GDDR", "LPDDR", "DDR")):
            bit = self.gddr_pj_per_bit
        found: Floats = 8e-12 * bit * bytes_per_s
        return found


@dataclass(frozen=True)
class Work:
    """What is run again and again, at the rated clock, float64[n] each.

    time_s : of one run [s].   watts : metered draw (16).   memory_w : that of memory, at most what is above idle.
    idle_w : draw without work.
    """

    time_s: Floats
    watts: Floats
    memory_w: Floats
    idle_w: Floats

    def watts_at(self, clock: Floats, time_s: Floats, model: Clock) -> Floats:
        """Draw at a clock where a run takes time_s: (3). Exactly `watts` at the rated clock."""
        above = self.watts - self.idle_w
        memory = np.minimum(self.memory_w, above)
        logic, v, rate = above - memory, model.voltage(clock), self.time_s / time_s
        still, moving = model.static_share, 1.0 - model.static_share
        found = self.idle_w + logic * (still * v + moving * v * v * rate) + memory * rate
        return np.where(clock == 1.0, self.watts, found)


@dataclass(frozen=True)
class Phase:
    """What runs under a cap, float64[n] each; NaN clock, time and watts where even the least clock draws more.

    rated_w, rated_s : without a cap.   least_w : at the least clock.
    """

    clock: Floats
    time_s: Floats
    watts: Floats
    rated_w: Floats
    rated_s: Floats
    least_w: Floats


def fastest(work: Work, time_at: Callable[[Floats], Floats], caps_w: Floats, model: Clock) -> Phase:
    """The fastest clock of each variant at which work draws no more than its cap [W]: (4).

    time_at : time of a run at clocks, float64[n] -> float64[n]; never shorter at a lower one.
    Draw falls with the clock, as voltage and runs a second do, so that halving the interval finds the only crossing;
    every cap meets the same halves: a looser cap is never slower, to the bit.
    """
    size = caps_w.shape
    low, high = np.full(size, model.least_clock), np.ones(size)
    least_w = work.watts_at(low, time_at(low), model)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        meets = work.watts_at(middle, time_at(middle), model) <= caps_w
        low, high = np.where(meets, middle, low), np.where(meets, high, middle)
    free, runs = work.watts <= caps_w, least_w <= caps_w
    clock = np.where(free, 1.0, low)
    taken = np.where(free, work.time_s, time_at(clock))
    runs = (runs | free) & ~np.isnan(work.watts)
    watts = np.where(free, work.watts, work.watts_at(clock, taken, model))
    found = (np.where(runs, value, np.nan) for value in (clock, taken, watts))
    clock, taken, watts = found
    return Phase(clock, taken, watts, work.watts, work.time_s, least_w)
