"""Write the tables and the picture of docs/power-cap.md from what the library computes.

python docs/make_power_cap.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import roofline as rl
from roofline.insight.clock import BANDS
from roofline.insight.power_cap import power_cap
from roofline.report.files import save_figure
from roofline.report.power_cap import cap_curve

HERE = Path(__file__).parent
PAGE = HERE / "power-cap.md"
PLACES = (
    ("llama-3.1-70b", "dgx-h100", 700),
    ("llama-3.1-8b", "dgx-h100", 700),
    ("llama-3.1-70b", "dgx-h200", 700),
    ("deepseek-r1", "dgx-b200", 1000),
    ("deepseek-r1", "gb300-nvl72", 1400),
)
"""Models, systems and the TDP up to which caps are tried."""


def under(model: str, system: str, most: int, clock: dict[str, float] | None = None) -> Any:
    """The caps of the page: 1k/1k, 30 ms at most, from 200 W in tens."""
    slo, caps = rl.SLO(tpot_s=0.03), np.arange(200.0, most + 1.0, 10.0)
    return power_cap(model, system, caps=caps, workload="1k/1k", slo=slo, replan=True, clock=clock)


def change(one: Any, name: str) -> str:
    """`+13.5 %` of a figure at the best cap."""
    return f"{100 * (float(one[f'best_{name}_ratio']) - 1):+.1f} %"


def best(ds: Any) -> list[str]:
    """Cells of the best cap when everything is chosen again."""
    one = ds.sel(choice="replanned")
    cap = f"{float(one['best_cap']):.0f} W"
    return [cap, *(change(one, name) for name in ("tokens_per_mwh", "tokens_per_s_per_gpu", "tpot"))]


def places() -> list[str]:
    """Rows of the table of models and systems."""
    rows = []
    for model, system, most in PLACES:
        ds = under(model, system, most)
        held = ds.sel(choice="held")
        of_held = f"{float(held['best_cap']):.0f} W, {change(held, 'tokens_per_mwh')}"
        cells = [model, system, f"{float(ds['uncapped_power']):.0f} W", of_held, *best(ds)]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def bands() -> list[str]:
    """Rows of the table of numbers: value, band, and the best cap at either end."""
    rows = []
    for name, band in BANDS.items():
        ends = []
        for value in (band.low, band.high):
            cap, gain, *_ = best(under("llama-3.1-70b", "dgx-h100", 700, {name: value}))
            ends.append(f"{cap}, {gain}")
        same = "none here" if name.startswith("gddr") else " / ".join(ends)
        rows.append(f"| `{name}` | {band.value:g} | {band.low:g} to {band.high:g} | {same} | {band.why} |")
    return rows


def put(text: str, mark: str, rows: list[str]) -> str:
    """A page with the rows of the table below `<!-- mark -->` replaced; header and ruler stay."""
    before, sign, after = text.partition(f"<!-- {mark} -->\n")
    lines = after.splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if not line.startswith("|"))
    return before + sign + "".join(lines[:2]) + "".join(f"{row}\n" for row in rows) + "".join(lines[end:])


def main() -> None:
    """Write page and picture."""
    text = PAGE.read_text(encoding="utf-8")
    text = put(put(text, "places", places()), "bands", bands())
    PAGE.write_text(text, encoding="utf-8")
    save_figure(cap_curve(under("llama-3.1-70b", "dgx-h100", 700)), HERE / "img" / "power-cap.png")


if __name__ == "__main__":
    main()
