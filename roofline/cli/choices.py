"""What a search chose, for people: one row a choice, in words where there is none, and how to take one apart."""

from __future__ import annotations

import shlex
from functools import partial
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
    "total_tokens_per_s_per_gpu": "total tok/s/GPU",
    "tokens_per_s_per_mw": "tok/s/MW",
    "tokens_per_mwh": "tokens/MWh",
    "joules_per_token_at_boundary": "energy/token",
    "accelerators": "GPUs",
    "replicas": "units",
    "total_accelerators": "all GPUs",
    "memory_share": "memory",
}
"""Figures that a table for people shows, with short headers; files and JSON hold all of them."""

OF_FRONTIERS = ("total_tokens_per_s_per_gpu", "tokens_per_s_per_mw")
"""Figures that a table shows only where a frontier is against them."""

WHY = "why not"

IMPORTANCE = (
    *("model", "system", "workload", "slo", WHY, "deployment", "tokens/MWh", "tok/s/GPU", "TTFT", "TPOT", "mode"),
    *("all GPUs", "GPUs", "recipe", "energy/token", "tok/s/user", "in flight", "batch", "memory", "binds", "units"),
)
"""Which columns a narrow terminal keeps, first those before."""


def words() -> dict[str, Callable[[Row], str]]:
    """Columns of words that say what was chosen, by header."""
    from roofline.report.choices import deployed, recipes

    return {"mode": lambda row: str(row["mode"]).replace("_ffn", " | FFN"), "deployment": deployed, "recipe": recipes}


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
    most: int = 0,
    said: Sequence[str] = (),
) -> None:
    """Print choices, under them why there is none, how to take the first apart and what the numbers mean.

    labels : columns or attributes that say what a choice is for.   most : rows of one line of a frontier; 0 all.
    said : lines before the others under the table.
    """
    from roofline.cli.evaluate import limits, undisclosed
    from roofline.report.plots import basis_line

    if len(rows):
        _print(rows, labels, most, ds.attrs.get("against"))
    else:
        print("Nothing runs and meets the limits.")
    lines = [*said, *limits(ds), *undisclosed(ds)]
    lines += [f"take it apart: {explain}"] if explain else []
    lines += [_searched(ds.attrs), basis_line(ds.attrs), f"written to {out}" if out is not None else ""]
    print("\n".join(line for line in lines if line))


def _print(rows: Table, labels: Sequence[str], most: int, against: str | None) -> None:
    from roofline.cli.output import MOST_ROWS, print_cells
    from roofline.report.choices import why_not

    listed: list[dict[str, Any]] = [
        {name: rows.attrs[name] for name in labels if name in rows.attrs} | dict(row) for row in rows.rows()
    ]
    labels = [name for name in labels if name in listed[0]]
    varying = [name for name in labels if len({row[name] for row in listed}) > 1]
    units = {column.name: column.unit for column in rows.columns}
    figures = {*units} - ({*OF_FRONTIERS} - {against})
    in_words = {name: partial(_label, name=name) for name in varying} | words()
    makers: dict[str, Callable[[Row], str]] = dict(in_words)
    makers |= {header: partial(figure, name=name, units=units) for name, header in NUMBERS.items() if name in figures}
    makers |= {"binds": _binds, WHY: why_not}
    shown = thinned(listed, varying, most) if most else listed
    cells = [[make(row) for make in makers.values()] for row in shown[:MOST_ROWS]]
    headers = [*makers]
    empty = {"drafts": ("", "0")}
    kept = [i for i, name in enumerate(headers) if any(row[i] not in empty.get(name, ("",)) for row in cells)]
    if not any("latency" in str(row.get("slo")) for row in listed):  # TTFT and TPOT say as much
        kept = [i for i in kept if headers[i] != "latency"]
    print_cells(
        [headers[i] for i in kept],
        [[row[i] for i in kept] for row in cells],
        left=[headers[i] in (*in_words, "binds", WHY) for i in kept],
        title="  ".join(f"{name} {listed[0][name]}" for name in labels if name not in varying and listed[0][name]),
        importance=[*varying, *IMPORTANCE],
        elsewhere="--json, --out x.csv",
    )
    if len(listed) > len(cells):
        print(f"{len(listed) - len(cells)} more rows; --out FILE.csv or --json gives all of them")


def thinned(rows: Sequence[Row], by: Sequence[str], most: int) -> list[Row]:
    """Of the rows with the same labels at most so many, evenly taken, the first and the last among them."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    found: list[Row] = []
    for group in groups.values():
        count = min(most, len(group))
        found += [group[round(i * (len(group) - 1) / max(1, count - 1))] for i in range(count)]
    return found


def _label(row: Row, name: str) -> str:
    return str(row[name])


def _binds(row: Row) -> str:
    return "" if row.get("bound", "none") == "none" else str(row["bound"])


def _searched(attrs: Mapping[str, Any]) -> str:
    parts = [f"{int(attrs['candidates']):,} candidates decided" if "candidates" in attrs else ""]
    parts += [f"objective {attrs['objective']}" if "objective" in attrs else ""]
    parts += [f"stack {attrs['stack']}" if "stack" in attrs else ""]
    parts += [f"duty {attrs['duty']}" if attrs.get("duty", "1").strip("1, ") else ""]
    return "  ·  ".join(part for part in parts if part)


def explain_command(
    rows: Table, workloads: Mapping[str, Workload], typed: Mapping[str, str], specs: Path | None
) -> str:
    """The command that takes a decode step of the first choice apart, '' where there is none on one system.

    workloads : by label on the axis.   typed : label of a sheet -> name or path as typed.
    """
    row = next((row for row in rows.rows() if row["mode"] and row["mode"] != "attention_ffn"), None)
    if row is None:
        return ""
    words = ["roofline", "explain", *(typed.get(str(row[name]), str(row[name])) for name in ("model", "system"))]
    words += ["--recipe", typed.get(str(row["recipe"]), str(row["recipe"]))]
    for name in ("tp", "pp", "dp", "ep", "moe_tp"):
        words += [f"--{name.replace('_', '-')}", f"{row[name]:.0f}"]
    drafts = int(row["drafts"] or 0)
    context = max(round(workloads[str(row["workload"])].mean_context), 1 + drafts)
    words += ["--batch", f"{row['batch']:.0f}", "--context", f"{context}"]
    if drafts:
        accepted = rows.attrs["acceptance"].split(", ")[:drafts]
        words += ["--drafts", f"{drafts}", "--acceptance", ",".join(accepted)]
    if specs is not None:
        words += ["--specs", str(specs)]
    return shlex.join(words)
