"""A user's accelerator against the shipped ones: a rate of exactly twice a known one is a usual slip.

Makers headline rates with structured sparsity and links in both directions: both are twice what a sheet wants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from roofline.specs.findings import Finding
from roofline.specs.folders import FOLDERS, built_in_root, sheet_files
from roofline.specs.hardware import Accelerator
from roofline.specs.parse import parse

RATE_TOLERANCE = 0.01
"""Makers round their rates: 1979 and 1978.9 TFLOP/s are one figure."""

LINK_TOLERANCE = 0.001
"""Links are round figures, and parts of different makers lie close: 448 and 450 GB/s are two."""

_FIELDS = ("year", "dense_flop_per_s", "scale_up_bytes_per_s")
_NEVER_SPARSE = {"fp32"}


def doubled(sheet: Accelerator) -> Iterator[Finding]:
    """Doubts about rates that are twice a shipped accelerator's and no shipped accelerator's own.

    The dense rate of a math type is compared with that of the same math type, the scale-up rate with the others'.
    """
    shipped = shipped_rates()
    for math, rate in sheet.dense_flop_per_s.items():
        dense = {name: part["dense_flop_per_s"].get(math) for name, part in shipped.items()}
        name = _twice(rate, dense, RATE_TOLERANCE)
        if name and math not in _NEVER_SPARSE:
            problem = f"twice the dense {math} of {name}: the figure with sparsity?"
            yield _doubt(f"dense_flop_per_s.{math}", rate, problem, f"write the dense one, {dense[name]:g}")
    link = sheet.scale_up_bytes_per_s
    links = {name: part.get("scale_up_bytes_per_s") for name, part in shipped.items()}
    name = _twice(link, links, LINK_TOLERANCE) if link else ""
    if link and name:
        problem = f"twice the scale-up rate of {name}: the bidirectional figure?"
        yield _doubt("scale_up_bytes_per_s", link, problem, f"write one direction, {links[name]:g}")


@lru_cache(maxsize=1)
def shipped_rates() -> dict[str, dict[str, Any]]:
    """Id of each shipped accelerator -> its rates, from their lines alone: its other fields are not parsed.

    In the order of their years, so that a rate that several have is named after the first of them.
    """
    files = sheet_files(built_in_root() / FOLDERS["accelerator"][0])
    parts = {name: parse(_passages(path.read_text(encoding="utf-8"))) for name, path in files.items()}
    return dict(sorted(parts.items(), key=lambda item: (item[1].get("year", 0), item[0])))


def _passages(text: str) -> str:
    """The lines of the fields compared here, each with the indented lines that follow it."""
    kept, inside = [], False
    for line in text.splitlines():
        inside = line.startswith(_FIELDS) or (inside and line.startswith((" ", "}")))
        if inside:
            kept.append(line)
    return "\n".join(kept)


def _twice(value: float, known: Mapping[str, float | None], tolerance: float) -> str:
    """The first part with half of `value`, or an empty string where there is none or one has `value` itself."""
    rates = {name: rate for name, rate in known.items() if rate}
    if any(abs(value - rate) <= tolerance * rate for rate in rates.values()):
        return ""
    return next((name for name, rate in rates.items() if abs(value - 2 * rate) <= tolerance * 2 * rate), "")


def _doubt(field: str, value: float, problem: str, hint: str) -> Finding:
    return Finding(problem, field, f"{value:g}", hint, severity="warning")
