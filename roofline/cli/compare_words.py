"""A comparison as people read it in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.cli.output import print_cells
from roofline.report.choices import deployed, why_not
from roofline.report.plots import basis_line
from roofline.report.tables import number, table

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from roofline.insight.studies import Rerun

MEASURES = {
    "tokens_per_mwh": "tokens/MWh",
    "tokens_per_s_per_gpu": "tok/s/GPU",
    "tokens_per_usd": "tokens/USD",
}
"""Measures in a header."""


def show(ds: xr.Dataset, out: Path | None, rerun: Rerun | None) -> None:
    """Print the claim, the curve, the factors, and the ratio to lesser baselines."""
    if rerun is not None:
        _claim(rerun)
    _curve(ds)
    _baselines(ds)
    if "factor" in ds:
        _factors(ds)
    if rerun is not None:
        _beside(rerun)
    attrs: dict[str, Any] = dict(ds.attrs)
    if attrs["vintage"]:
        attrs["basis"] = f"{attrs['basis']}, {attrs['vintage']}"
    facts = ("modes", "acceptance", "stack", "slo", "usd_per_hour", "hardware_prices", "price_grades")
    print("  ".join(f"{name} {attrs[name]}" for name in facts if name in attrs))
    print(basis_line(attrs))
    if out is not None:
        print(f"written to {out}")


def _curve(ds: xr.Dataset) -> None:
    """One row an interactivity: levels of both sides, their ratios, what serves them."""
    measure = str(ds.attrs["measure"])
    rows = list(table(ds).rows())
    count = ds.sizes["interactivity"]
    old, new = rows[:count], rows[count:]
    ratios = [name for name in MEASURES if f"ratio_{name}" in ds]
    head = ["tok/s/user", f"old {MEASURES[measure]}", f"new {MEASURES[measure]}", *(f"x {MEASURES[n]}" for n in ratios)]
    head += ["old tok/s/GPU, in + out", "new tok/s/GPU, in + out", "old is served by", "new is served by"]
    cells = []
    for before, after in zip(old, new, strict=True):
        line = [number(before["interactivity"]), number(before[measure]), number(after[measure])]
        line += [number(before[f"ratio_{name}"]) for name in ratios]
        line += [number(row["total_tokens_per_s_per_gpu"]) for row in (before, after)]
        cells.append([*line, *(_served(row) for row in (before, after))])
    names = [str(name) for name in ds["system_name"].values]
    print_cells(
        head,
        cells,
        left=[column >= len(head) - 2 for column in range(len(head))],
        title=f"{names[1]} (new) over {names[0]} (old), {ds.attrs['model']}, ISL/OSL {ds.attrs['workload']}",
        importance=[*head[:3], *head[3 : 3 + len(ratios)], *head[-4:]],
        elsewhere="--json, --out x.csv",
    )
    print(f"each ratio is of both sides at their own best of it; served by: what is best for {MEASURES[measure]}")
    unknown = [str(text) for text in ds["power_unknown"].values if text]
    print("\n".join(unknown), end="\n" if unknown else "")


def _served(row: Any) -> str:
    if not row["mode"]:
        return f"- ({why_not(row)})"
    drafts = f", {_count(int(row['drafts']), 'draft')}" if row["drafts"] else ""
    return f"{row['mode']} {deployed(row)}, {row['recipe']}{drafts}"


def _count(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"


def _baselines(ds: xr.Dataset) -> None:
    """The ratio where the old side may do less."""
    x = ds["interactivity"].values
    shown = np.unique(np.linspace(0, x.size - 1, min(8, x.size)).round().astype(int))
    print(f"\nx {MEASURES[str(ds.attrs['measure'])]} by what the old side may do, at tokens/s of a user")
    print_cells(
        ["old may", *(number(x[n]) for n in shown)],
        [
            [str(name), *(number(ratio[n]) for n in shown)]
            for name, ratio in zip(ds["baseline"].values, ds["baseline_ratio"].values, strict=True)
        ],
        left=[True, *(False for _ in shown)],
        title="",
    )


def _factors(ds: xr.Dataset) -> None:
    """Each lever's factor, alone and last."""
    attrs = ds.attrs
    if not ds.sizes["lever"]:
        print("the two sides differ in nothing that the measure feels")
        return
    if attrs["ratio"]:
        at = f"{float(attrs['ratio']):.4g}x at {attrs['at_reported']} tokens/s of a user"
        print(f"\n{at}: factors that multiply to it (Shapley, {_count(int(attrs['mixtures']), 'mixture')} searched)")
        rows = zip(*(ds[name].values for name in ("lever", "factor", "alone", "last", "levers_moved")), strict=True)
        print_cells(
            ["lever", "factor", "alone", "last", "moved"],
            [[str(name), *(number(float(v)) for v in values), str(held)] for name, *values, held in rows],
            left=[True, False, False, False, True],
            title="",
        )
    else:
        print(f"no factors: no interactivity up to {attrs['at']} has a value of every mixture")
    if attrs["undefined"]:
        print(f"undefined at {attrs['at']}: {attrs['undefined']}")


def _claim(rerun: Rerun) -> None:
    """What was published, and its arithmetic."""
    claim = rerun.study.claim
    print(f"claim: {claim.says}\nsource: {claim.source.strip()}")
    if claim.notes:
        print(claim.notes.strip())
    if rerun.sums:
        print_cells(
            ["what", "how", "value", "published"],
            [
                [
                    s.what,
                    s.how,
                    f"{number(s.value)} {s.units}".strip(),
                    "" if s.published is None else number(s.published),
                ]
                for s in rerun.sums
            ],
            left=[True, True, False, False],
            title="arithmetic of the claim",
        )


def _beside(rerun: Rerun) -> None:
    """Where the claim sits on our curves, its own split, and what it leaves for parts of undisclosed watts."""
    for place in rerun.places:
        where = ", ".join(f"{x:.4g}" for x in place.at)
        at = f"ours at {where} tokens/s of a user" if where else "ours at no interactivity of the curve"
        print(f"{place.what} {number(place.value)}: {at}")
    if rerun.factors:
        print("factors beside the published ones")
        print_cells(
            ["group", "ours", "published"],
            [[name, number(ours), number(theirs)] for name, (ours, theirs) in rerun.factors.items()],
            left=[True, False, False],
            title="",
        )
    if rerun.watts_left:
        print("W that an accelerator of the feed-forwards may provision if the claim is to hold; below 0 it cannot:")
        print(", ".join(f"{number(watts, 'W')} at {number(x)}" for x, watts in rerun.watts_left.items()))
