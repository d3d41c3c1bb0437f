"""Bands of a result: between which values a measurement is to be expected, as arrays and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.serving.bands import COVERAGE, MEASURED_MODES, OF_DRAW, QUANTITIES, factors

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    Texts = NDArray[np.object_]

OF_QUANTITY: dict[str, tuple[str, bool]] = {
    "tpot": ("tpot", True),
    "ttft": ("ttft", True),
    "tokens_per_s_per_user": ("tpot", False),
    "request_rate": ("throughput", True),
    "output_tokens_per_s": ("throughput", True),
    "tokens_per_s_per_gpu": ("throughput", True),
    "input_tokens_per_s_per_gpu": ("throughput", True),
    "total_tokens_per_s_per_gpu": ("throughput", True),
    "joules_per_token": ("joules_per_token", True),
    "joules_per_token_at_boundary": ("joules_per_token", True),
    "tokens_per_mwh": ("joules_per_token", False),
    "power": ("power", True),
    "power_at_boundary": ("power", True),
}
"""Variable -> the quantity whose band it has, and whether it rises with that or is its inverse."""

BESIDE = ("tpot", "ttft", "tokens_per_s_per_gpu", "joules_per_token", "power", "tokens_per_mwh")
"""Variables that get their ends beside them in files."""


def band(ds: xr.Dataset, variable: str) -> tuple[xr.DataArray, xr.DataArray]:
    """(low, high) of a variable, in its units and of its shape with the dims of the tier; NaN where none is claimed.

    Raises InputError where the Dataset or the variable has no band.
    """
    import xarray as xr

    if "tier" not in ds:
        fidelity = ds.attrs.get("fidelity", "unknown")
        raise InputError(
            f"band: this Dataset has none (fidelity {fidelity}): measurements are of whole servers under load; "
            "ask the results of roofline.serve or roofline.plan"
        )
    if variable not in OF_QUANTITY or variable not in ds:
        held = ", ".join(name for name in OF_QUANTITY if name in ds)
        raise InputError(f"band {variable}: no band was validated for it; this Dataset has those of {held}")
    quantity, rises = OF_QUANTITY[variable]
    tiers = ds["energy_tier" if quantity in OF_DRAW else "tier"]
    kinds = ds["mode"] if "mode" in ds else xr.full_like(tiers, ds.attrs.get("band_kind", ""), dtype=object)

    def ends(tier: object, kind: object) -> tuple[float, float]:
        found = factors(quantity, MEASURED_MODES.get(str(kind), str(kind)), str(tier)) or (np.nan, np.nan)
        return found if rises else (1.0 / found[1], 1.0 / found[0])

    low, high = xr.apply_ufunc(np.vectorize(ends, otypes=[float, float]), tiers, kinds, output_core_dims=[[], []])
    values = ds[variable]
    about = values.attrs.get("long_name", variable)
    return tuple(
        (values * end)
        .rename(f"{variable}_{name}")
        .assign_attrs(values.attrs | {"long_name": f"{name} end of the {100.0 * COVERAGE:.0f} % band: {about}"})
        for name, end in (("low", low), ("high", high))
    )


def with_bands(ds: xr.Dataset) -> xr.Dataset:
    """The Dataset with a `_low` and a `_high` beside each of `BESIDE` that it has; as it is where it has no band."""
    if "tier" not in ds:
        return ds
    found = ds
    for name in BESIDE:
        if name in ds:
            dims = ds[name].dims
            found = found.assign({str(end.name): end.transpose(*dims) for end in band(ds, name)})
    return found


def lines(ds: xr.Dataset) -> list[str]:
    """A line for each kind and tiers among the cells that run: the bands of all quantities in percent."""
    if "tier" not in ds:
        return []
    some = [ds["tier"], ds["energy_tier"], *([ds["mode"]] if "mode" in ds else [])]
    cells: list[Texts] = [array.values.reshape(-1) for array in some]
    if "mode" not in ds:
        cells.append(np.full(cells[0].shape, ds.attrs.get("band_kind", ""), dtype=object))
    systems: dict[tuple[str, str, str], list[str]] = {}
    names = ds["system"].broadcast_like(ds["tier"]).values.reshape(-1)
    for system, tier, energy_tier, kind in zip(names, *cells, strict=True):
        if tier:
            listed = systems.setdefault((str(tier), str(energy_tier), str(kind)), [])
            listed += [] if system in listed else [str(system)]
    several = len(systems) > 1
    where = {key: f" ({', '.join(listed)})" if several else "" for key, listed in systems.items()}
    return [_line(tier, energy_tier, kind, said) for (tier, energy_tier, kind), said in where.items()]


def _line(tier: str, energy_tier: str, kind: str, where: str) -> str:
    kind = MEASURED_MODES.get(kind, kind)
    said = []
    for quantity, name in QUANTITIES.items():
        ends = factors(quantity, kind, energy_tier if quantity in OF_DRAW else tier)
        if ends is not None:
            said.append(f"{name} {_percent(ends[0])} to {_percent(ends[1])} %")
    rests = tier if tier == energy_tier else f"{tier}, power and energy {energy_tier}"
    return f"{100.0 * COVERAGE:.0f} % bands, {kind}, {rests}{where}: {', '.join(said) or 'none'}"


def _percent(factor: float) -> str:
    return f"{100.0 * (factor - 1.0):+.0f}"
