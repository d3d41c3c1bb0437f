"""`python -m bench`: run cases, print them with their ratios, write them down. See bench/README.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

CASES = ("start", "compile", "memory", "decode", "labelled", "prefill", "zoo", "plans", "heatmap")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Exits with 2 on bad input, as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="every case once and small: does it run, not how fast")
    parser.add_argument("--case", action="append", choices=CASES, help="only this case; may be given more than once")
    parser.add_argument("--repeats", type=int, help="how often each figure is taken (5; with --tiny 1)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write every figure there")
    chosen = parser.parse_args(arguments)
    if chosen.repeats is not None and chosen.repeats < 1:
        parser.error(f"--repeats: {chosen.repeats} is not at least 1")
    if chosen.out is not None and not chosen.out.parent.is_dir():
        parser.error(f"--out: there is no folder {chosen.out.parent}")
    chosen.repeats = chosen.repeats or (1 if chosen.tiny else 5)
    return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen cases in the order of CASES."""
    chosen = parse(arguments)
    with TemporaryDirectory() as folder:
        # Before anything compiled is imported: an empty cache that the `compile` case fills and the others use. A tiny
        # run times nothing, so its other cases take what is compiled already.
        if not chosen.tiny:
            os.environ["ROOFLINE_CACHE"] = folder
        from bench.record import document, machine

        facts = machine()
        console = Console(stderr=not sys.stdout.isatty())
        rows = []
        for name, case in cases(Path(folder), chosen.tiny, chosen.repeats, chosen.case or CASES).items():
            start = time.perf_counter()
            rows += case()
            console.print(f"{name}: {time.perf_counter() - start:.1f} s", style="dim")
    print_rows(rows, facts)
    if chosen.out is not None:
        text = json.dumps(document(facts, rows, chosen.tiny), indent=1)
        chosen.out.write_text(text + "\n", encoding="utf-8")


def cases(cache: Path, tiny: bool, repeats: int, wanted: Sequence[str]) -> dict[str, Callable[[], list[Any]]]:
    """The wanted cases by name, in the order they run."""
    from bench import processes, sweeps
    from bench.plain import oracle_row
    from bench.plans import plan_rows
    from bench.record import Row
    from bench.shapes import FULL, TINY
    from bench.zoo import zoo_rows

    shape = TINY if tiny else FULL
    wide, long = (2, 64) if tiny else (64, 1024)
    python = Row("plain Python oracle, decode", "not run")

    def plain() -> list[Row]:
        nonlocal python
        python = oracle_row(shape, 8 if tiny else 100, repeats)
        return [python]

    def heatmap() -> list[Row]:
        if tiny:
            return [Row("roofline heatmap", "cold", skipped="not with --tiny: it compiles everything a second time")]
        return processes.heatmap_rows(repeats)

    every: dict[str, Callable[[], list[Row]]] = {
        "start": lambda: processes.start_rows(repeats),
        "compile": lambda: processes.compile_rows(cache, repeats),
        "memory": lambda: processes.memory_rows(cache, wide, 4 * long),
        "plain": plain,
        "decode": lambda: sweeps.decode_rows(shape, repeats, python),
        "labelled": lambda: sweeps.labelled_rows(wide, long, repeats, python),
        "prefill": lambda: sweeps.prefill_rows(shape, repeats, python),
        "zoo": lambda: zoo_rows(2 if tiny else 1000, repeats),
        "plans": lambda: plan_rows(tiny, repeats),
        "heatmap": heatmap,
    }
    needed = {*wanted, *(["plain"] if {"decode", "labelled", "prefill"} & set(wanted) else [])}
    return {name: case for name, case in every.items() if name in needed}


def quantity(value: float, unit: str) -> str:
    """A figure as people read it."""
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def share(value: float, name: str) -> str:
    """A ratio as people read it."""
    if name.startswith("times"):
        return f"{value:,.0f} {name}" if value >= 100 else f"{value:.3g} {name}"
    return f"{100 * value:.3g} % {name}"


def print_rows(rows: Sequence[Any], facts: dict[str, Any]) -> None:
    """One table of all figures."""
    title = f"{facts['cpu']}, {facts['cores']} cores, numba {facts['numba']}, numpy {facts['numpy']}, {facts['date']}"
    table = Table(title=title, title_justify="left")
    for header in ("case", "phase", "median", "lowest .. highest", "n", "ratios of this run"):
        table.add_column(header, justify="left" if header in ("case", "phase", "ratios of this run") else "right")
    for row in rows:
        if row.skipped:
            table.add_row(row.case, row.phase, "-", "", "", f"skipped: {row.skipped}")
            continue
        spread = " .. ".join(quantity(value, row.unit) for value in row.spread)
        ratios = ", ".join(share(value, name) for name, value in row.ratios.items())
        table.add_row(row.case, row.phase, quantity(row.median, row.unit), spread, str(row.repeats), ratios)
    width = None if sys.stdout.isatty() else 180
    Console(width=width).print(table)


if __name__ == "__main__":
    main()
