"""All sheets of a kind side by side: what a buyer compares of accelerators, what a model weighs and keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from roofline.errors import unknown_name
from roofline.grid import axes
from roofline.provenance import attributes
from roofline.specs import Accelerator, Model, Recipe, System, list_specs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from roofline.specs.records import Sheet

Kind = Literal["accelerators", "models"]
MATHS = ("bf16", "fp8", "fp4", "int8")
"""Arithmetic that inference runs in, in columns of their own."""

_GRADES = {"published": 0, "measured": 0, "estimated": 1}


def overview(kind: Kind, names: Sequence[Any] | None = None) -> xr.Dataset:
    """Sheets of a kind as one Dataset, one value a sheet and variable.

    kind : `accelerators` or `models`.
    names : names, paths or sheets; default all that can be named.
    Dims: (accelerator,) or (model,). What a part has not, or what is undisclosed, is NaN. `grade` is the worst grade
    of the numbers in the row, `source` where the first of them is from.
    Raises `roofline.InputError` for another kind and for sheets that are not found.
    """
    if kind == "accelerators":
        parts = axes.sheets("accelerators", Accelerator, list_specs("accelerator") if names is None else names)
        return _accelerators(parts)
    if kind == "models":
        return _models(axes.sheets("models", Model, list_specs("model") if names is None else names))
    raise unknown_name("kind of overview", kind, ("accelerators", "models"))


def _accelerators(parts: Sequence[Accelerator]) -> xr.Dataset:
    """Dense peaks, memory, ridge points, links and what a joule buys of each accelerator."""

    def column(read: Callable[[Accelerator], float | None]) -> Any:
        return np.array([np.nan if (value := read(part)) is None else value for part in parts], dtype=float)

    bandwidth, tdp = column(lambda p: p.memory.bytes_per_s), column(lambda p: p.power.tdp_w)
    data: dict[str, Any] = {}

    def put(name: str, values: Any, units: str, long_name: str) -> None:
        data[name] = ("accelerator", values, {"units": units, "long_name": long_name})

    put("year", np.array([part.year for part in parts]), "1", "year of first shipment")
    for math in MATHS:
        peak = column(lambda p, m=math: p.dense_flop_per_s.get(m))  # type: ignore[misc]
        put(f"{math}_flop_per_s", peak, "FLOP/s", f"dense peak in {math}")
    put("memory_bytes", column(lambda p: p.memory.bytes), "B", "usable memory")
    put("memory_bytes_per_s", bandwidth, "B/s", "memory bandwidth")
    for math in MATHS:
        ridge = data[f"{math}_flop_per_s"][1] / bandwidth
        put(f"{math}_ridge", ridge, "FLOP/B", f"ridge point in {math}: intensity above which computing binds")
    put("scale_up_bytes_per_s", column(lambda p: p.scale_up_bytes_per_s), "B/s", "scale-up network, one direction")
    domains = [System.load(part).scale_up.domain for part in parts]
    put("domain", np.array(domains), "1", "accelerators of one scale-up domain")
    put("tdp_w", tdp, "W", "sustained power limit")
    narrow = np.nanmax(np.stack([data[f"{math}_flop_per_s"][1] for math in MATHS]), axis=0)
    put("flop_per_j", narrow / tdp, "FLOP/J", "dense FLOP per joule at TDP, in the fastest arithmetic")
    put("bytes_per_j", bandwidth / tdp, "B/J", "bytes of memory traffic per joule at TDP")
    fields = ("dense_flop_per_s", "memory.bytes", "memory.bytes_per_s", "power.tdp_w")
    put("grade", _worst(parts, fields), "", "worst grade of peaks, memory and TDP")
    put("source", _first(parts, fields), "", "where its peaks are from")
    coords = {
        "accelerator": _words(axes.label(part) for part in parts),
        "name": ("accelerator", _words(part.name for part in parts)),
        "vendor": ("accelerator", _words(part.vendor for part in parts)),
        "memory_kind": ("accelerator", _words(part.memory.kind for part in parts)),
    }
    return _sorted(xr.Dataset(data, coords=coords, attrs=_provenance(parts)), ("vendor", "year", "accelerator"))


def _models(models: Sequence[Model]) -> xr.Dataset:
    """Parameters, cache and state of each model."""
    bf16 = Recipe.load("bf16")
    data: dict[str, Any] = {}

    def put(name: str, values: Any, units: str, long_name: str) -> None:
        data[name] = ("model", values, {"units": units, "long_name": long_name})

    def column(read: Callable[[Model], float]) -> Any:
        return np.array([read(model) for model in models], dtype=float)

    put("layers", np.array([model.layer_count for model in models]), "1", "layers")
    put("total_params", column(lambda m: m.total_params), "1", "parameters of the text model, drafts left out")
    put("active_params", column(lambda m: m.active_params), "1", "parameters a token meets")
    put("matmul_active_params", column(lambda m: m.matmul_active_params), "1", "of those, in matrix products")
    put("mtp_params", column(lambda m: m.mtp_params), "1", "parameters of multi-token-prediction modules")
    growth, held = "BF16 cache growth per token, windows full", "BF16 cache of 32k tokens, or of the longest context"
    put("kv_bytes_per_token", column(lambda m: m.kv_bytes_per_token(bf16)), "B", growth)
    put("kv_bytes_32k", column(lambda m: m.kv_bytes(min(32768, m.max_context), bf16)), "B", held)
    put("state_bytes", column(lambda m: m.state_bytes(bf16)), "B", "recurrent state of a sequence, fp32")
    put("max_context", np.array([model.max_context for model in models]), "1", "longest context")
    fields = ("hidden", "layers", "vocab")
    put("grade", _worst(models, fields), "", "worst grade of the shape")
    put("source", _first(models, fields), "", "where the shape is from")
    coords = {
        "model": _words(axes.label(model) for model in models),
        "name": ("model", _words(model.name for model in models)),
        "mixers": ("model", _words(", ".join(mixers(model)) for model in models)),
        "recipes": ("model", _words(", ".join(model.recipes) for model in models)),
    }
    return _sorted(xr.Dataset(data, coords=coords, attrs=_provenance(models)), ("model",))


def mixers(model: Model) -> list[str]:
    """What mixes tokens in its layers, each kind once with how many layers have it: `36 gated_delta_net`, `12 gqa`."""
    found: dict[str, int] = {}
    for row in model.layers:
        if row.attention is not None:
            word: str = row.attention.kind
            word += f" top {row.attention.sparse.top_k}" if row.attention.sparse else ""
            word += f" window {row.attention.reach}" if row.attention.cache_elements and row.attention.reach else ""
            found[word] = found.get(word, 0) + row.count
    return [f"{count} {word}" for word, count in found.items()]


def _worst(sheets: Sequence[Sheet], fields: Sequence[str]) -> Any:
    """`estimated` where any of the fields is, else the grade of the first."""
    found = []
    for sheet in sheets:
        grades = [source.grade for field in fields for source in _sources(sheet, field)]
        found.append(max(grades, key=_GRADES.__getitem__) if grades else "")
    return _words(found)


def _first(sheets: Sequence[Sheet], fields: Sequence[str]) -> Any:
    found = []
    for sheet in sheets:
        refs = [source.ref for field in fields for source in _sources(sheet, field)]
        found.append(refs[0] if refs else "")
    return _words(found)


def _sources(sheet: Sheet, field: str) -> list[Any]:
    """Sources of a field and of what is below it."""
    own = sheet.source_of(field)
    below = [source for path, source in sheet.sources.items() if path.startswith(f"{field}.")]
    return ([own] if own else []) + below


def _words(values: Any) -> Any:
    return np.array(list(values), dtype=object)


def _provenance(sheets: Sequence[Sheet]) -> dict[str, str]:
    digests = [pair for sheet in sheets for pair in sheet.digests.items()]
    kept = attributes(fidelity="", boundary="", basis="", token_basis="", sheets=digests)
    return {key: value for key, value in kept.items() if value}


def _sorted(ds: xr.Dataset, keys: tuple[str, ...]) -> xr.Dataset:
    columns = [[str(value) for value in ds[key].values] for key in reversed(keys)]
    order = np.lexsort(columns)
    return ds.isel({str(next(iter(ds.dims))): order})
