"""Predictions of many measured points together.

`prepare` does once what no tuned constant changes: packing, counting loops in steps, sizing batches by memory.
`evaluate` computes step times and the figures that follow from them; a fit calls it again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.layout import LIMIT_MEANINGS, Limit
from roofline.rack.energy import PowerFacts
from roofline.specs.stack import Stack
from roofline.validation.batches import batches_of
from roofline.validation.cells import Records, Setup
from roofline.validation.closed_loop import draw, loops_of
from roofline.validation.conditions import Case
from roofline.validation.names import family_of
from roofline.validation.queues import queues_of
from roofline.validation.tuned import STACK_FIELDS, Servers, constants, tune
from roofline.validation.whole_batches import whole_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.validation.conditions import Kind

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_TOGETHER: tuple[tuple[Kind, ...], ...] = (("closed",), ("steady", "offline"), ("static", "prompts"), ("open", "apart"))
"""Kinds of cases that are computed together."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What is predicted of each case, in their order. float64[n] each, NaN where there is none.

    tpot_s, ttft_s : in the statistic that was measured [s].   output_tok_s : of the whole deployment [tokens/s].
    total_tok_s : input and output.   joules_per_token, power_w : of accelerators; a token is an output token.
    wall_w, wall_joules_per_token : of whole systems at the wall, section 11 of docs/equations.md; NaN where the
    accelerators are no whole number of systems.
    compute_s, memory_s : work for an output token at peak compute and bandwidth [s].
    running : mean sequences that decode in all, where the conditions say so.
    idle_w, tdp_w, power_a, power_b : of equation (16).
    reason : object[n]   why there is no prediction, empty where there is one.
    """

    tpot_s: Floats
    ttft_s: Floats
    output_tok_s: Floats
    total_tok_s: Floats
    joules_per_token: Floats
    power_w: Floats
    wall_w: Floats
    wall_joules_per_token: Floats
    compute_s: Floats
    memory_s: Floats
    running: Floats
    idle_w: Floats
    tdp_w: Floats
    power_a: Floats
    power_b: Floats
    reason: NDArray[np.object_]

    def mean_tpot_s(self, tpot_s: Floats, output_tok_s: Floats) -> Floats:
        """Mean time of a token as measured [s]: by the rate where a known number of sequences decodes, else `tpot_s`.

        Power is a mean over prompts too, which a median time between tokens leaves out.
        """
        by_rate = self.running / output_tok_s
        found: Floats = np.where(np.isfinite(by_rate), by_rate, tpot_s)
        return found

    def power_at(self, tpot_s: Floats) -> Floats:
        """Draw of one accelerator [W] where tokens take the time given, as measured, instead of the predicted one.

        So that the error of power is told apart from the error of time. Work cannot take less than its time at peak.
        """
        machine = {name: getattr(self, name) for name in ("idle_w", "tdp_w", "power_a", "power_b")}
        return draw(machine, np.minimum(self.compute_s / tpot_s, 1.0), np.minimum(self.memory_s / tpot_s, 1.0))


@dataclass(frozen=True, eq=False)
class Prepared:
    """Cases ready to be computed with any constants.

    groups : rows among those that are computed, and what computes them.   stack : constants of each of them, by field
    of `tuned.STACK_FIELDS`.   config : number of its configuration in `records`.   place : its number among `cases`.
    """

    cases: Sequence[Case | str]
    records: Records
    config: Ints
    groups: Sequence[tuple[Ints, Any]]
    stack: Mapping[str, Floats]
    servers: Servers
    place: Ints


def predict(cases: Sequence[Case | str], tuned: Mapping[str, float] | None = None) -> Predictions:
    """Predictions of all cases; what is given as a reason instead of a case stays one.

    tuned : constants that replace those of the sheets, see `roofline.validation.tuned`.
    """
    return evaluate(prepare(cases), tuned)


def prepare(cases: Sequence[Case | str]) -> Prepared:
    """Everything that tuned constants do not change. Seconds for thousands of cases."""
    place = np.array([i for i, case in enumerate(cases) if isinstance(case, Case)], dtype=np.int64)
    real = [case for case in cases if isinstance(case, Case)]
    setups = [_setup(case, case.pool.degrees) for case in real]
    setups += [_setup(case, (case.prompt_pool or case.pool).degrees) for case in real]
    stacks = [Stack.load(case.stack) for case in real]
    stack = {name: np.array([getattr(sheet, name) for sheet in stacks], dtype=np.float64) for name in STACK_FIELDS}
    servers = Servers(
        np.array([case.framework for case in real], dtype=str),
        np.array([case.generation for case in real], dtype=str),
        np.array([case.pool.degrees[2] for case in real], dtype=np.int64),
        np.array([sheet.id for sheet in stacks], dtype=str),
        np.array([family_of(sheet.id) for sheet in stacks], dtype=str),
    )
    records, config = Records.of(setups), np.arange(len(real))
    groups: list[tuple[Ints, Any]] = []
    for kinds in _TOGETHER:
        rows = np.array([i for i, case in enumerate(real) if case.kind in kinds], dtype=np.int64)
        if not rows.size:
            continue
        some, at = [real[i] for i in rows], config[rows]
        if "closed" in kinds:
            made: Any = loops_of(some, records, at, {name: values[rows] for name, values in stack.items()})
        elif "steady" in kinds:
            made = batches_of(some, records, at)
        elif "static" in kinds:
            made = whole_of(some, records, at)
        else:
            made = queues_of(some, records, at, at + len(real))
        groups.append((rows, made))
    return Prepared(cases, records, config, groups, stack, servers, place)


def _setup(case: Case, degrees: Any) -> Setup:
    return Setup(case.model, case.system, case.recipe, degrees, case.generation, case.memory_fraction)


def evaluate(prepared: Prepared, tuned: Mapping[str, float] | None = None) -> Predictions:
    """Predictions with these constants. Raises InputError for a constant that is not known."""
    found = constants(tuned)
    records = prepared.records
    if found:
        kits, machines = tune(records.kits, records.machines, records.named, found)
        records = replace(records, kits=kits, machines=machines)
    stack = prepared.servers.values(prepared.stack, found)
    n = len(prepared.cases)
    names = [name for name in Predictions.__dataclass_fields__ if name != "reason"]
    values = {name: np.full(n, np.nan) for name in names}
    reason = np.array([case if isinstance(case, str) else "" for case in prepared.cases], dtype=object)
    for rows, made in prepared.groups:
        figures = made.figures(records, {name: column[rows] for name, column in stack.items()})
        at = prepared.place[rows]
        osl, isl, count, decode, running = _lengths([prepared.cases[i] for i in at])
        output = np.where(osl > 0.0, figures.requests_s * osl, np.nan)
        machine = records.machines[records.configs["machine"][prepared.config[rows]]]
        wall_w = _wall_watts([prepared.cases[i] for i in at], figures.power_w)
        of_row = {
            "tpot_s": figures.tpot_s,
            "ttft_s": figures.ttft_s,
            "output_tok_s": output,
            "total_tok_s": np.where(isl > 0.0, figures.requests_s * (isl + osl), np.nan),
            "power_w": figures.power_w,
            "wall_w": wall_w,
            "wall_joules_per_token": wall_w / output,
            "joules_per_token": np.where(decode > 0.0, figures.decode_w * decode, figures.power_w * count) / output,
            "compute_s": figures.compute_s,
            "memory_s": figures.memory_s,
            "running": running,
            **{name: machine[name] for name in ("idle_w", "tdp_w", "power_a", "power_b")},
        }
        runs = np.isfinite(figures.requests_s)
        for name, column in of_row.items():
            values[name][at] = np.where(runs, column, np.nan)
        for i, ok, limit in zip(at, runs, made.limit, strict=True):
            if not ok:
                reason[i] = LIMIT_MEANINGS[Limit(limit)] if limit else "has no steady state"
    return Predictions(**values, reason=reason)


def _wall_watts(cases: Sequence[Any], draw: Floats) -> Floats:
    """Watts at the wall of the systems that the accelerators of each case fill, which draw so much each."""
    found = np.full(draw.shape, np.nan)
    facts = {case.system.id: PowerFacts.of(case.system) for case in cases}
    for i, case in enumerate(cases):
        fact, used = facts[case.system.id], np.array(round(case.accelerators))
        if used and used % fact.accelerators == 0:
            found[i] = fact.wall_watts("rack", draw[i], used, used // fact.accelerators)
    return found


def _lengths(cases: Sequence[Any]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Output and input tokens of a request, and accelerators, of each case; those alone that decode where energy is
    counted so, else 0; sequences that decode where that is known, else NaN."""
    osl = np.array([0.0 if case.kind == "prompts" else case.osl for case in cases])
    isl = np.array([case.isl for case in cases])
    decode = [case.pool.group * case.pool.replicas if case.energy == "decode" else 0.0 for case in cases]
    running = [case.load if case.kind == "steady" and case.isl > 0.0 else np.nan for case in cases]
    count = np.array([case.accelerators for case in cases], dtype=np.float64)
    return osl, isl, count, np.array(decode), np.array(running)
