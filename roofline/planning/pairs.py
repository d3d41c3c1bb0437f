"""Many pairings of model, system and recipe evaluated at once, each at its best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError, unknown_name
from roofline.grid import axes
from roofline.planning.plan import plan
from roofline.specs import Model, System

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = (
    *("models", "systems", "recipes", "pairs", "workloads", "slos", "objective", "modes", "rate", "acceptance"),
    *("prefill_systems", "ffn_systems", "most_accelerators", "chunk", "stack", "boundary", "basis", "vintage"),
)
"""What a study may hold."""

NAMED = ("model", "system", "recipe")


def pairs(
    study: Mapping[str, Any] | str | PathLike[str] | None = None,
    /,
    *,
    progress: Callable[[int, int], None] | None = None,
    **keys: Any,
) -> xr.Dataset:
    """The best deployment of every pairing, workload and SLO of a study, one after another.

    study : a mapping, or the path of a YAML file with one, or of a CSV of pairs with the columns model, system and
        perhaps recipe; `keys` are laid over it. Its keys: pairs (mappings of model, system and perhaps recipe) or
        models and systems, all of which are paired; workloads, slos (one or a list), and the other arguments of
        `roofline.plan`.   progress : called with (models done, in all).

    Returns a Dataset with the dims (pair, workload, slo): the variables of a plan, with coords model and system, and
    `asked_recipe` where pairs name one. Raises InputError naming the file, the key and the fix.
    """
    asked = _given(study) | {key: value for key, value in keys.items() if value is not None}
    try:
        return _evaluated(asked, progress)
    except InputError as error:
        if isinstance(study, str | PathLike) and not str(error).startswith(str(study)):
            raise InputError(f"{study}: {error}") from None
        raise


def _evaluated(asked: Mapping[str, Any], progress: Callable[[int, int], None] | None) -> xr.Dataset:
    for key in asked:
        if key not in KEYS:
            raise unknown_name("key of a study", str(key), KEYS)
    listed = _pairs(asked)
    seen: set[tuple[str, str, str]] = set()
    for n, (model, system, recipe) in enumerate(listed, start=1):
        same = str(_key(model)), str(system), str(_key(recipe))
        if same in seen:
            raise InputError(f"pairs: number {n}, {same[0]} on {same[1]}, stands there before; leave it out")
        seen.add(same)
    options = {key: asked[key] for key in KEYS[6:] if key in asked}
    if "workloads" not in asked:
        raise InputError("workloads: none given; give one or a list, e.g. 8k/1k")
    options |= {"workload": asked["workloads"], "slo": asked.get("slos")}
    groups: dict[tuple[str, str], list[int]] = {}
    for n, (model, _, recipe) in enumerate(listed):
        groups.setdefault((str(_key(model)), str(_key(recipe))), []).append(n)
    parts: list[xr.Dataset] = []
    order: list[int] = []
    for done, places in enumerate(groups.values()):
        if progress is not None:
            progress(done, len(groups))
        model, _, recipe = listed[places[0]]
        given = recipe if recipe is not None else asked.get("recipes")
        found = plan(model, [listed[n][1] for n in places], given, **options)
        part = found.isel(model=0).rename(system="pair").reset_coords(drop=False)
        parts.append(part)
        order += places
    if progress is not None:
        progress(len(groups), len(groups))
    joined = xr.concat(parts, dim="pair", data_vars="all", coords="minimal", compat="override", join="override")
    joined = joined.isel(pair=np.argsort(order))
    return _labelled(joined, listed, parts)


def _labelled(joined: xr.Dataset, listed: list[tuple[Any, Any, Any]], parts: list[xr.Dataset]) -> xr.Dataset:
    """Coordinates that say which pair is which, and provenance of all parts."""
    models = np.array([axes.label(Model.load(model)) for model, _, _ in listed], dtype=object)
    systems = np.array([axes.label(System.load(system)) for _, system, _ in listed], dtype=object)
    dropped = [name for name in ("model", "pair", "system_name", "system_accelerators") if name in joined]
    found = joined.drop_vars(dropped)
    coords: dict[str, Any] = {"model": ("pair", models), "system": ("pair", systems)}
    if any(recipe is not None for _, _, recipe in listed):
        named = np.array(["" if recipe is None else str(recipe) for _, _, recipe in listed], dtype=object)
        coords["asked_recipe"] = ("pair", named, {"long_name": "recipe that the pair names"})
    found = found.assign_coords(coords).set_coords([name for name in ("isl", "osl", "mean_context") if name in found])
    limits = [name for name in found.data_vars if str(name).startswith("slo_")]
    found = found.set_coords([*limits, "power_unknown"])
    for name in ("isl", "osl", "mean_context", *limits):  # the same for all pairs
        if "pair" in found[name].dims:
            found = found.assign_coords({name: found[name].isel(pair=0, drop=True)})
    sheets = sorted({pair for part in parts for pair in part.attrs["sheets"].split()})
    tried = sum(int(part.attrs["candidates"]) for part in parts)
    return found.assign_attrs({"sheets": " ".join(sheets), "candidates": str(tried), "pass": "pairs"})


def _key(sheet: Any) -> Any:
    return axes.label(sheet) if isinstance(sheet, Model) else sheet


def _given(study: Mapping[str, Any] | str | PathLike[str] | None) -> dict[str, Any]:
    if study is None:
        return {}
    if isinstance(study, Mapping):
        return dict(study)
    if not isinstance(study, str | PathLike):
        raise InputError(f"study {study!r}: give a mapping, or the path of a YAML file or of a CSV of pairs")
    path = Path(study).expanduser()
    if path.suffix.lower() == ".csv":
        return {"pairs": _csv(path)}
    from roofline.specs.parse import NotYaml, parse

    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except NotYaml as error:
        raise InputError(str(error.finding.at(str(path), error.finding.line))) from None


def _csv(path: Path) -> list[dict[str, str]]:
    import csv

    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in NAMED[:2] if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    f"{path}:1: has no column {missing[0]}; give the columns model, system and perhaps recipe"
                )
            rows = []
            for line, row in enumerate(reader, start=2):
                for name in NAMED[:2]:
                    if not (row[name] or "").strip():
                        raise InputError(f"{path}:{line}: {name} is empty; give its name")
                rows.append({name: row[name].strip() for name in NAMED if (row.get(name) or "").strip()})
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not rows:
        raise InputError(f"{path}: holds no pairs; give one a line")
    return rows


def _pairs(asked: Mapping[str, Any]) -> list[tuple[Any, Any, Any]]:
    """(model, system, recipe or None) of every pair."""
    if "pairs" not in asked:
        for key in ("models", "systems"):
            if key not in asked:
                raise InputError(f"{key}: none given; give models and systems, or pairs")
        return [(model, system, None) for model, system in product(_listed(asked["models"]), _listed(asked["systems"]))]
    if "models" in asked or "systems" in asked:
        raise InputError("pairs: given beside models or systems; give either pairs, or both of those")
    found = []
    for n, pair in enumerate(_listed(asked["pairs"]), start=1):
        wrong = not isinstance(pair, Mapping) or {*pair} - {*NAMED} or not {*NAMED[:2]} <= {*pair}
        if wrong:
            raise InputError(f"pairs: number {n} is {pair!r}; give model, system and perhaps recipe")
        found.append((pair["model"], pair["system"], pair.get("recipe")))
    if not found:
        raise InputError("pairs: none given; give at least one")
    return found


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
