"""What a search chose, for people: one row a choice, in words where there is none, and how to take one apart."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import xarray as xr

    from roofline.report.tables import Table
    from roofline.serving import Workload

    Row = Mapping[str, Any]

LABELS = ("model", "system", "workload", "slo")
"""What a choice is for; above the table where it is the same in every row."""

NUMBERS = {
    "drafts": "drafts",
    "batch": "batch",
    "concurrency": "in flight",
    "ttft": "TTFT",
    "tpot": "TPOT",
    "request_latency": "latency",
    "tokens_per_s_per_user": "tok/s/user",
    "tokens_per_s_per_gpu": "tok/s/GPU",
    "tokens_per_mwh": "tokens/MWh",
    "joules_per_token_at_boundary": "energy/token",
    "accelerators": "GPUs",
    "replicas": "units",
    "total_accelerators": "all GPUs",
    "memory_share": "memory",
}
"""Figures that a table for people shows, with short headers; files and JSON hold all of them."""

WHY = "why not"

IMPORTANCE = (
    *("model", "system", "workload", "slo", WHY, "deployment", "tokens/MWh", "tok/s/GPU", "TTFT", "TPOT", "mode"),
    *("all GPUs", "GPUs", "recipe", "energy/token", "tok/s/user", "in flight", "batch", "memory", "binds", "units"),
)
"""Which columns a narrow terminal keeps, first those before."""

MISSED = {"ttft": "TTFT", "tpot": "TPOT", "latency": "latency"}


def deployed(row: Row) -> str:
    """`tp4`, or of two pools `3x tp4 + 2x dp8 ep8`: prompts first, with the system that computes them if another."""
    if row["mode"] != "disaggregated":
        return str(row["deployment"])
    elsewhere = f" on {row['prefill_system']}" if row["prefill_system"] != row["system"] else ""
    first = f"{row['prefill_replicas']:.0f}x {row['prefill_deployment']}{elsewhere}"
    return f"{first} + {row['decode_replicas']:.0f}x {row['deployment']}"


def recipes(row: Row) -> str:
    """The recipe, or those of two pools where they differ."""
    first, then = str(row["prefill_recipe"]), str(row["recipe"])
    return f"{first} + {then}" if first not in ("", then) else then


def why_not(row: Row) -> str:
    """Why there is no choice, '' where there is one: a limit's name, or by how much the nearest misses what."""
    if row["mode"]:
        return ""
    if row["nearest_miss"]:
        return f"{MISSED[row['nearest_miss']]} {row['nearest_factor']:.4g}x over its limit"
    return "nothing found" if row["limit"] == "none" else str(row["limit"])


WORDS: dict[str, Callable[[Row], str]] = {
    "mode": lambda row: str(row["mode"]),
    "deployment": deployed,
    "recipe": recipes,
}


def figure(row: Row, name: str, units: Mapping[str, str]) -> str:
    """A figure as people read it: a share in percent, a count in full, '' for none."""
    from roofline.report.tables import number

    value = row[name]
    if value is None:
        return ""
    if name == "memory_share":
        return f"{value:.0%}"
    if not units[name] and float(value).is_integer():
        return f"{value:.0f}"
    return number(value, units[name])


def show(
    ds: xr.Dataset,
    rows: Table,
    out: Path | None,
    *,
    explain: str = "",
    labels: Sequence[str] = LABELS,
    more: Mapping[str, Callable[[Row], str]] | None = None,
    said: Sequence[str] = (),
) -> None:
    """Print choices, under them why there is none, how to take the first apart and what the numbers mean.

    labels : columns that say what a choice is for.   more : further columns of words, by header.
    said : lines before the others under the table.
    """
    from roofline.cli.evaluate import limits, undisclosed
    from roofline.cli.output import MOST_ROWS, print_cells
    from roofline.report.plots import basis_line

    listed = list(rows.rows())
    units = {column.name: column.unit for column in rows.columns}
    varying = [name for name in labels if len({row[name] for row in listed}) > 1]
    makers: dict[str, Callable[[Row], str]] = {name: lambda row, name=name: str(row[name]) for name in varying}  # type: ignore[misc]
    makers |= dict(more or {}) | WORDS
    makers |= {header: lambda row, name=name: figure(row, name, units) for name, header in NUMBERS.items()}  # type: ignore[misc]
    makers |= {"binds": lambda row: "" if row["bound"] == "none" else str(row["bound"]), WHY: why_not}
    cells = [[make(row) for make in makers.values()] for row in listed[:MOST_ROWS]]
    kept = [i for i in range(len(makers)) if any(row[i] for row in cells)]
    kept = [i for i in kept if [*makers][i] != "drafts" or any(row[i] not in ("", "0") for row in cells)]
    kept = [i for i in kept if [*makers][i] != "latency" or _limited(rows)]
    headers = [[*makers][i] for i in kept]
    words = {*varying, *(more or {}), *WORDS, "binds", WHY}
    print_cells(
        headers,
        [[row[i] for i in kept] for row in cells],
        left=[header in words for header in headers],
        title="  ".join(f"{name} {listed[0][name]}" for name in labels if name not in varying),
        importance=[*varying, *(more or {}), *IMPORTANCE],
        elsewhere="--json, --out x.csv",
    )
    if len(listed) > MOST_ROWS:
        print(f"{len(listed) - MOST_ROWS} more rows; --out FILE.csv or --json gives all of them")
    lines = [*said, *limits(ds), *undisclosed(ds)]
    lines += [f"take it apart: {explain}"] if explain else []
    lines += [_searched(ds.attrs), basis_line(ds.attrs), f"written to {out}" if out is not None else ""]
    print("\n".join(line for line in lines if line))


def _limited(rows: Table) -> bool:
    """Whether some SLO limits the latency; else TTFT and TPOT say as much."""
    return any("latency" in str(slo) for slo in rows["slo"].values)


def _searched(attrs: Mapping[str, Any]) -> str:
    parts = [f"{int(attrs['candidates'])} candidates tried" if "candidates" in attrs else ""]
    parts += [f"objective {attrs['objective']}" if "objective" in attrs else ""]
    parts += [f"stack {attrs['stack']}" if "stack" in attrs else ""]
    parts += [f"duty {attrs['duty']}" if attrs.get("duty", "1").strip("1, ") else ""]
    return "  ·  ".join(part for part in parts if part)


def explain_command(
    rows: Table, workloads: Mapping[str, Workload], typed: Mapping[str, str], specs: Path | None
) -> str:
    """The command that takes a decode step of the first choice apart, '' where there is none.

    workloads : by label on the axis.   typed : label of a sheet -> name or path as typed.
    """
    row = next((row for row in rows.rows() if row["mode"]), None)
    if row is None:
        return ""
    words = ["roofline", "explain", *(typed.get(str(row[name]), str(row[name])) for name in ("model", "system"))]
    words += ["--recipe", typed.get(str(row["recipe"]), str(row["recipe"]))]
    for name in ("tp", "pp", "dp", "ep", "moe_tp"):
        words += [f"--{name.replace('_', '-')}", f"{row[name]:.0f}"]
    drafts = int(row["drafts"])
    context = max(round(workloads[str(row["workload"])].mean_context), 1 + drafts)
    words += ["--batch", f"{row['batch']:.0f}", "--context", f"{context}"]
    if drafts:
        accepted = rows.attrs["acceptance"].split(", ")[:drafts]
        words += ["--drafts", f"{drafts}", "--acceptance", ",".join(accepted)]
    if specs is not None:
        words += ["--specs", str(specs)]
    return shlex.join(words)
