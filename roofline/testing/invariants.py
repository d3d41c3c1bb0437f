"""The laws results obey, as checks that raise `LawBroken` with the law, the cell and the numbers.

First checks on results alone, then laws that run kernels on a setup and on a changed one; those of one kind of layer,
network or step are in `kinds`. `every_decode_law` runs what applies to any setup: use it on the records of your own
sheets. Relations hold up to `SLACK`, a few roundings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from roofline.kernels.outputs import Var
from roofline.layout import Bound, Component, Limit
from roofline.testing import kinds
from roofline.testing.checks import SLACK as SLACK
from roofline.testing.checks import LawBroken as LawBroken
from roofline.testing.checks import Runner as Runner
from roofline.testing.checks import at_least as at_least
from roofline.testing.checks import decoding as decoding
from roofline.testing.checks import equal as equal
from roofline.testing.checks import never_falls as never_falls
from roofline.testing.checks import prefilling as prefilling
from roofline.testing.checks import require
from roofline.testing.checks import same_bits as same_bits
from roofline.testing.records import PARTS, RATES, Array, Records, Setup, faster_clock, idealised, pack
from roofline.testing.runs import Run, run_decode

CLASS_OF = {
    Bound.COMPUTE: Var.CLASS_COMPUTE,
    Bound.MEMORY: Var.CLASS_MEMORY,
    Bound.NETWORK: Var.CLASS_NETWORK,
    Bound.LATENCY: Var.CLASS_LATENCY,
}


def missing_means_limited(run: Run, records: Records | None = None) -> None:
    """A cell that cannot run is NaN with a code, never 0, save what MEMORY it would take; one that can has numbers.

    records : what ran. Where given, machines of undisclosed TDP must have no power and no energy.
    """
    undisclosed = np.zeros(run.limit.shape[0], bool) if records is None else records.undisclosed()
    for name, values in run.values.items():
        if name in (Var.POWER, Var.ENERGY):
            nothing = np.isnan(values[undisclosed])
            require("no power where TDP is undisclosed", nothing, values[undisclosed])
            shown, ran = values[~undisclosed], run.ran[~undisclosed]
            require("NaN exactly where a limit says why", np.isnan(shown) == ~ran, shown)
        elif name != Var.MEMORY:
            free = run.ran & (name >= Var.COMPONENT)  # components of a bound are NaN too
            require("NaN exactly where a limit says why", free | (np.isnan(values) == ~run.ran), values)
    if Var.STEP in run.values:
        require("a step takes time", ~run.ran | (run.step > 0), run.step)
    require("what binds is named exactly where a cell runs", (run.bound != Bound.NONE) == run.ran, run.bound)


def utilisation_is_a_share(run: Run) -> None:
    """No accelerator computes or moves more than its peak: 0 <= MFU, MBU <= 1."""
    for variable in (Var.MFU, Var.MBU):
        used = run[variable]
        require("utilisation is at most 1", ~run.ran | ((used >= 0) & (used <= 1 + 8 * SLACK)), used)


def draw_lies_between_idle_and_tdp(run: Run, records: Records, tokens: Array) -> None:
    """A running accelerator draws between idle and TDP, and its energy is that power over the step, times all of them.

    tokens : float64[config, batch, context or 1]   new tokens of the pass, to undo J per token.
    """
    machines = records.machines[records.configs["machine"]]
    deployment = records.deployments[records.configs["deployment"]]
    group = (deployment["tp"] * deployment["pp"] * deployment["dp"])[:, None, None]
    shape = run.step.shape
    idle, tdp = (np.broadcast_to(machines[name][:, None, None], shape) for name in ("idle_w", "tdp_w"))
    at_least("power is at least idle power", run[Var.POWER], idle)
    at_least("power is at most TDP", tdp, run[Var.POWER])
    joules = run[Var.ENERGY] * tokens
    at_least("energy is at least idle power times time", joules, idle * group * run.step)
    equal("group energy is the sum of its accelerators", joules, group * run[Var.POWER] * run.step, 8 * SLACK)


def classes_make_the_pass(run: Run) -> None:
    """Without a pipeline the four classes sum to the time; none is negative; the largest is the one named."""
    classes = np.stack([run[variable] for variable in CLASS_OF.values()])
    for part in classes:
        require("no class takes negative time", ~run.ran | (part >= 0), part)
    equal("classes sum to the step", classes.sum(axis=0), run.step, 8 * SLACK)
    largest = classes.max(axis=0)
    named = np.select([run.bound == b for b in CLASS_OF], list(classes), default=np.nan)
    equal("what binds has the largest share", named, largest)


def components_make_the_step(run: Run) -> None:
    """Outside `ideal` the components sum to the time."""
    parts = np.stack([run.component(component) for component in Component])
    equal("components sum to the step", parts.sum(axis=0), run.step, 8 * SLACK)


def nothing_is_sent(run: Run, components: bool = True) -> None:
    """One accelerator has nobody to talk to. components : check them too (outside `ideal`)."""
    for component in (Component.COLLECTIVES, Component.PIPELINE) if components else ():
        part = run.component(component)
        require("no collective on one accelerator", ~run.ran | (np.abs(part) <= SLACK * run.step), part)
    network = run[Var.CLASS_NETWORK]
    require("no network time on one accelerator", ~run.ran | (network == 0), network)


# Laws on setups: `run` says which pass, such as `decoding([1, 64], [2048])`


def ideal_is_fastest(setup: Setup, run: Runner) -> None:
    """No fidelity is faster than `ideal`, and `ideal` is no faster with its collectives in series."""
    ideal = run(idealised(setup))
    at_least("no fidelity is faster than ideal", run(setup).step, ideal.step)
    at_least("collectives in series take no less", ideal[Var.SERIAL], ideal.step)


def with_rate(setup: Setup, rate: str, factor: float) -> Setup:
    """The setup with one rate times `factor`: a machine field, or the name of a PART for its peak."""
    if rate in PARTS and setup.kit is not None:
        part = setup.kit[rate]
        return replace(setup, kit=setup.kit | {rate: part | {"flop_per_s": part["flop_per_s"] * factor}})
    return setup.on(**{rate: setup.machine[rate] * factor})


def more_rate_is_never_slower(setup: Setup, rate: str, factor: float, run: Runner) -> None:
    """Time falls or stays when a peak, the memory bandwidth or a link rises (factor >= 1)."""
    before, after = run(setup), run(with_rate(setup, rate, factor))
    at_least(f"more {rate} is never slower", before.step, after.step)
    at_least(f"more {rate} is never slower in series", before[Var.SERIAL], after[Var.SERIAL])


def clock_scales_time(setup: Setup, k: float, run: Runner) -> None:
    """All rates times k and all fixed times over k: the same pass k times as fast, at the same power.

    In `ideal` there are no fixed times, so rates alone do it.
    """
    before, after = run(setup), run(faster_clock(setup, k))
    equal("time scales with the clock", after.step * k, before.step, 8 * SLACK)
    equal("power does not scale with the clock", after[Var.POWER], before[Var.POWER], 8 * SLACK)


def time_grows_with_load(run: Run, records: Records | None = None) -> None:
    """Along ascending batches and contexts, time and memory grow or stay.

    records : what ran, for decode. Where given, models with chunked-local layers are exempt along context: a token at
    the start of a chunk sees less than the one before it. Their memory still grows.
    """
    steady = np.ones(run.limit.shape[0], bool) if records is None else ~records.with_chunks()
    for axis, load, which in ((1, "batch", np.ones_like(steady)), (2, "context", steady)):
        never_falls(f"time never falls with {load}", run.step[which], axis)
        never_falls(f"time in series never falls with {load}", run[Var.SERIAL][which], axis)
        never_falls(f"memory never falls with {load}", run[Var.MEMORY], axis)


def sharing_never_costs(setup: Setup, batches: Sequence[int], contexts: Sequence[int], new_tokens: int = 1) -> Run:
    """No sequence takes less time or energy in a small batch than a place does in the largest of `batches`.

    Each time of a step is a sum, a minimum or a maximum of what grows no faster than the batch, and draw is concave in
    work per second. A place: of the micro-batches and ranks that the largest pays for, filled or not.
    """
    most, deployment = max(batches), setup.deployment
    flights, ranks = min(most, deployment["pp"]), deployment["dp"]
    places = flights * ranks * math.ceil(math.ceil(most / flights) / ranks)
    run = run_decode(setup, [*batches, most], contexts, new_tokens)
    each = run.step / np.array([*batches, places], dtype=np.float64)[:, None]
    at_least("time of a sequence in a small batch", each[:, :-1], each[:, -1:])
    energy = each * run[Var.POWER]
    if not pack([setup]).undisclosed().any():
        at_least("energy of a sequence in a small batch", energy[:, :-1], energy[:, -1:])
    return run


def capacity_is_a_threshold(run: Run, records: Records) -> None:
    """Along ascending batches cells run until memory is full and never after; `limit` is what memory says."""
    full = run.limit == Limit.MEMORY
    require("full stays full with a larger batch", ~full[:, :-1] | full[:, 1:], run[Var.MEMORY][:, 1:])
    machines = records.machines[records.configs["machine"]]
    room = (machines["memory_bytes"] * machines["memory_fraction"] - machines["reserve_bytes"])[:, None, None]
    excess = run[Var.MEMORY] - room
    doubtful = np.abs(excess) <= SLACK * (np.abs(room) + machines["reserve_bytes"][:, None, None])
    require("what runs fits", doubtful | ~run.ran | (excess <= 0), run[Var.MEMORY])
    require("what is refused for memory does not fit", doubtful | ~full | (excess > 0), run[Var.MEMORY])


def order_changes_no_bits(
    of: Sequence[Setup], batches: Sequence[int], contexts: Sequence[int], new_tokens: int = 1, drafts: int = 0
) -> None:
    """Cells are computed alike wherever they stand: reversed axes and one cell alone give the same bits."""
    records = pack(of)
    whole = run_decode(records, batches, contexts, new_tokens, drafts=drafts)
    other_way = records.only(range(len(of))[::-1])
    turned = run_decode(other_way, batches[::-1], contexts[::-1], new_tokens, drafts=drafts)
    flip = (slice(None, None, -1),) * 3
    back = Run({n: v[flip] for n, v in turned.values.items()}, turned.limit[flip], turned.bound[flip])
    same_bits("order changes no bits", whole, back)
    cell = tuple(slice(n - 1, n) for n in whole.limit.shape)
    alone = run_decode(of[-1], batches[-1:], contexts[-1:], new_tokens, drafts=drafts)
    there = Run({n: v[cell] for n, v in whole.values.items()}, whole.limit[cell], whole.bound[cell])
    same_bits("a cell alone has the bits it has in a grid", there, alone)


def threads_change_no_bits(
    of: Sequence[Setup], batches: Sequence[int], contexts: Sequence[int], new_tokens: int = 1, drafts: int = 0
) -> None:
    """Serial and parallel runs give the same bits."""
    records = pack(of)
    serial = run_decode(records, batches, contexts, new_tokens, drafts=drafts)
    parallel = run_decode(records, batches, contexts, new_tokens, drafts=drafts, parallel=True)
    same_bits("threads change no bits", serial, parallel)


def every_decode_law(setup: Setup, batches: Sequence[int], contexts: Sequence[int]) -> Run:
    """All laws that hold for any one setup, at ascending batches and contexts. Returns its run, or raises LawBroken."""
    records, runner = pack([setup]), decoding(batches, contexts)
    run = runner(setup)
    missing_means_limited(run, records)
    utilisation_is_a_share(run)
    draw_lies_between_idle_and_tdp(run, records, np.asarray(batches, dtype=np.float64)[None, :, None])
    if setup.deployment["pp"] == 1:
        classes_make_the_pass(run)
    if setup.kit is not None and setup.kit["bound"] == 0:
        components_make_the_step(run)
    time_grows_with_load(run, records)
    capacity_is_a_threshold(run, records)
    for rate in (*RATES, *PARTS):
        more_rate_is_never_slower(setup, rate, 2.0, runner)
    clock_scales_time(setup, 2.0, runner)
    order_changes_no_bits([setup], batches, contexts)
    kinds.seeing_less_is_never_slower(setup, runner)
    kinds.a_switch_is_never_slower(setup, runner)
    if setup.model["draft_rows"]:
        kinds.drafts_are_paid_for(setup, batches, [context + 2 for context in contexts], 2)
    return run
