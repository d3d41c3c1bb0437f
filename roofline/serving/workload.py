"""What is asked of a deployment: lengths of requests, shared prefixes, arrivals and load over the day."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import ValidationError

from roofline.errors import InputError, unknown_name
from roofline.serving import lengths
from roofline.serving.lengths import Pairs
from roofline.serving.presets import PRESETS
from roofline.serving.service import Closed, Lognormal, Open, Requests, number, whole
from roofline.serving.tables import SUFFIXES
from roofline.specs import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Length = int | Lognormal | Sequence[int] | Mapping[str, float] | Floats

HOURS = 24
STRATA = 128
"""Equally likely intervals of each lognormal in `nodes`: their means are exact, so only their spread is cut."""

TERMS = 4096
"""Chunks of a lognormal prompt that are summed one by one; longer prompts add an integral."""

_INSTEAD = {
    "cached": ("cached_share",),
    "cached_share": ("cached",),
    "concurrency": ("rate", "rate_cv"),
    "rate": ("concurrency",),
}
"""Keywords that a keyword takes the place of."""

_MULTIPLES = {"": 1, "k": 1024, "m": 1024**2}
_TOKENS = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)|nan|[-+]?inf)([km]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Workload:
    """Requests: lengths, prefix, arrivals, load.

    isl, osl : tokens; a whole number, a `Lognormal` (or its fields as a mapping; ISL and OSL are then independent), or
        two lists of equal length: pairs, each equally likely (osl None where isl is `Pairs` already).
    cached : tokens of the prompt found in the prefix cache, fewer than any prompt has; of a lognormal fewer than the
        mean, and a prompt that is no longer still has its last token computed.
    cached_share : the same as a share of each prompt, from 0 and below 1; one of the two.
    concurrency : clients of a closed loop.   rate : requests a second, in place of it.
    rate_cv : coefficient of variation of the times between arrivals; 1 Poisson, more is bursty.
    load : share of the time in which work is offered (the duty), or 24 of them, one an hour.
    source : where the lengths come from, of a preset.

    Raises InputError naming field and value.
    """

    isl: Length | Pairs
    osl: Length | None = None
    cached: int = 0
    cached_share: float = 0.0
    concurrency: int | None = None
    rate: float | None = None
    rate_cv: float = 1.0
    load: float | tuple[float, ...] = 1.0
    name: str = ""
    source: Source | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        isl, osl = _lengths(self.isl, self.osl)
        checked: dict[str, Any] = {
            "isl": isl,
            "osl": osl,
            "cached": whole("cached", self.cached, least=0),
            "cached_share": number("cached_share", self.cached_share, least=0.0),
            "concurrency": None if self.concurrency is None else whole("concurrency", self.concurrency),
            "rate": None if self.rate is None else number("rate", self.rate, above=0.0),
            "rate_cv": number("rate_cv", self.rate_cv, least=0.0),
            "load": _load(self.load),
            "source": _source(self.source),
        }
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        if self.cached and self.cached_share:
            raise InputError("cached, cached_share: both given; give one of them")
        if self.cached_share >= 1.0:
            raise InputError(f"cached_share = {self.cached_share:g}: give a share below 1; one token is computed")
        if self.concurrency is not None and self.rate is not None:
            raise InputError("concurrency, rate: both given; a closed loop has no rate of its own, so give one of them")
        if self.rate is None and self.rate_cv != 1.0:
            raise InputError(f"rate_cv = {self.rate_cv:g}: without a rate; give rate too")
        least = isl.shortest if isinstance(isl, Pairs) else lengths.mean(isl)
        if self.cached >= least:
            what = "the shortest isl" if isinstance(isl, Pairs) else "the mean isl" if self.spread else "isl"
            raise InputError(f"cached = {self.cached}: not below {what}, {least:g}; a token at least is computed")

    @classmethod
    def of(
        cls,
        source: Workload | Mapping[str, Any] | str | PathLike[str] | None = None,
        /,
        *,
        isl_cv: float = 0.0,
        osl_cv: float = 0.0,
        **changes: Any,
    ) -> Workload:
        """A workload of what a user writes, with keywords of `Workload` laid over it.

        source : a preset's name (`roofline.serving.presets`), "ISL/OSL" ("8k/1k", k is 1024), the path of a CSV or
            Parquet file with columns isl and osl, a mapping of keywords, or a workload.
        isl_cv, osl_cv : make a lognormal of that coefficient of variation from a length.
        Raises InputError for anything else, an unknown keyword too.
        """
        known = [field.name for field in fields(cls)]
        given = _given(source, known)
        for field in changes:
            for instead in _INSTEAD.get(field, ()):
                given.pop(instead, None)
        given |= changes
        for field in given:
            if field not in known:
                raise unknown_name("keyword of a workload", field, [*known, "isl_cv", "osl_cv"])
        for field, cv in (("isl", isl_cv), ("osl", osl_cv)):
            if number(f"{field}_cv", cv, least=0.0):
                given[field] = _spread(field, given.get(field), cv)
        if given.get("isl") is None:
            raise InputError("isl: missing; give isl and osl, a name, ISL/OSL such as 8k/1k, or the path of a CSV")
        if {"isl", "osl"} & {*changes} or isl_cv or osl_cv:
            given |= {"name": changes.get("name", ""), "source": changes.get("source")}  # no longer what the source is
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Keywords that make this workload again, of plain numbers, lists and mappings: for JSON and YAML."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default and value is not None:
                found[field.name] = _plain(value)
        if isinstance(self.isl, Pairs):
            found["isl"], found["osl"] = (_plain(column) for column in (self.isl.isl, self.isl.osl))
        return found

    def replace(self, **changes: Any) -> Workload:
        """This workload with fields changed and all of it checked again."""
        return replace(self, **changes)

    @property
    def spread(self) -> bool:
        """Whether requests differ in length."""
        return not (isinstance(self.isl, int) and isinstance(self.osl, int))

    @cached_property
    def _marginals(self) -> tuple[lengths.Marginal, lengths.Marginal]:
        """ISL and OSL where they are not pairs."""
        return cast("tuple[lengths.Marginal, lengths.Marginal]", (self.isl, self.osl))

    @cached_property
    def mean_isl(self) -> float:
        """Mean prompt [tokens], the cached ones included."""
        return float(self.isl.isl.mean()) if isinstance(self.isl, Pairs) else lengths.mean(self._marginals[0])

    @cached_property
    def mean_osl(self) -> float:
        """Mean output [tokens]."""
        return float(self.isl.osl.mean()) if isinstance(self.isl, Pairs) else lengths.mean(self._marginals[1])

    @cached_property
    def isl_cv(self) -> float:
        """Coefficient of variation of ISL."""
        if isinstance(self.isl, Pairs):
            return float(self.isl.isl.std()) / self.mean_isl
        return lengths.variation(self._marginals[0])

    @cached_property
    def osl_cv(self) -> float:
        """Coefficient of variation of OSL."""
        if isinstance(self.isl, Pairs):
            return float(self.isl.osl.std()) / self.mean_osl
        return lengths.variation(self._marginals[1])

    @cached_property
    def mean_context(self) -> float:
        """Mean context of a decoded token [tokens]: a request of I and O decodes at contexts I + 1 to I + O.

        E[I*O + O*(O + 1)/2]/E[O]; for independent lengths E[I] + (E[O]*(1 + cv_O^2) + 1)/2.
        """
        if isinstance(self.isl, Pairs):
            isl, osl = self.isl.isl, self.isl.osl
            return float((isl * osl + 0.5 * osl * (osl + 1.0)).sum() / osl.sum())
        return self.mean_isl + 0.5 * (self.mean_osl * (1.0 + self.osl_cv**2) + 1.0)

    def nodes(self, count: int) -> tuple[Floats, Floats]:
        """Contexts and weights that integrate a function of the context over all decoded tokens, float64[count] each.

        Each node is the mean context of one `count`-th of the tokens in order of context: the weights are equal, the
        mean of the nodes is `mean_context`, and a function linear in the context is integrated exactly. Raises
        InputError for a count below 1.
        """
        count = whole("count", count)
        if isinstance(self.isl, Pairs):
            found = lengths.token_groups(self.isl.isl, self.isl.osl, count)
        else:
            isl, osl = self._marginals
            at = lengths.positions(osl, max(STRATA, count) if self.spread else count)
            found = lengths.equal_groups(np.add.outer(lengths.strata(isl, STRATA), at).ravel(), count)
        return found + 0.5, np.full(count, 1.0 / count)

    def computed(self, isl: Floats) -> Floats:
        """Tokens of prompts of `isl` tokens that are not in the prefix cache, whole and at least 1. float64[n]."""
        uncached = np.ceil(isl * (1.0 - self.cached_share) - 1e-9) if self.cached_share else isl - self.cached
        return np.asarray(np.maximum(uncached, 1.0), dtype=np.float64)

    @cached_property
    def mean_computed(self) -> float:
        """Mean prompt tokens that are not in the prefix cache."""
        if isinstance(self.isl, Pairs):
            return float(self.computed(self.isl.isl).mean())
        if self.cached_share:
            return self.mean_isl * (1.0 - self.cached_share)
        return 1.0 + lengths.mean_excess(self._marginals[0], self.cached + 1.0) if self.spread else self._fixed_computed

    @property
    def _fixed_computed(self) -> float:
        return float(self.computed(np.array([self.mean_isl]))[0])

    def mean_chunks(self, chunk: int) -> float:
        """Mean number of chunks of at most `chunk` tokens in which a prompt is computed, E[ceil(computed/chunk)].

        Raises InputError for a chunk below 1.
        """
        chunk = whole("chunk", chunk)
        if isinstance(self.isl, Pairs):
            return float(np.ceil(self.computed(self.isl.isl) / chunk).mean())
        isl = self._marginals[0]
        if not isinstance(isl, Lognormal):
            return float(np.ceil(self._fixed_computed / chunk))
        uncached = 1.0 - self.cached_share
        beyond = self.cached + np.arange(1, TERMS) * chunk / uncached + 1e-9  # longer prompts have one more chunk
        rest = lengths.mean_excess(isl, self.cached + 0.5 + (TERMS - 0.5) * chunk / uncached) * uncached / chunk
        return 1.0 + float(lengths.longer(isl, beyond).sum()) + rest

    @property
    def arrivals(self) -> Closed | Open | None:
        """When requests come, as the simulator and the closed forms take it; None: not given."""
        if self.concurrency is not None:
            return Closed(self.concurrency)
        return None if self.rate is None else Open(self.rate, self.rate_cv)

    @property
    def requests(self) -> Requests:
        """Lengths for the simulator and the closed forms; with `cached_share`, ISL is what is computed of it."""
        if isinstance(self.isl, Pairs):
            isl = self.computed(self.isl.isl) if self.cached_share else self.isl.isl
            return Requests(isl, self.isl.osl, self.cached)
        prompt, osl = self._marginals
        if self.cached_share:
            left = max(lengths.mean(prompt) * (1.0 - self.cached_share), 1.0)
            prompt = Lognormal(left, prompt.cv) if isinstance(prompt, Lognormal) else int(self._fixed_computed)
        return Requests(prompt, osl, self.cached)

    def pairs(self, count: int, seed: int) -> tuple[Floats, Floats]:
        """ISL and OSL of `count` requests drawn at random, float64[count], whole numbers; the same for one seed."""
        uncut = Requests(self.isl.isl, self.isl.osl) if isinstance(self.isl, Pairs) else Requests(*self._marginals)
        return uncut.draw(whole("count", count), np.random.default_rng(whole("seed", seed, least=0)))

    @property
    def hours(self) -> tuple[float, ...]:
        """Load of each hour of the day, 24 shares."""
        return self.load if isinstance(self.load, tuple) else (self.load,) * HOURS

    @property
    def duty(self) -> float:
        """Mean load over the day."""
        return math.fsum(self.hours) / HOURS


def _lengths(isl: Any, osl: Any) -> tuple[lengths.Marginal | Pairs, lengths.Marginal | None]:
    """Both as they are held: pairs under isl alone, else numbers and lognormals."""
    if isinstance(isl, Pairs):
        if osl is not None:
            raise InputError("osl: given beside pairs, which hold it; leave it out")
        return isl, None
    listed = [isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) for value in (isl, osl)]
    if all(listed):
        return Pairs(isl, osl), None
    if any(listed):
        alone, other = ("isl", "osl") if listed[0] else ("osl", "isl")
        raise InputError(f"{alone}: is a list, {other} is not; give both as lists (pairs), or neither")
    return _marginal("isl", isl), _marginal("osl", osl)


def _marginal(field: str, value: Any) -> lengths.Marginal:
    if value is None:
        raise InputError(f"{field}: missing; give a number of tokens")
    if isinstance(value, Mapping):
        if {*value} != {"mean", "cv"}:
            raise InputError(f"{field} = {dict(value)!r}: give mean and cv, those two")
        return _spread(field, value["mean"], value["cv"])
    if isinstance(value, Lognormal):
        return value
    return whole(field, value)


def _spread(field: str, mean: Any, cv: Any) -> Lognormal:
    if isinstance(mean, bool) or not isinstance(mean, int | float | np.number):
        raise InputError(f"{field} = {mean!r}: has no mean to spread by {field}_cv; give a number of tokens")
    try:
        return Lognormal(float(mean), float(cv))
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{field}: {error}") from None


def _load(given: Any) -> float | tuple[float, ...]:
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        if len(given) != HOURS:
            raise InputError(f"load: has {len(given)} shares; give {HOURS}, one an hour, or one number")
        hours = tuple(_share(f"load[{hour}]", value) for hour, value in enumerate(given))
        if not any(hours):
            raise InputError("load: is 0 in every hour; give one above 0")
        return hours
    share = _share("load", given)
    if not share:
        raise InputError("load = 0: nothing is asked; give a share above 0")
    return share


def _share(field: str, value: Any) -> float:
    share = number(field, value, least=0.0)
    if share > 1.0:
        raise InputError(f"{field} = {value!r}: give a share from 0 to 1")
    return share


def _source(given: Any) -> Source | None:
    if given is None or isinstance(given, Source):
        return given
    try:
        return Source.model_validate(given)
    except ValidationError:
        raise InputError(f"source = {given!r}: give ref and grade (published, measured or estimated)") from None


def _given(source: Any, known: Sequence[str]) -> dict[str, Any]:
    """Keywords of a workload from what a user wrote."""
    if source is None:
        return {}
    if isinstance(source, Workload):
        return {name: getattr(source, name) for name in known}
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(source, PathLike) or (isinstance(source, str) and source.lower().endswith(SUFFIXES)):
        path = Path(source).expanduser()
        return {"isl": Pairs.read(path), "name": path.stem}
    if not isinstance(source, str):
        raise InputError(f"workload = {source!r}: give a name, ISL/OSL such as 8k/1k, a path or a mapping")
    if "/" in source:
        isl, _, osl = source.partition("/")
        return {"isl": _size("isl", isl, source), "osl": _size("osl", osl, source), "name": source.strip()}
    preset = PRESETS.get(source.strip().lower())
    if preset is None:
        text = str(unknown_name("workload", source, PRESETS))
        raise InputError(f"{text}{' ' if text.endswith('?') else '; '}or write ISL/OSL such as 8k/1k")
    return {**preset.lengths, "name": preset.name, "source": preset.source}


def _size(field: str, text: str, whole_text: str) -> float:
    """Tokens of "8k"; what is out of range is for `Workload` to refuse."""
    match = _TOKENS.fullmatch(text.strip())
    if match is None:
        what = f"give tokens as in 8k/1k or 8192/1024, or the path of a file {' or '.join(SUFFIXES)}"
        raise InputError(f"workload {whole_text!r}: {field} = {text.strip()!r}: {what}")
    return float(match[1]) * _MULTIPLES[match[2].lower()]


def _plain(value: Any) -> Any:
    if isinstance(value, Lognormal):
        return {"mean": value.mean, "cv": value.cv}
    if isinstance(value, Source):
        return value.model_dump(mode="json")
    if isinstance(value, np.ndarray):
        return [int(item) for item in value]
    return list(value) if isinstance(value, tuple) else value
