"""Published claims as studies that rerun: what is divided by what, and where on our curve the claim sits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from roofline.errors import InputError, unknown_name
from roofline.insight.compare import compare
from roofline.insight.mixtures import Side
from roofline.insight.searches import MEASURES
from roofline.rack.energy import check_vintage
from roofline.specs.folders import SUFFIXES, built_in_root, sheet_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FOLDER = "studies"
"""Of the shipped ones, beside hardware_specs/ and model_specs/."""

KEYS = ("name", "claim", "compare", "ratios_sought")
CLAIM_KEYS = ("says", "source", "tokens", "old", "new", "ratios", "vintages", "factors", "apart_vintage", "notes")
LEVEL_KEYS = ("tokens_per_s_per_gpu", "provisioned_w", "usd_per_hour", "usd_per_million_tokens")
TOKENS = ("output", "total")


@dataclass(frozen=True)
class Claim:
    """What was published.

    says : in words.   source : where.   tokens : the basis of its levels, output or total (input and output).
    old, new : its levels, by LEVEL_KEYS.   ratios : its ratios, by names of MEASURES.   vintages : provisioned W of an
    accelerator of old and new in other snapshots.   factors : its own split.   apart_vintage : of the all-in W by which
    `Rerun.watts_left` counts.   notes : what to know of it.
    """

    says: str
    source: str
    tokens: str = "total"
    old: Mapping[str, float] = field(default_factory=dict)
    new: Mapping[str, float] = field(default_factory=dict)
    ratios: Mapping[str, float] = field(default_factory=dict)
    vintages: Mapping[str, Sequence[float]] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    apart_vintage: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Study:
    """A claim and the comparison that looks for it.   compare : keywords of `roofline.compare`."""

    name: str
    claim: Claim
    compare: Mapping[str, Any]
    ratios_sought: tuple[float, ...] = ()


class Sum(NamedTuple):
    """One line of arithmetic: what it is, how it is made, its value and unit, and what was published of it."""

    what: str
    how: str
    value: float
    units: str
    published: float | None = None


class Place(NamedTuple):
    """Interactivities at which a curve of ours passes a value [tokens/s of a user]; none where it never does."""

    what: str
    value: float
    at: tuple[float, ...]


@dataclass(frozen=True)
class Rerun:
    """A study run again.   ds : of `roofline.compare`.   sums : the claim's arithmetic.   places : where it sits.

    factors : ours beside the claim's, by group of levers, (ours, published), where it gives any.
    watts_left : where feed-forwards are on parts of undisclosed watts, by interactivity: W that one of those may
        provision if the claim is to hold; below 0 it cannot hold.
    """

    study: Study
    ds: xr.Dataset
    sums: tuple[Sum, ...]
    places: tuple[Place, ...]
    factors: Mapping[str, tuple[float, float]]
    watts_left: Mapping[float, float]


def names() -> list[str]:
    """Names of the shipped studies, sorted."""
    return sorted(sheet_files(built_in_root() / FOLDER))


def study(source: str | PathLike[str] | Mapping[str, Any] | Study) -> Study:
    """A study of a shipped name, a path or a mapping.

    Raises InputError naming the file, the key and the fix.
    """
    if isinstance(source, Study):
        return source
    if isinstance(source, Mapping):
        return _checked(source, "study")
    text = str(source)
    shipped = sheet_files(built_in_root() / FOLDER)
    if text in shipped:
        path = shipped[text]
    elif text.endswith(SUFFIXES) or "/" in text:
        path = Path(text).expanduser()
    else:
        raise unknown_name("study", text, shipped)
    return _checked(_read(path), path.name if text in shipped else text)


def rerun(
    source: str | PathLike[str] | Mapping[str, Any] | Study,
    *,
    progress: Callable[[int, int], None] | None = None,
    **over: Any,
) -> Rerun:
    """Run a study.   over : keywords of `roofline.compare` in place of the study's.

    Raises InputError as `study` and `roofline.compare`.
    """
    asked = study(source)
    given = {**asked.compare, **over}
    try:
        ds = compare(given.pop("old"), given.pop("new"), progress=progress, **given)
    except InputError as error:
        if isinstance(source, str | PathLike):
            raise InputError(f"study {source}: {error}") from None
        raise
    claim = asked.claim
    return Rerun(asked, ds, tuple(sums(claim)), tuple(_places(asked, ds)), _factors(claim, ds), _watts_left(asked, ds))


def sums(claim: Claim) -> list[Sum]:
    """The arithmetic of a claim's levels: equation (32)."""
    old, new = claim.old, claim.new
    found: list[Sum] = []
    rate = "tokens_per_s_per_gpu"
    if rate not in old or rate not in new:
        return found
    through = new[rate] / old[rate]
    found.append(
        Sum(f"{claim.tokens} tokens/s per accelerator, new over old", f"{new[rate]:g} / {old[rate]:g}", through, "")
    )
    vintages = {"as published": (old["provisioned_w"], new["provisioned_w"])} if "provisioned_w" in old else {}
    for vintage, (before, after) in {**vintages, **claim.vintages}.items():
        stated = claim.ratios.get("tokens_per_mwh") if vintage == "as published" else None
        how = f"{through:.4g} x {before:g} W / {after:g} W"
        found.append(Sum(f"tokens per provisioned MWh, {vintage}", how, through * before / after, "", stated))
    if "usd_per_hour" in old:
        how = f"{through:.4g} x {old['usd_per_hour']:g} / {new['usd_per_hour']:g} USD per accelerator-hour"
        value = through * old["usd_per_hour"] / new["usd_per_hour"]
        found.append(Sum("tokens per USD", how, value, "", claim.ratios.get("tokens_per_usd")))
    for side, levels in (("old", old), ("new", new)):
        if "usd_per_hour" in levels:
            how = f"{levels['usd_per_hour']:g} / (3600 x {levels[rate]:g} / 1e6)"
            value = levels["usd_per_hour"] / (3600.0 * levels[rate] / 1e6)
            stated = levels.get("usd_per_million_tokens")
            found.append(Sum(f"USD per million {claim.tokens} tokens, {side}", how, value, "USD", stated))
        if "provisioned_w" in levels:
            how = f"{levels[rate]:g} / {levels['provisioned_w']:g} W x 1e6"
            value = 1e6 * levels[rate] / levels["provisioned_w"]
            found.append(Sum(f"{claim.tokens} tokens/s per provisioned MW, {side}", how, value, "1/(s MW)"))
    return found


def crossings(x: Floats, y: Floats, value: float) -> tuple[float, ...]:
    """Where a curve passes a value: straight in log y between neighbours that both have one. Rising in x."""
    found: list[float] = []
    logs, level = np.log(y), np.log(value)
    for n in range(x.size - 1):
        a, b = logs[n] - level, logs[n + 1] - level
        if a == 0.0:
            found.append(float(x[n]))
        elif a * b < 0.0:
            found.append(float(x[n] + (x[n + 1] - x[n]) * a / (a - b)))
    if x.size and logs[-1] == level:
        found.append(float(x[-1]))
    return tuple(found)


def _places(asked: Study, ds: xr.Dataset) -> list[Place]:
    """Where our ratios are the claim's, and others sought, and where our levels are its levels."""
    x = ds["interactivity"].values
    found = []
    for measure, value in asked.claim.ratios.items():
        if f"ratio_{measure}" in ds:
            found.append(Place(f"ratio of {measure}", value, crossings(x, ds[f"ratio_{measure}"].values, value)))
    for value in asked.ratios_sought:
        found.append(Place("ratio of tokens_per_mwh", value, crossings(x, ds["ratio_tokens_per_mwh"].values, value)))
    name = "total_tokens_per_s_per_gpu" if asked.claim.tokens == "total" else "tokens_per_s_per_gpu"
    for side, levels in (("old", asked.claim.old), ("new", asked.claim.new)):
        if "tokens_per_s_per_gpu" in levels:
            value = levels["tokens_per_s_per_gpu"]
            ours = ds[name].sel(side=side).values
            found.append(
                Place(f"{asked.claim.tokens} tokens/s per accelerator, {side}", value, crossings(x, ours, value))
            )
    return found


def _factors(claim: Claim, ds: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Ours and the published factor of each group of levers that either has."""
    if not claim.factors or "factor" not in ds:
        return {}
    ours: dict[str, float] = {}
    for group, factor in zip(ds["lever_group"].values, ds["factor"].values, strict=True):
        ours[str(group)] = ours.get(str(group), 1.0) * float(factor)
    return {name: (ours.get(name, 1.0), float(claim.factors.get(name, 1.0))) for name in {**claim.factors, **ours}}


def _watts_left(asked: Study, ds: xr.Dataset) -> dict[float, float]:
    """W that one accelerator of the feed-forwards may provision, at each interactivity where the new side has any.

    A unit that makes R output tokens a second must not take more than R/(ratio*y) W, y what an accelerator of the old
    side makes a second over the W it provisions; what the new side's own accelerators provision is taken off, and the
    rest shared among those of the feed-forwards.
    """
    claim, vintage = asked.claim, asked.claim.apart_vintage
    old, new = (Side.of(asked.compare[side]) for side in ("old", "new"))
    ratio = claim.ratios.get("tokens_per_mwh")
    if not vintage or not new.ffn_systems or ratio is None:
        return {}
    all_in = [side.system.power.provisioned_w_per_accelerator for side in (old, new)]
    check_vintage(vintage, {side.system.id: known for side, known in zip((old, new), all_in, strict=True)})
    old_w, new_w = (known[vintage] for known in all_in)
    side = ds.sel(side="new")
    apart = side["ffn_accelerators"].values * side["decode_replicas"].values
    per_w = ds["tokens_per_s_per_gpu"].sel(side="old").values / old_w
    budget = side["output_tokens_per_s"].values / (ratio * per_w)
    left = (budget - new_w * (side["accelerators"].values - apart)) / apart
    x = ds["interactivity"].values
    return {float(x[n]): float(left[n]) for n in range(x.size) if np.isfinite(left[n])}


def _read(path: Path) -> dict[str, Any]:
    from roofline.specs.parse import NotYaml, parse

    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except NotYaml as error:
        raise InputError(str(error.finding.at(str(path), error.finding.line))) from None


def _checked(data: Mapping[str, Any], where: str) -> Study:
    """A study of a mapping. Raises InputError with the place, the key and the fix."""
    _keys(data, KEYS, ("name", "claim", "compare"), where)
    claim, asked = data["claim"], data["compare"]
    _keys(claim, CLAIM_KEYS, ("says", "source"), f"{where}: claim")
    if not isinstance(asked, Mapping):
        raise InputError(f"{where}: compare: expected keywords of roofline.compare, with old, new and model")
    for key in ("old", "new", "model"):
        if key not in asked:
            raise InputError(f"{where}: compare: {key} is missing")
    given = dict(claim)
    if given.get("tokens", "total") not in TOKENS:
        raise InputError(f"{where}: claim.tokens = {given['tokens']!r}: give one of {', '.join(TOKENS)}")
    for key, known in (("old", LEVEL_KEYS), ("new", LEVEL_KEYS), ("ratios", tuple(MEASURES)), ("factors", None)):
        given[key] = _numbers(given.get(key, {}), known, f"{where}: claim.{key}")
    for key in LEVEL_KEYS:
        if (key in given["old"]) != (key in given["new"]):
            raise InputError(f"{where}: claim: {key} is given of one side; give that of both")
    vintages = given.get("vintages", {})
    for name, pair in vintages.items() if isinstance(vintages, Mapping) else [("vintages", vintages)]:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InputError(f"{where}: claim.vintages.{name} = {pair!r}: give W of old and new, as [1370, 2120]")
        _numbers(dict(zip(("old", "new"), pair, strict=True)), None, f"{where}: claim.vintages.{name}")
    sought = _numbers(
        {str(n): value for n, value in enumerate(data.get("ratios_sought", ()))}, None, f"{where}: ratios_sought"
    )
    return Study(str(data["name"]), Claim(**given), dict(asked), tuple(sought.values()))


def _keys(data: Any, known: Sequence[str], needed: Sequence[str], where: str) -> None:
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected a mapping with {', '.join(needed)}")
    for key in data:
        if key not in known:
            raise InputError(f"{where}: {unknown_name('key', str(key), known)}")
    for key in needed:
        if key not in data:
            raise InputError(f"{where}: {key} is missing")


def _numbers(data: Any, known: Sequence[str] | None, where: str) -> dict[str, float]:
    """A mapping of names to numbers above 0."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where} = {data!r}: expected names with numbers")
    for name, value in data.items():
        if known is not None and name not in known:
            raise InputError(f"{where}: {unknown_name('key', str(name), known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < float("inf"):
            raise InputError(f"{where}.{name} = {value!r}: give a number above 0")
    return {str(name): float(value) for name, value in data.items()}
