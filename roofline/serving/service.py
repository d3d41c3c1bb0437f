"""What a replica can do, what is asked of it and when: the inputs of the simulator and of the closed forms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.serving.tables import read_columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

GRID = 1024
"""Equally likely points that stand for a distribution in the closed forms."""

TRACE_COLUMNS = ("arrival_s", "isl", "osl")


def number(field: str, value: object, *, above: float | None = None, least: float | None = None) -> float:
    """`value` as a finite float within its bound. Raises InputError naming field and value."""
    bound = f" > {above:g}" if above is not None else f" >= {least:g}" if least is not None else ""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = np.nan
    wrong = not np.isfinite(found) or isinstance(value, bool)
    if wrong or (above is not None and found <= above) or (least is not None and found < least):
        raise InputError(f"{field} = {value!r}: give a finite number{bound}")
    return found


def whole(field: str, value: object, *, least: int = 1) -> int:
    """`value` as an int >= least. Raises InputError naming field and value."""
    found = number(field, value, least=least)
    if found != int(found):
        raise InputError(f"{field} = {value!r}: give a whole number")
    return int(found)


def vector(field: str, values: ArrayLike, *, least: float) -> Floats:
    """`values` as float64[n], n >= 1, finite and >= least. Raises InputError naming the first wrong element."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{field} = {values!r}: give numbers") from None
    if found.ndim != 1 or found.size == 0:
        raise InputError(f"{field}: has shape {found.shape}; give a list of at least one number")
    wrong = np.flatnonzero(~np.isfinite(found) | (found < least))
    if wrong.size:
        raise InputError(f"{field}[{wrong[0]}] = {found[wrong[0]]:g}: give finite numbers >= {least:g}")
    return found


@dataclass(frozen=True, eq=False)
class Service:
    """One replica, by the time of its steps.

    decode_s : float64[slots+1]   time of a step with b decoding sequences and no prompt beside them [s]; b = 0 is not
        run, it is where a part of a chunk beside nothing starts from.
    mixed_s : float64[slots+1]   the same with one full chunk of one prompt beside them [s], >= decode_s.
    chunk : tokens of a chunk.   slots : most sequences at once (KV capacity), those at their prompt included.
    ttft_constant_s : what the stack adds before a request reaches the scheduler [s].
    tokens_per_step : output tokens of a sequence a step, tau >= 1 (more than 1 with drafts, on the mean).

    A chunk that is not full costs its share of mixed_s - decode_s. Raises InputError naming field and value.
    """

    decode_s: Floats
    mixed_s: Floats
    chunk: int
    slots: int
    ttft_constant_s: float = 0.0
    tokens_per_step: float = 1.0

    def __post_init__(self) -> None:
        checked = {
            "decode_s": vector("decode_s", self.decode_s, least=0.0),
            "mixed_s": vector("mixed_s", self.mixed_s, least=0.0),
            "chunk": whole("chunk", self.chunk),
            "slots": whole("slots", self.slots),
            "ttft_constant_s": number("ttft_constant_s", self.ttft_constant_s, least=0.0),
            "tokens_per_step": number("tokens_per_step", self.tokens_per_step, least=1.0),
        }
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        for field in ("decode_s", "mixed_s"):
            size = checked[field].size  # type: ignore[attr-defined]
            if size != self.slots + 1:
                raise InputError(f"{field}: has {size} times for slots = {self.slots}; give slots + 1, from b = 0 on")
        if not (self.decode_s[1:] > 0.0).all() or self.mixed_s[0] <= 0.0:
            raise InputError("decode_s, mixed_s: a step that does something takes no time; give times > 0")
        wrong = np.flatnonzero(self.mixed_s < self.decode_s)
        if wrong.size:
            b = wrong[0]
            raise InputError(f"mixed_s[{b}] = {self.mixed_s[b]:g}: less than decode_s[{b}] = {self.decode_s[b]:g}")


@dataclass(frozen=True)
class Lognormal:
    """A lognormal number of tokens by its mean and coefficient of variation, rounded, at least 1."""

    mean: float
    cv: float

    def __post_init__(self) -> None:
        number("mean", self.mean, least=1.0)
        number("cv", self.cv, above=0.0)

    def of_normal(self, z: Floats) -> Floats:
        """Tokens at the standard normal deviates z."""
        variance = np.log1p(self.cv**2)
        tokens = np.rint(self.mean * np.exp(np.sqrt(variance) * z - variance / 2))
        return np.asarray(np.maximum(tokens, 1.0), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Requests:
    """Lengths of the requests.

    isl, osl : a whole number, a `Lognormal` (independent of each other), or both lists of equal length: pairs, each
        equally likely.   cached : prompt tokens found in the prefix cache; one at least is always computed.
    Raises InputError naming field and value.
    """

    isl: float | Lognormal | ArrayLike
    osl: float | Lognormal | ArrayLike
    cached: float = 0.0

    def __post_init__(self) -> None:
        number("cached", self.cached, least=0.0)
        listed = [field for field in ("isl", "osl") if not isinstance(getattr(self, field), (int, float, Lognormal))]
        for field in ("isl", "osl"):
            value = getattr(self, field)
            if field in listed:
                object.__setattr__(self, field, _tokens(field, value))
            elif not isinstance(value, Lognormal):
                whole(field, value)
        if listed and len(listed) < 2:
            raise InputError(f"{listed[0]}: is a list alone; give isl and osl both as lists (pairs), or neither")
        if listed and self.isl.size != self.osl.size:  # type: ignore[union-attr]
            sizes = f"{self.isl.size} and {self.osl.size}"  # type: ignore[union-attr]
            raise InputError(f"isl, osl: have {sizes} values; pairs need as many of each")

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """ISL and OSL of `count` requests, float64[count] each, whole numbers."""
        if isinstance(self.isl, np.ndarray) and isinstance(self.osl, np.ndarray):
            chosen = generator.integers(self.isl.size, size=count)
            return self.isl[chosen], self.osl[chosen]
        isl, osl = (
            kind.of_normal(generator.standard_normal(count)) if isinstance(kind, Lognormal) else np.full(count, kind)
            for kind in (self.isl, self.osl)
        )
        return np.asarray(isl, dtype=np.float64), np.asarray(osl, dtype=np.float64)

    def points(self) -> tuple[Floats, Floats]:
        """Equally likely ISL and equally likely OSL that stand for the distribution, float64 each.

        Paired where they were given as pairs; else each by itself: midpoints of `GRID` equally likely intervals.
        """
        if isinstance(self.isl, np.ndarray) and isinstance(self.osl, np.ndarray):
            return self.isl, self.osl
        z = np.array([NormalDist().inv_cdf((i + 0.5) / GRID) for i in range(GRID)])
        isl, osl = (
            kind.of_normal(z) if isinstance(kind, Lognormal) else np.array([kind], dtype=np.float64)
            for kind in (self.isl, self.osl)
        )
        return np.asarray(isl, dtype=np.float64), np.asarray(osl, dtype=np.float64)

    def to_compute(self, isl: Floats) -> Floats:
        """Prompt tokens that are not in the prefix cache, >= 1."""
        return np.maximum(isl - self.cached, 1.0)


@dataclass(frozen=True)
class Closed:
    """A closed loop: each of `clients` sends its next request when its last one has ended."""

    clients: int

    def __post_init__(self) -> None:
        whole("clients", self.clients)


@dataclass(frozen=True)
class Open:
    """Renewal arrivals: `rate` requests a second; inter-arrival times gamma with coefficient of variation `cv`.

    cv 1 is a Poisson process, 0 a clock.
    """

    rate: float
    cv: float = 1.0

    def __post_init__(self) -> None:
        number("rate", self.rate, above=0.0)
        number("cv", self.cv, least=0.0)

    def draw(self, count: int, generator: np.random.Generator) -> Floats:
        """Arrival times [s], float64[count], from 0 on."""
        if self.cv == 0.0:
            return np.arange(count, dtype=np.float64) / self.rate
        shape = 1.0 / self.cv**2
        return np.cumsum(generator.gamma(shape, 1.0 / (shape * self.rate), size=count))


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests as they came: arrival [s] (not falling), ISL and OSL of each; `cached` as in `Requests`."""

    arrival_s: Floats
    isl: Floats
    osl: Floats
    cached: float = 0.0

    def __post_init__(self) -> None:
        number("cached", self.cached, least=0.0)
        object.__setattr__(self, "arrival_s", vector("arrival_s", self.arrival_s, least=0.0))
        object.__setattr__(self, "isl", _tokens("isl", self.isl))
        object.__setattr__(self, "osl", _tokens("osl", self.osl))
        sizes = {field: getattr(self, field).size for field in TRACE_COLUMNS}
        if len(set(sizes.values())) > 1:
            raise InputError(f"arrival_s, isl, osl: have {', '.join(map(str, sizes.values()))} values; give as many")
        back = np.flatnonzero(np.diff(self.arrival_s) < 0.0)
        if back.size:
            i = back[0] + 1
            raise InputError(f"arrival_s[{i}] = {self.arrival_s[i]:g}: earlier than the one before; sort the trace")

    @classmethod
    def read(cls, path: str | Path, cached: float = 0.0) -> Trace:
        """A CSV or Parquet file with columns arrival_s, isl, osl. Raises InputError naming file, line and field."""
        source = Path(path)
        columns, _ = read_columns(source, TRACE_COLUMNS)
        try:
            return cls(columns["arrival_s"], columns["isl"], columns["osl"], cached)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None


def _tokens(field: str, values: ArrayLike) -> Floats:
    found = vector(field, values, least=1.0)
    wrong = np.flatnonzero(found != np.rint(found))
    if wrong.size:
        raise InputError(f"{field}[{wrong[0]}] = {found[wrong[0]]:g}: give whole numbers of tokens")
    return found
