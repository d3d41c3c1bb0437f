"""Roll-up of energy from accelerators to rack and facility: section 11 of docs/equations.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from roofline.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

Boundary = Literal["accelerator", "rack", "facility"]
Basis = Literal["metered", "provisioned"]
BOUNDARIES: tuple[str, ...] = get_args(Boundary)
BASES: tuple[str, ...] = get_args(Basis)

JOULES_PER_MWH = 3.6e9
NAMEPLATE = "nameplate"

Floats = Any  # float or an array of them: every function here broadcasts


def placement(group: Floats, per_system: Floats) -> tuple[Floats, Floats]:
    """(systems, replicas) that are placed together: several replicas in a system, or one over several systems.

    A system holds as many whole replicas as fit; accelerators left over stand idle and are charged.
    """
    fits = group <= per_system
    systems = np.where(fits, 1, -(-group // per_system))
    replicas = np.where(fits, per_system // np.minimum(group, per_system), 1)
    return systems, replicas


def psu_efficiency(load: Floats, points: NDArray[np.float64], values: NDArray[np.float64]) -> Floats:
    """Efficiency of power supplies at a load (DC watts over rated watts), linear between points, flat beyond them."""
    return np.interp(load, points, values)


def check(boundary: str, basis: str, duty: float) -> None:
    """Raise `InputError` where a boundary, basis or duty is not one."""
    if boundary not in BOUNDARIES:
        raise InputError(f"boundary {boundary!r}: expected one of {', '.join(BOUNDARIES)}")
    if basis not in BASES:
        raise InputError(f"basis {basis!r}: expected one of {', '.join(BASES)}")
    if not 0 < duty <= 1:
        raise InputError(f"duty {duty!r}: expected a share of time above 0 and at most 1")


def rollup(
    ds: xr.Dataset,
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    *,
    vintage: str | None = None,
    duty: float = 1.0,
) -> xr.Dataset:
    """The Dataset of `decode` or `prefill` with energy at a boundary.

    boundary : `accelerator`; `rack` adds hosts, switches, idle accelerators of the same system and power supplies;
        `facility` multiplies by PUE.
    basis : `metered` (modelled draw) or `provisioned` (the power that has to be reserved: nameplate, or an all-in
        figure per accelerator of a `vintage`, which includes the facility).
    duty : share of time that the replica is busy; the rest it idles and is charged.

    Adds power_at_boundary [W per accelerator of a replica], joules_per_token_at_boundary [J] and tokens_per_mwh
    [tokens/MWh], of the token basis of `ds`. tokens/MWh * J/token = 3.6e9.
    Raises `InputError` for an unknown boundary, basis or vintage, or a duty outside (0, 1].
    """
    import xarray as xr

    check(boundary, basis, duty)
    group, per_system = xr.broadcast(ds["accelerators"], ds["system_accelerators"])
    systems, replicas = placement(group.values, per_system.values)
    systems, replicas = group.copy(data=systems), group.copy(data=replicas)
    used = replicas * group
    if basis == "provisioned":
        total = used * 0.0 + _provisioned(ds, boundary, vintage, used, systems)
        idle = total
    else:
        total = _metered(ds, boundary, ds["power"], used, systems)
        idle = _metered(ds, boundary, ds["idle_w"] + used * 0.0, used, systems)
    mean = duty * total + (1.0 - duty) * idle
    rate = duty * used * ds["tokens_per_s_per_gpu"]
    energy = (mean / rate).transpose(*ds["power"].dims)
    where = f"{boundary}, {basis}" + (f", {vintage or NAMEPLATE}" if basis == "provisioned" else "")
    token = ds.attrs.get("token_basis", "output")
    power = (mean / used).where(ds["power"].notnull()).transpose(*ds["power"].dims)
    return ds.assign(
        power_at_boundary=power.assign_attrs(
            units="W", long_name=f"power per accelerator of a replica, idle ones charged ({where})"
        ),
        joules_per_token_at_boundary=energy.assign_attrs(units="J", long_name=f"energy per {token} token ({where})"),
        tokens_per_mwh=(JOULES_PER_MWH / energy).assign_attrs(
            units="1/MWh", long_name=f"{token} tokens per megawatt-hour ({where})"
        ),
    ).assign_attrs(boundary=boundary, basis=basis, duty=str(duty), vintage=vintage or "")


def _metered(ds: xr.Dataset, boundary: Boundary, draw: xr.DataArray, used: xr.DataArray, systems: xr.DataArray) -> xr.DataArray:
    """Watts of all systems placed together, `used` accelerators drawing `draw` each and the others idle."""
    if boundary == "accelerator":
        return used * draw
    import xarray as xr

    left = systems * ds["system_accelerators"] - used
    direct = (used * draw + left * ds["idle_w"]) / systems + ds["host_w"]
    efficiency = xr.apply_ufunc(
        psu_efficiency,
        direct / ds["psu_rated_w"],
        ds["psu_load"],
        ds["psu_efficiency"],
        input_core_dims=[[d for d in direct.dims if d != "system"], ["psu_point"], ["psu_point"]],
        output_core_dims=[[d for d in direct.dims if d != "system"]],
        vectorize=True,
    )
    rack: xr.DataArray = systems * direct / efficiency
    return rack * ds["pue"] if boundary == "facility" else rack


def _provisioned(
    ds: xr.Dataset, boundary: Boundary, vintage: str | None, used: xr.DataArray, systems: xr.DataArray
) -> xr.DataArray:
    """Watts reserved for all systems placed together."""
    if vintage is not None:
        known = [str(v) for v in ds["vintage"].values]
        if vintage not in known:
            raise InputError(f"vintage {vintage!r}: these systems have {', '.join(known) or 'none'}")
        if boundary != "facility":
            raise InputError(f"vintage {vintage!r} is an all-in figure of the facility; boundary {boundary!r} has none")
        return systems * ds["system_accelerators"] * ds["provisioned_w"].sel(vintage=vintage, drop=True)
    if boundary == "accelerator":
        return used * ds["tdp_w"]
    rack: xr.DataArray = systems * ds["max_w"]
    return rack * ds["pue"] if boundary == "facility" else rack
