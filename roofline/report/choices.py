"""What a plan chose, in words: its deployment, its recipe, and why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    Row = Mapping[str, Any]

MISSED = {"ttft": "TTFT", "tpot": "TPOT", "latency": "latency"}
"""Limits as people write them."""


def deployed(row: Row) -> str:
    """`tp4`, or of two pools `3x tp4 + 2x dp8 ep8`: prompts first, with the system that computes them if another.

    Where feed-forwards are apart: `3x tp4 + 2x (dp8 | ep32 on SYSTEM)`, attention first.
    """
    if not row["prefill_deployment"]:
        return str(row["deployment"])
    elsewhere = f" on {row['prefill_system']}" if row["prefill_system"] != row["system"] else ""
    then = str(row["deployment"])
    if row.get("ffn_deployment"):
        then = f"({then} | {row['ffn_deployment']} on {row['ffn_system']})"
    first = f"{row['prefill_replicas']:.0f}x {row['prefill_deployment']}{elsewhere}"
    return f"{first} + {row['decode_replicas']:.0f}x {then}"


def recipes(row: Row) -> str:
    """The recipe, or those of two pools where they differ."""
    first, then = str(row["prefill_recipe"]), str(row["recipe"])
    return f"{first} + {then}" if first not in ("", then) else then


def missed(limit: str, factor: float) -> str:
    """`TTFT 1.4x over its limit`."""
    return f"{MISSED.get(limit, limit)} {factor:.4g}x over its limit"


def why_not(row: Row) -> str:
    """Why there is no choice, '' where there is one: by how much the nearest misses what, or a limit's name."""
    if row["mode"]:
        return ""
    if row.get("nearest_miss"):
        return missed(row["nearest_miss"], row["nearest_factor"])
    return "nothing found" if row["limit"] == "none" else str(row["limit"])


def explain_arguments(ds: xr.Dataset, labels: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `roofline.explain` for the decode step chosen in one cell of a plan; see the accessor."""
    if "mean_context" not in ds:
        raise InputError("explain_arguments: the Dataset is none that plan, pairs or pareto returned")
    one = ds
    for name, value in labels.items():
        if name == "point" or name == "pair":
            one = one.isel({name: int(value)})
        elif name not in one.dims:
            raise unknown_name("dim", name, [str(dim) for dim in one.dims])
        elif value not in one[name].values:
            raise unknown_name(name, str(value), [str(known) for known in one[name].values])
        else:
            one = one.sel({name: value})
    open_dims = [str(dim) for dim, size in one["mode"].sizes.items() if size > 1]
    if open_dims:
        raise InputError(f"explain_arguments: several values of {', '.join(open_dims)}; give the label of one")
    one = one.squeeze()
    mode = str(one["mode"].item())
    if not mode:
        raise InputError("explain_arguments: nothing is chosen there")
    if mode == "attention_ffn":
        raise InputError("explain_arguments: attention and feed-forward are on two systems; explain takes one")
    drafts = int(one["drafts"])
    found: dict[str, Any] = {name: str(one[name].item()) for name in ("model", "system", "recipe")}
    found |= {name: int(one[name]) for name in ("tp", "pp", "dp", "ep", "moe_tp", "batch")}
    found["context"] = max(round(float(one["mean_context"])), 1 + drafts)
    if drafts:
        accepted = [float(share) for share in ds.attrs["acceptance"].split(",")]
        found |= {"drafts": drafts, "acceptance": accepted[:drafts]}
    return found
