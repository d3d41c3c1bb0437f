"""Make docs/frontiers.md and its picture: frontiers measured in public beside ours. They are never changed by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np

from roofline.planning.pareto import pareto
from roofline.report.files import save_figure
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, figure
from roofline.serving import Lognormal, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FOLDER = Path(__file__).parent
PAGE = FOLDER / "frontiers.md"
PICTURE = FOLDER / "img" / "frontiers.png"
MEASURED = FOLDER.parent / "tests" / "data" / "deepseek_frontiers.csv"

OSL = 1024
ISLS = {1024: "1k/1k", 8192: "8k/1k"}
AT = (20, 50, 100)
"""Tokens a second of a user at which frontiers are compared."""

BEND = 80
"""The same where our line of the last series bends."""

MOST_TTFT_S = 10.0
"""Median time to first token beyond which a point, measured or ours, is left out: its requests stand in a queue."""

REACH = 1.05
"""A curve is taken to reach a rate this much beyond its ends."""

MEAN_SHARE, LENGTH_CV = 0.9, 0.2 / math.sqrt(12) / 0.9
"""Lengths that were measured are uniform from 0.8 to 1.0 of the nominal ones."""


class Series(NamedTuple):
    """One system with weights of one format.   number : of its colour.   mark : of what was measured."""

    label: str
    system: str
    weights: str
    recipes: tuple[str, ...]
    number: int
    mark: str


SERIES = (
    Series("H200, fp8", "dgx-h200", "fp8", ("fp8-block", "fp8-block-kv8"), 0, "o"),
    Series("B200, fp8", "dgx-b200", "fp8", ("fp8-block", "fp8-block-kv8"), 1, "s"),
    Series("B200, fp4", "dgx-b200", "fp4", ("nvfp4-experts",), 2, "D"),
    Series("GB300, fp4", "gb300-nvl72", "fp4", ("nvfp4-experts",), 3, "^"),
)
FIRST, LAST = SERIES[0], SERIES[-1]


@dataclass(frozen=True)
class Curve:
    """x : tokens/s of a user, rising.   y : output tokens/s of an accelerator."""

    x: Floats
    y: Floats

    def at(self, rate: float) -> float:
        """The curve at a rate, straight in log y between points; NaN where it does not reach."""
        if self.x.size == 0 or not self.x[0] / REACH <= rate <= self.x[-1] * REACH:
            return math.nan
        return float(np.exp(np.interp(rate, self.x, np.log(self.y))))

    def upper(self) -> Curve:
        """Its points that no other beats in both."""
        kept, best = [], -math.inf
        for at in np.lexsort((-self.y, -self.x)):
            if self.y[at] > best:
                best = self.y[at]
                kept.append(at)
        return Curve(self.x[kept[::-1]], self.y[kept[::-1]])


MODES = ("aggregated", "disaggregated")


def measured(series: Series, isl: int, modes: Sequence[str] = MODES) -> Curve:
    """All points measured of a series, within MOST_TTFT_S, as they stand in the file."""
    with MEASURED.open(encoding="utf-8", newline="") as handle:
        rows = [
            (1e3 / float(row["tpot_ms"]), float(row["output_tokens_per_s_per_gpu"]))
            for row in csv.DictReader(handle)
            if (row["system"], row["weights"], int(row["isl"])) == (series.system, series.weights, isl)
            and row["mode"] in modes
            and float(row["ttft_ms"]) <= 1e3 * MOST_TTFT_S
        ]
    x, y = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return Curve(x, y)


def ours(series: Series, isl: int, modes: Sequence[str] = MODES) -> Curve:
    """Our frontier of a series: all deployments, default stack, no drafts."""
    prompt, answer = (Lognormal(MEAN_SHARE * nominal, LENGTH_CV) for nominal in (isl, OSL))
    found = pareto(
        "deepseek-r1",
        series.system,
        list(series.recipes),
        workload=Workload(prompt, answer),
        slo={"ttft_s": MOST_TTFT_S},
        modes=modes,
    )
    return Curve(found["tokens_per_s_per_user"].values, found["tokens_per_s_per_gpu"].values)


Curves = dict[tuple[str, int], tuple[Curve, Curve]]
"""By label and ISL: ours and the envelope of what was measured."""


def curves(modes: Sequence[str] = MODES, series: Sequence[Series] = SERIES) -> Curves:
    """All of them; some seconds."""
    return {
        (one.label, isl): (ours(one, isl, modes), measured(one, isl, modes).upper()) for isl in ISLS for one in series
    }


def number(value: float) -> str:
    """Three digits, or n/a."""
    return "n/a" if math.isnan(value) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def ratio(value: float) -> str:
    """Two digits behind the point, or n/a."""
    return "n/a" if math.isnan(value) else f"{value:.2f}"


def compared(known: Curves) -> list[list[str]]:
    """Rows of the first table: workload, series, and at each rate ours, measured and their ratio."""
    rows = []
    for (label, isl), (mine, theirs) in known.items():
        row = [ISLS[isl], label]
        for rate in AT:
            a, b = mine.at(rate), theirs.at(rate)
            row += [number(a), number(b), ratio(a / b)]
        rows.append(row)
    return rows


def generations(known: Curves) -> list[list[str]]:
    """Rows of the second table: the last series over the first, ours and measured."""
    rows = []
    for isl, name in ISLS.items():
        row = [name]
        for rate in AT:
            for which in (0, 1):
                row.append(ratio(known[LAST.label, isl][which].at(rate) / known[FIRST.label, isl][which].at(rate)))
        rows.append(row)
    return rows


def ratios(known: Curves) -> Iterator[tuple[int, float]]:
    """(tokens/s of a user, ours over measured) wherever both reach."""
    for mine, theirs in known.values():
        for rate in AT:
            value = mine.at(rate) / theirs.at(rate)
            if not math.isnan(value):
                yield rate, value


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of a page; the first columns are words."""
    header = list(header)
    words = sum(not cell.startswith(tuple("0123456789")) for cell in header)
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


TEXT = """# Frontiers measured in public, and ours

DeepSeek-R1 on three systems: how many output tokens an accelerator makes a second while each user sees so many a
second. Markers are measurements of InferenceX (TensorRT-LLM and SGLang, both also under Dynamo); lines are what
`pareto` finds of all deployments without having seen them. Made by `python docs/make_frontiers.py`.

![Frontiers of DeepSeek-R1, measured and ours](img/frontiers.png)

## Ours over measured

Output tokens/s of an accelerator, at {rates} tokens/s of a user. *Measured* is the upper envelope of the points,
straight in log y between them; n/a where it does not reach within {reach} %. A ratio above 1: we promise more than was
measured.

<!-- compared -->
{compared}

The geometric mean of the ratios is {means}. Of all
{count}, {inside} lie between 0.5 and 2; the lowest is {lowest}, the highest {highest}.

## Aggregated servers alone

The same where prompts and decoding share the accelerators: {alone} aggregated points were measured within the limits
below, on boxes of 4 or 8, and of GB300 none.

<!-- aggregated -->
{aggregated}

## One rack against one box

{last} over {first} at the same speed of a user:

<!-- generations -->
{generations}

## Where we are off, and why

- **Fast users: too low.** An aggregated server at 100 tokens/s of a user is given {fast} of what was measured.
  Batches are small there, and fixed times make the step: those of kernels and collectives, and what the stack adds.
  Ours are of kernels measured one by one, added up, and of a stack that is nobody's; an engine fuses kernels and
  overlaps them. That this is the reason is likely, and not shown here.
- **The knee: too high.** Our lines bend down from attention by data parallelism with wide expert parallelism to tensor
  parallelism on few accelerators: between 20 and 50 tokens/s of a user, on GB300 between 60 and 95. There we give up to
  {highest_knee} times what was measured, of aggregated servers alone up to {knee_alone}, and on GB300 at {bend}
  tokens/s of a user {rack_knee}. A line of ours is the best of thousands of deployments and of all splits in two
  pools; what was measured is what somebody chose to run: at 1k/1k on H200 no aggregated server with a batch beyond 8 a
  GPU, on B200 in FP4 no pools below 100 tokens/s of a user without MTP. How much of the distance is deployments that
  nobody ran, and how much is error, cannot be told from these points.
- **Thin envelopes.** GB300 has {thin[0]} points at 1k/1k, and none between {gap[0]} tokens/s of a user; it has
  {thin[1]} at 8k/1k, and none between {gap[1]}. Its ratios at 50 are against a straight line across that gap. H200 at
  8k/1k and 100 lies on a cliff, between 43 tokens/s on one box at 91 and 6.5 on seven at 104: leave {cliff}, and what
  follows from it, out.
- **The ratio of systems** is better than either curve where errors are common to both, and no better where they are
  not. Measured or ours, it is not one number: it depends on the speed of the user more than on anything else.

## What was compared

- Measured: closed loop at a fixed concurrency, random tokens without common prefixes, lengths uniform from 0.8 to 1.0
  of the nominal; median TPOT, output tokens over *all* accelerators, those that compute prompts too. Runs from {since}
  to {until}, of repeats of a configuration the latest; engines changed over that time, and repeats months apart differ
  by some percent. Not all points of the source: those of its envelopes, and others spread over the range. Each row with
  its run: `tests/data/deepseek_frontiers.csv`.
- **No multi-token prediction** on either side. Much of what is published as the frontier of these systems has it: do
  not set that beside our lines.
- Ours: `kernel` fidelity and the *default* stack, which stands for no engine and is not calibrated on any of these
  points; lengths with the same mean and spread. A unit is at most one rack, or the boxes that hold the weights twice
  over; two pools are matched in whole replicas at the rate of the slower, while a closed loop lets one of them wait.
- Points whose median TTFT is beyond {ttft:g} s are left out on both sides.
- FP8: block-scaled weights, latent cache in BF16 or FP8, whichever is better; which was run is not said. FP4: recipe
  `nvfp4-experts`.

What fidelities and grades mean: [model-limits.md](model-limits.md).
"""


def mean_at(known: Curves, rate: int) -> str:
    """Geometric mean of the ratios at a rate."""
    found = [value for at, value in ratios(known) if at == rate]
    return f"{math.exp(np.mean(np.log(found))):.2f} at {rate}"


def gap(curve: Curve) -> str:
    """The tokens/s of a user between which nothing was measured, about the middle of AT."""
    x = np.sort(curve.x)
    at = int(np.searchsorted(x, AT[1]))
    return f"{x[at - 1]:.0f} and {x[at]:.0f}"


def page(known: Curves, alone: Curves) -> str:
    """The text of docs/frontiers.md.   alone : aggregated servers by themselves."""
    found = [value for _, value in ratios(known)]
    knee = [value for rate, value in ratios(known) if rate < AT[-1]]
    slow_alone = [value for rate, value in ratios(alone) if rate < AT[-1]]
    fast = [value for rate, value in ratios(alone) if rate == AT[-1]]
    with MEASURED.open(encoding="utf-8", newline="") as handle:
        dates = sorted(row["date"] for row in csv.DictReader(handle))
    each = [f"{rate}: {what}" for rate in AT for what in ("ours", "measured", "ratio")]
    both = [f"{rate}: {what}" for rate in AT for what in ("ours", "measured")]
    rack = [measured(LAST, isl) for isl in ISLS]
    listed = [mean_at(known, rate) for rate in AT]
    cliff = known[FIRST.label, max(ISLS)]
    return TEXT.format(
        rates=f"{', '.join(map(str, AT[:-1]))} and {AT[-1]}",
        reach=round(100 * (REACH - 1)),
        compared=table(["workload", "system, weights", *each], compared(known)),
        aggregated=table(["workload", "system, weights", *each], compared(alone)),
        generations=table(["workload", *both], generations(known)),
        means=f"{', '.join(listed[:-1])} and {listed[-1]} tokens/s of a user",
        inside=sum(0.5 <= value <= 2.0 for value in found),
        count=len(found),
        lowest=ratio(min(found)),
        highest=ratio(max(found)),
        highest_knee=ratio(max(knee)),
        knee_alone=ratio(max(slow_alone)),
        alone=sum(measured(one, isl, MODES[:1]).x.size for isl in ISLS for one in SERIES),
        bend=BEND,
        rack_knee=" and ".join(
            f"{ratio(mine.at(BEND) / theirs.at(BEND))} ({name})"
            for isl, name in ISLS.items()
            for mine, theirs in [known[LAST.label, isl]]
        ),
        fast=f"{ratio(min(fast))} to {ratio(max(fast))}",
        first=FIRST.label,
        last=LAST.label,
        thin=[curve.x.size for curve in rack],
        gap=[gap(curve) for curve in rack],
        cliff=ratio(cliff[0].at(AT[-1]) / cliff[1].at(AT[-1])),
        since=dates[0],
        until=dates[-1],
        ttft=MOST_TTFT_S,
    )


def picture(known: Curves) -> Figure:
    """One panel a workload: our lines, and markers of what was measured, filled on its envelope."""
    with mpl.rc_context(STYLE | {"font.size": 12, "xtick.labelsize": 11, "ytick.labelsize": 11}):
        canvas = figure(layout=None)
        panels = canvas.subplots(1, len(ISLS), sharey=True)
        canvas.subplots_adjust(left=0.075, right=0.985, bottom=0.115, top=0.835, wspace=0.05)
        for ax, (isl, name) in zip(panels, ISLS.items(), strict=True):
            for series in SERIES:
                _draw(ax, series, isl, known[series.label, isl])
            ax.set_yscale("log")
            ax.set_xlim(0, 173)
            ax.set_ylim(8, 15000)
            ax.set_yticks([10, 30, 100, 300, 1000, 3000, 10000], ["10", "30", "100", "300", "1k", "3k", "10k"])
            ax.minorticks_off()
            ax.grid(True, color="#d0d7de", linewidth=0.5)
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_xlabel("tokens/s of a user")
            ax.set_title(f"ISL/OSL {name}", loc="left", fontsize=14, fontweight="bold", color=INK)
        panels[0].set_ylabel("output tokens/s of an accelerator")
        _legend(canvas)
        canvas.text(
            0.075, 0.95, "DeepSeek-R1 without MTP: frontiers as modelled and as measured", fontsize=16, color=INK
        )
    return canvas


def _draw(ax: Axes, series: Series, isl: int, known: tuple[Curve, Curve]) -> None:
    colour, (mine, envelope), every = COLOURS[series.number], known, measured(series, isl)
    ax.plot(mine.x, mine.y, color=colour, linewidth=2.6, zorder=3)
    style: Any = {"color": colour, "marker": series.mark, "linestyle": "none", "markersize": 7.5}
    ax.plot(every.x, every.y, **style, markerfacecolor="none", alpha=0.45, zorder=2)
    ax.plot(envelope.x, envelope.y, **style, markeredgecolor="white", markeredgewidth=0.7, zorder=4)


def _legend(canvas: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[one.number], linewidth=2.6, marker=one.mark, markersize=8, label=one.label)
        for one in SERIES
    ]
    handles += [
        Line2D([], [], color=QUIET, linewidth=2.6, label="ours"),
        Line2D([], [], color=QUIET, marker="o", linestyle="none", markersize=8, label="measured, best"),
        Line2D([], [], color=QUIET, marker="o", linestyle="none", markersize=8, markerfacecolor="none", label="others"),
    ]
    canvas.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.068, 0.938), ncols=len(handles), frameon=False,
        columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip


if __name__ == "__main__":
    made = curves()
    PAGE.write_text(page(made, curves(MODES[:1], SERIES[:-1])), encoding="utf-8")
    save_figure(picture(made), PICTURE)
    print(PAGE)
