"""The search of a plan: candidates a second, what pruning saves, beside plain Python, and the whole zoo in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bench.record import Row, Task, rates
from bench.sweeps import threads
from roofline.kernels.candidates import AGGREGATED, DECODE_POOL, MODES, PREFILL_POOL, STATIC
from roofline.kernels.plan import search_grid
from roofline.kernels.reduce import F_COST
from roofline.layout import Limit
from roofline.planning.objective import Objective
from roofline.planning.plan import plan
from roofline.planning.question import Question, question
from roofline.planning.space import Space
from roofline.serving import SLO
from roofline.specs import Model, System, list_specs
from roofline.testing.records import Setup
from roofline.testing.searches import Question as PlainQuestion
from tests.kernels.every_candidate import MODE_NAMES, Oracle
from tests.oracle import plain_case

SPACES = (("llama-3.3-70b", "hgx-h100"), ("llama-3.3-70b", "gb300-nvl72"), ("deepseek-r1", "gb300-nvl72"))
WORKLOADS = ("1k/1k", "8k/1k", "1k/8k")
SLOS = (SLO(ttft_s=2.0, tpot_s=0.05), SLO(ttft_s=1.0, tpot_s=0.02))

CANDIDATE = (
    "one recipe, deployment, mode, batch, chunk and drafts, of a prefill pool also a load, under one workload and SLO"
)
DECIDED = "legal, within memory, on the grid of batches: computed, or shown not to be the best without"


@dataclass(frozen=True)
class Search:
    """Everything that `search_grid` is asked of one model on one system."""

    model: str
    system: str
    asked: Question
    arrays: dict[str, Any]
    objective: Objective

    @cached_property
    def space(self) -> Space:
        """All recipes and deployments."""
        return Space.of(Model.load(self.model), [System.load(self.system)])

    def run(self, prune: bool, parallel: bool) -> dict[str, Any]:
        """One search in all modes."""
        space = self.space
        found: dict[str, Any] = search_grid(
            *space.records,
            powers=self.objective.powers(space.systems),
            links=space.links,
            prices=self.objective.prices(space.systems),
            modes=np.ones(MODES, dtype=np.int64),
            prune=prune,
            parallel=parallel,
            **self.arrays,
        )
        return found


def searches(models_on: Sequence[tuple[str, str]]) -> list[Search]:
    """The same question of each space."""
    asked, objective = question(list(WORKLOADS), list(SLOS)), Objective("tokens_per_mwh", "facility", "metered", None)
    return [Search(model, system, asked, asked.arrays(), objective) for model, system in models_on]


def least(found: dict[str, Any]) -> Any:
    """Least costs that a plan chooses by: without pools, of prefill pools, of decode pools; [3, workload, slo]."""
    cost = found["best"][..., F_COST].min(axis=0)
    return np.stack([np.minimum(cost[AGGREGATED], cost[STATIC]), cost[PREFILL_POOL], cost[DECODE_POOL]])


def check(search: Search) -> None:
    """Raise AssertionError where pruning, or threads, change what is found."""
    every = least(search.run(prune=False, parallel=False))
    for parallel in (False, True):
        if not np.array_equal(least(search.run(prune=True, parallel=parallel)), every):
            raise AssertionError(f"{search.model} on {search.system}: pruned, the search finds another optimum")


def search_rows(tiny: bool, repeats: int, python: Row) -> list[Row]:
    """Searches of some spaces, in all modes: pruned with one thread and with all, and unpruned."""
    rows = []
    for search in searches(SPACES[:1] if tiny else SPACES):
        check(search)
        rows += _space_rows(search, repeats, python)
    return [*rows, _tables_row(repeats)]


def _space_rows(search: Search, repeats: int, python: Row) -> list[Row]:
    """Rates of one space, taken in turn; and seconds unpruned over pruned."""
    ways = [(prune, parallel) for prune in (True, False) for parallel in (False, True)]
    seconds: dict[tuple[bool, bool], list[float]] = {way: [] for way in ways}
    counts: dict[tuple[bool, bool], list[Any]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way in ways:
            start = time.perf_counter()
            found = search.run(*way)
            if turn > 0:
                seconds[way].append(time.perf_counter() - start)
                counts[way].append(found["count"].sum(axis=0))
    name = f"plan, {search.model} on {search.system}"
    about = {
        "candidate": CANDIDATE,
        "decided": DECIDED,
        "workloads": list(WORKLOADS),
        "slos": [f"ttft {slo.ttft_s:g} s, tpot {slo.tpot_s:g} s" for slo in SLOS],
        "configurations": int(search.space.configs.size),
        "not counted": "tables of the question, packing of the sheets",
    }
    rows = []
    for parallel in (False, True):
        pruned, every = (True, parallel), (False, parallel)
        whole = Row(f"{name}, every candidate computed", threads(parallel), "s", parameters=about)
        whole.measured(seconds[every])
        short = Row(f"{name}, pruned", threads(parallel), "s", parameters=about).measured(seconds[pruned])
        whole.over(short, "times pruned")
        for column, word in ((1, "decided"), (0, "evaluated")):
            number = [int(count[column]) for count in counts[pruned]]
            facts = about | {"candidates": number[-1]}
            row = Row(f"{name}, {word}", threads(parallel), "candidates/s", parameters=facts)
            row.measured([n / s for n, s in zip(number, seconds[pruned], strict=True)])
            row.over(python, "times plain Python")
            rows.append(row)
        rows += [short, whole]
    return rows


def _tables_row(repeats: int) -> Row:
    """Seconds of the tables that a question needs before any search: closed loops counted in steps."""

    def once() -> float:
        start = time.perf_counter()
        question(list(WORKLOADS), list(SLOS)).arrays()
        return time.perf_counter() - start

    about = {"workloads": list(WORKLOADS), "limits": len(SLOS), "call": "question(...).arrays()"}
    return Row("plan, tables of a question", "1 thread", "s", parameters=about).measured(
        [once() for _ in range(repeats)]
    )


def plain_row(tiny: bool, repeats: int) -> Row:
    """Candidates/s of the oracle of the test suite, one after another: the first space, candidates drawn from it."""
    search = searches(SPACES[:1])[0]
    asked = PlainQuestion(
        search.arrays
        | {
            "contexts": search.arrays["contexts"].reshape(len(WORKLOADS), -1),
            "prompt_ends": search.arrays["prompt_ends"].reshape(search.arrays["chunks"].size, len(WORKLOADS), -1),
        },
        (),
        _plain(search.objective.powers(search.space.systems)[0]),
        tuple(search.objective.prices(search.space.systems)[0]),
    )
    most = np.flatnonzero(np.isfinite(search.run(prune=False, parallel=False)["best"][:, AGGREGATED, 0, 0, F_COST]))
    draw, tried = np.random.default_rng(1), 4 if tiny else 60
    work: list[Callable[[], Any]] = []
    while len(work) < tried:
        config = search.space.configs[int(draw.choice(most))]
        oracle = Oracle(Setup(*plain_case(*search.space.records[:-1], config)), asked, int(draw.integers(3)), 0)
        mode = list(MODE_NAMES)[len(work) % len(MODE_NAMES)]
        batches = asked["at_once"] if mode == PREFILL_POOL else asked["batches"][asked["batches"] <= 64]
        place = int(draw.choice(batches)), int(draw.choice(oracle.own_chunks())), 0, 0
        if oracle.computed(mode, place) is not None:
            work.append(lambda oracle=oracle, mode=mode, place=place: oracle.computed(mode, place))  # type: ignore[misc]

    def run() -> int:
        for one in work:
            one()
        return len(work)

    model, system = SPACES[0]
    about = {"candidate": CANDIDATE, "of": f"tests/oracle/plans.py, {model} on {system}", "candidates": tried}
    row = Row("plain Python oracle, plan", "1 thread", "candidates/s", parameters=about)
    return rates([Task(row, run)], repeats)[0]


def _plain(record: Any) -> dict[str, Any]:
    """A POWER record as a mapping."""
    return {name: record[name].tolist() for name in record.dtype.names}


def zoo_row(tiny: bool, repeats: int) -> Row:
    """Seconds of one `plan` of every model on every system, sheets already read."""
    models, systems = list_specs("model"), list_specs("system")
    models, systems = (models[:2], systems[:4]) if tiny else (models, systems)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        ds = plan(models, systems, workload=list(WORKLOADS), slo=list(SLOS))
        seconds.append(time.perf_counter() - start)
    chosen, runs = np.isfinite(ds["tokens_per_s_per_gpu"].values), ds["limit"].values == Limit.NONE
    pairs = {"some cell has a choice": chosen, "a deployment runs": runs}
    about = {
        "call": "plan, all modes but attention_ffn, all shipped recipes that a system computes",
        "models": ds.sizes["model"],
        "systems": ds.sizes["system"],
        "workloads": list(WORKLOADS),
        "slos": len(SLOS),
        "candidate": CANDIDATE,
        "candidates decided": int(ds.attrs["candidates"]),
        "cells with a choice": f"{int(chosen.sum())} of {chosen.size}",
    }
    for name, which in pairs.items():
        about[f"pairs of model and system where {name}"] = (
            f"{int(which.any(axis=(2, 3)).sum())} of {which[..., 0, 0].size}"
        )
    return Row("plan of the zoo", "one call", "s", parameters=about).measured(seconds[1:])


def plan_rows(tiny: bool, repeats: int) -> list[Row]:
    """All of the case."""
    python = plain_row(tiny, repeats)
    return [python, *search_rows(tiny, repeats, python), zoo_row(tiny, min(repeats, 3))]
