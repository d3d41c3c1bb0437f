"""Make the tables of docs/queueing.md: the closed forms against the simulator. They are never changed by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from roofline.serving import (
    SLO,
    Capacity,
    Closed,
    Lognormal,
    Open,
    Requests,
    Service,
    SimulationResult,
    capacity,
    closed_loop,
    open_loop,
    simulate,
)

PAGE = Path(__file__).parent / "queueing.md"
LOADS, CVS = (0.3, 0.6, 0.85), (0.5, 1.0, 2.0)
COUNT, DRAWN_COUNT, DRAWN = 300_000, 150_000, 80
CLOSED_COUNT, CLOSED_STEPS, CLOSED_DRAWN = 60_000, 3e6, 200
CLOSED_SEEDS = (101, 102)
"""Draws on which neither the equations of closed loops nor the rules of what is stood by were chosen: keep it so."""

PERCENTS = (50, 90, 99)
FIGURES = ("TTFT mean", "TTFT p50", "TTFT p90", "TTFT p99", "TPOT mean", "TPOT p50", "TPOT p90", "TPOT p99", "goodput")


def replica(slots: int, base_s: float, each_s: float, chunk: int, token_s: float, hidden: bool) -> Service:
    """Steps of base + each*b; a prompt token adds token_s to a step, or hides under its memory traffic first."""
    decode_s = base_s + each_s * np.arange(slots + 1.0)
    added = chunk * token_s
    mixed_s = np.maximum(decode_s, added + each_s * np.arange(slots + 1.0)) if hidden else decode_s + added
    return Service(decode_s, mixed_s, chunk, slots)


CASES = {
    "chat, chunk 512": (
        replica(256, 8e-3, 4e-5, 512, 2.5e-5, False),
        Requests(Lognormal(1000, 1), Lognormal(300, 0.8)),
    ),
    "chat, chunk 2048": (
        replica(128, 8e-3, 6e-5, 2048, 2.5e-5, True),
        Requests(Lognormal(1000, 1), Lognormal(300, 0.8)),
    ),
    "chat, fixed 1024/256": (replica(64, 10e-3, 1e-4, 1024, 3.5e-5, True), Requests(1024, 256)),
    "long prompt, chunk 2048": (
        replica(64, 9e-3, 2e-4, 2048, 3e-5, False),
        Requests(Lognormal(8000, 0.6), Lognormal(200, 0.7)),
    ),
    "long prompt, fixed 8192/200": (replica(32, 9e-3, 3e-4, 512, 3e-5, True), Requests(8192, 200)),
    "reasoning, 64 slots": (
        replica(64, 10e-3, 8e-5, 2048, 3e-5, False),
        Requests(Lognormal(1000, 0.8), Lognormal(4000, 0.8)),
    ),
    "reasoning, fixed, 32 slots": (replica(32, 10e-3, 8e-5, 1024, 3e-5, True), Requests(1000, 4000)),
    "reasoning, 256 slots": (
        replica(256, 10e-3, 1.2e-4, 512, 3e-5, False),
        Requests(Lognormal(1000, 1), Lognormal(4000, 0.6)),
    ),
    "compute-bound decode": (
        replica(256, 4e-3, 2e-4, 1024, 1e-5, True),
        Requests(Lognormal(500, 0.5), Lognormal(500, 0.5)),
    ),
}


SPREAD = tuple(f"{name} p{percent}" for name in ("TTFT", "TPOT") for percent in PERCENTS)


class Loop(NamedTuple):
    """A closed loop."""

    service: Service
    requests: Requests
    clients: int


class Cell(NamedTuple):
    """One comparison: closed form over simulation less 1, and whether the closed form stands by its figure."""

    errors: tuple[float, ...]  # as FIGURES
    validated: tuple[bool, ...]
    found: SimulationResult


def compare(service: Service, requests: Requests, load: float, cv: float, count: int, seed: int) -> Cell:
    """Simulate one case and compare."""
    arrivals = Open(load * capacity(service, requests).rate, cv)
    found = simulate(service, requests, arrivals, count=count, seed=seed)
    form = open_loop(service, requests, arrivals)
    ttft = [form.ttft_percentile(percent) for percent in PERCENTS]
    tpot = [form.tpot_percentile(percent) for percent in PERCENTS]
    said = [form.ttft_s, *(figure.value for figure in ttft), form.tpot_s, *(figure.value for figure in tpot)]
    seen = [
        value
        for field in ("ttft_s", "tpot_s")
        for value in (found.mean(field), *(found.percentile(field, percent) for percent in PERCENTS))
    ]
    slo = SLO(found.percentile("ttft_s", 90), found.percentile("tpot_s", 90))
    good = form.goodput(slo)
    said.append(good.value)
    seen.append(found.goodput(slo))
    figures = (form, *ttft, form, *tpot, good)
    stands = [figure.validated for figure in figures]
    return Cell(tuple(a / b - 1.0 for a, b in zip(said, seen, strict=True)), tuple(stands), found)


def drawn(count: int, seed: int = 11) -> list[tuple[Service, Requests, float, float]]:
    """Replicas, lengths, loads and arrival cv drawn at random inside the range that the closed forms claim."""
    generator = np.random.default_rng(seed)
    between = generator.uniform
    cases: list[tuple[Service, Requests, float, float]] = []
    while len(cases) < count:
        slots, chunk = int(np.exp(between(np.log(32), np.log(256)))), int(2 ** generator.integers(8, 14))
        steps = between(4e-3, 20e-3), float(np.exp(between(np.log(1e-5), np.log(3e-4))))
        token_s = float(np.exp(between(np.log(1e-5), np.log(6e-5))))
        plain = replica(slots, *steps, chunk, token_s, bool(generator.random() < 0.5))
        tau, constant = float(generator.choice([1, 1, 1.8])), float(generator.choice([0, 0.05]))
        service = Service(plain.decode_s, plain.mixed_s, chunk, slots, constant, tau)
        means = np.exp(between(np.log([200, 50]), np.log([16_000, 4000])))
        lengths = [
            Lognormal(float(mean), between(0.2, 1.2)) if generator.random() < 0.75 else int(mean) for mean in means
        ]
        requests, load, cv = Requests(*lengths), between(0.3, 0.85), between(0.5, 2.0)
        if open_loop(service, requests, Open(load * capacity(service, requests).rate, cv)).validated:
            cases.append((service, requests, load, cv))
    return cases


def drawn_loops(count: int, seed: int) -> list[Loop]:
    """Closed loops drawn at random: clients, slots, chunk, step times, drafts, constants and lengths that vary."""
    generator = np.random.default_rng(seed)
    between = generator.uniform
    loops: list[Loop] = []
    while len(loops) < count:
        clients, chunk = int(np.exp(between(0.0, np.log(513)))), int(2 ** generator.integers(9, 14))
        slots = clients if generator.random() < 0.8 else max(1, int(clients * between(0.5, 1.0)))
        steps = between(4e-3, 20e-3), float(np.exp(between(np.log(1e-5), np.log(3e-4))))
        token_s = float(np.exp(between(np.log(1e-5), np.log(6e-5))))
        plain = replica(slots, *steps, chunk, token_s, bool(generator.random() < 0.5))
        tau, constant = float(generator.choice([1, 1, 1.8])), float(generator.choice([0, 0, 0.05]))
        means = np.exp(between(np.log([64, 16]), np.log([16_000, 4000])))
        cvs = between(0.05, 1.0, 2)
        lengths = [
            Lognormal(float(mean), float(cv)) if generator.random() < 0.85 else int(mean)
            for mean, cv in zip(means, cvs, strict=True)
        ]
        loop = Loop(Service(plain.decode_s, plain.mixed_s, chunk, slots, constant, tau), Requests(*lengths), clients)
        if closed_loop(*loop).validated:
            loops.append(loop)
    return loops


def compare_loop(loop: Loop, count: int, seed: int) -> tuple[Cell, float]:
    """Simulate a closed loop and compare percentiles, in the order of `SPREAD`; and the share r of its steps."""
    most = loop.clients * CLOSED_STEPS / loop.requests.points()[1].mean()
    enough = int(min(count, max(4000.0, most)))
    found = simulate(loop.service, loop.requests, Closed(loop.clients), count=enough, seed=seed)
    form = closed_loop(*loop)
    figures = [form.ttft_percentile(p) for p in PERCENTS] + [form.tpot_percentile(p) for p in PERCENTS]
    seen = [found.percentile(field, p) for field in ("ttft_s", "tpot_s") for p in PERCENTS]
    errors = tuple(figure.value / value - 1.0 for figure, value in zip(figures, seen, strict=True))
    return Cell(errors, tuple(figure.validated for figure in figures), found), form.prefill_share


def percent(error: float, validated: bool = True) -> str:
    """An error as a table shows it; in brackets where the closed form does not stand by its figure."""
    text = f"{100 * error:+.1f}"
    return text if validated else f"({text})"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def known(name: str, load: float, cv: float) -> Cell:
    """One cell of the nine cases."""
    return compare(*CASES[name], load, cv, COUNT, seed=1)


def cell_row(name: str, load: float, cv: float, cell: Cell) -> list[str]:
    """One row of the table of cells."""
    times = [f"{1e3 * cell.found.percentile('ttft_s', p):.0f}" for p in (50, 99)]
    errors = [percent(*pair) for pair in zip(cell.errors, cell.validated, strict=True)]
    return [name, f"{load:g}", f"{cv:g}", *times, *errors]


def summary_row(
    name: str, cells: list[Cell], figure: int, stands: bool, figures: tuple[str, ...] = FIGURES
) -> list[str]:
    """Cells, share within 10 %, 95th percentile and largest of the errors of one figure."""
    errors = np.array([abs(cell.errors[figure]) for cell in cells if cell.validated[figure] == stands])
    if errors.size == 0:
        return [name, figures[figure], "yes" if stands else "no", "0", "-", "-", "-"]
    shares = [f"{100 * float((errors <= 0.1).mean()):.0f} %"]
    sizes = [f"{100 * value:.1f} %" for value in (float(np.percentile(errors, 95)), float(errors.max()))]
    return [name, figures[figure], "yes" if stands else "no", str(errors.size), *shares, *sizes]


def closed_rows() -> list[list[str]]:
    """Closed loops against the simulator."""
    rows = []
    for name, (service, requests) in CASES.items():
        for clients in (1, 8, service.slots // 2, service.slots, 2 * service.slots):
            found = simulate(service, requests, Closed(clients), count=30_000)
            form = closed_loop(service, requests, clients)
            errors = (
                form.ttft_s / found.mean("ttft_s") - 1.0,
                form.tpot_s / found.mean("tpot_s") - 1.0,
                form.output_tokens_per_s / found.output_tokens_per_s - 1.0,
            )
            rows.append([name, str(clients), *(percent(error, form.validated) for error in errors)])
    return rows


def spread_rows() -> list[list[str]]:
    """Percentiles of closed loops drawn at random against the simulator, where prompts have room and where not."""
    loops = [loop for seed in CLOSED_SEEDS for loop in enumerate(drawn_loops(CLOSED_DRAWN, seed))]
    cells = [compare_loop(loop, CLOSED_COUNT, seed=i) for i, loop in loops]
    sorts = {
        "r below 0.9": [cell for cell, share in cells if share < 0.9],
        "r of 0.9 and above": [cell for cell, share in cells if share >= 0.9],
    }
    rows = [
        summary_row(name, some, figure, stands, SPREAD)
        for name, some in sorts.items()
        for figure in range(len(SPREAD))
        for stands in (True, False)
    ]
    return [row for row in rows if row[3] != "0"]


def capacity_rows() -> list[list[str]]:
    """What each case sustains."""
    rows = []
    for name, (service, requests) in CASES.items():
        most: Capacity = capacity(service, requests)
        sizes = [f"{most.rate:.3g}", f"{most.batch:.1f}", f"{most.prefill_share:.2f}", most.bound]
        rows.append([name, str(service.slots), str(service.chunk), *sizes])
    return rows


def tables() -> dict[str, str]:
    """All tables of the page, by the name of their mark."""
    cells = {(name, load, cv): known(name, load, cv) for name in CASES for load in LOADS for cv in CVS}
    new = [compare(*case, count=DRAWN_COUNT, seed=i) for i, case in enumerate(drawn(DRAWN))]
    summary = [
        summary_row(name, some, figure, stands)
        for name, some in (("the nine cases", list(cells.values())), ("drawn at random", new))
        for figure in range(len(FIGURES))
        for stands in (True, False)
    ]
    return {
        "capacity": table(
            ["case", "slots", "chunk", "largest rate, 1/s", "batch there", "r there", "bound"], capacity_rows()
        ),
        "summary": table(
            ["cases", "figure", "stood by", "cells", "within 10 %", "95 % below", "largest error"],
            [row for row in summary if row[3] != "0"],
        ),
        "cells": table(
            ["case", "load", "cv", "TTFT p50, ms", "TTFT p99, ms", *FIGURES],
            [cell_row(*key, cell) for key, cell in cells.items()],
        ),
        "closed": table(["case", "clients", "TTFT mean", "TPOT mean", "output tokens/s"], closed_rows()),
        "spread": table(
            ["closed loops", "figure", "stood by", "cells", "within 10 %", "95 % below", "largest error"], spread_rows()
        ),
    }


def filled(text: str, made: dict[str, str]) -> str:
    """The page with the table below each mark replaced."""
    for name, rows in made.items():
        pattern = re.compile(rf"(<!-- {name} -->\n)(?:\|.*\n)*")
        text, times = pattern.subn(lambda found, rows=rows: found[1] + rows + "\n", text)  # type: ignore[misc]
        if times != 1:
            raise SystemExit(f"{PAGE}: {times} marks <!-- {name} -->")
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
    print(PAGE)
