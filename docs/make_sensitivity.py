"""Write the tables and the picture of docs/sensitivity.md from what the library computes.

python docs/make_sensitivity.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import roofline as rl
from roofline.insight.parameters import short_name
from roofline.insight.sensitivity import ranked, sensitivity
from roofline.insight.spreads import REASONS, SPREADS
from roofline.report.files import save_figure
from roofline.report.tornado import tornado

HERE = Path(__file__).parent
PAGE = HERE / "sensitivity.md"
ROWS = 10


def example() -> Any:
    """The sensitivity that the page shows."""
    slo = rl.SLO(tpot_s=0.03)
    return sensitivity("llama-3.1-70b", "dgx-h100", workload="1k/1k", slo=slo, searched=ROWS)


def spreads() -> list[str]:
    """Rows of the table of spreads."""
    return [
        f"| `{kind}` | " + " | ".join(f"{value:g}" for value in values) + f" | {REASONS[kind]} |"
        for kind, values in SPREADS.items()
    ]


def strongest(ds: Any) -> list[str]:
    """Rows of the table of elasticities."""

    def percent(ratio: float) -> str:
        return f"{100 * (ratio - 1):+.1f} %" if ratio == ratio else "cannot be"

    found = ranked(ds, "tokens_per_mwh", ROWS)
    rows = []
    for p, path in enumerate(found["parameter"].values):
        one = found.isel(parameter=p)
        e, more = (float(one[name].sel(figure="tokens_per_mwh")) for name in ("elasticity", "ratio_more"))
        again, grade = float(one["searched_more"]), str(one["parameter_grade"].item())
        rows.append(f"| {short_name(str(path))} | {e:+.2f} | {percent(more)} | {percent(again)} | {grade} |")
    return rows


def put(text: str, mark: str, rows: list[str]) -> str:
    """A page with the rows of the table below `<!-- mark -->` replaced; header and ruler stay."""
    before, sign, after = text.partition(f"<!-- {mark} -->\n")
    lines = after.splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if not line.startswith("|"))
    return before + sign + "".join(lines[:2]) + "".join(f"{row}\n" for row in rows) + "".join(lines[end:])


def page(ds: Any) -> str:
    """The page with its tables made anew.   ds : of `example`."""
    return put(put(PAGE.read_text(encoding="utf-8"), "spreads", spreads()), "example", strongest(ds))


def main() -> None:
    """Write the page and the picture."""
    ds = example()
    PAGE.write_text(page(ds), encoding="utf-8")
    save_figure(tornado(ds), HERE / "img" / "tornado.png")


if __name__ == "__main__":
    main()
