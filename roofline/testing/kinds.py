"""Laws of one kind of layer, of network or of step: chunks, selections, states, wirings, drafts.

Each runs kernels on a setup and on a changed one and raises `LawBroken`; `invariants` holds what is true of them all.
"""

from __future__ import annotations

from collections.abc import Sequence

from roofline.kernels.outputs import Var
from roofline.layout import NO_WINDOW, Attention, Component, Topology
from roofline.testing.checks import Runner, at_least, equal, require, same_bits
from roofline.testing.records import Setup
from roofline.testing.runs import run_decode


def without_indexers(setup: Setup) -> Setup:
    """Sparse layers that take over the selection of others."""
    return setup.seeing(index_heads=0, index_dim=0)


def seeing_less_is_never_slower(setup: Setup, run: Runner) -> None:
    """All tokens >= a sliding window >= chunks of its length; all tokens >= those selected, the indexer apart."""
    unindexed = without_indexers(setup)
    as_it_is = run(unindexed)
    windowed = run(unindexed.seeing(chunked=0))
    full = run(unindexed.seeing(chunked=0, window=NO_WINDOW, selected=0))
    at_least("a window is never faster than its chunk", windowed.step, as_it_is.step)
    at_least("all tokens are never faster than some", full.step, windowed.step)
    at_least("all tokens are never a smaller cache than some", full[Var.MEMORY], as_it_is[Var.MEMORY])
    indexed = run(setup)
    at_least("an indexer is never free", indexed.step, as_it_is.step)
    at_least("an indexer has weights and a cache", indexed[Var.MEMORY], as_it_is[Var.MEMORY])


def time_repeats_with_the_chunk(
    setup: Setup, batches: Sequence[int], contexts: Sequence[int], new_tokens: int = 1
) -> None:
    """Where every cache is of chunks of one length, a chunk further on a step takes the same time and memory no less.

    ValueError where layers that see further, or chunks of several lengths, make that untrue.
    """
    lengths = {row["window"] for row in setup.model["rows"] if row["attention"] in (Attention.GQA, Attention.MLA)}
    if len(lengths) != 1 or not all(r["chunked"] for r in setup.model["rows"] if r["attention"] == Attention.GQA):
        raise ValueError(f"chunks of one length only, not of {sorted(lengths)}")
    ahead = [context + lengths.copy().pop() for context in contexts]
    here, there = (run_decode(setup, batches, c, new_tokens) for c in (contexts, ahead))
    require("chunks further on are in the model's reach", here.ran <= there.ran, here.step)
    equal("time repeats with the chunk", there.step, here.step)
    at_least("memory does not", there[Var.MEMORY], here[Var.MEMORY])


def selection_saturates(setup: Setup, batches: Sequence[int], contexts: Sequence[int], new_tokens: int = 1) -> None:
    """Cores that read k tokens take the same time at any context past Q*k and k + Q; only an indexer takes more.

    For sparse GQA, or sparse MLA in `ideal` (elsewhere its expanded form works on all tokens).
    contexts : ascending, beyond those lengths.
    """
    bare = run_decode(without_indexers(setup), batches, contexts, new_tokens)
    equal("a core that reads k tokens saturates", bare.step[..., 1:], bare.step[..., :1].repeat(len(contexts) - 1, -1))
    indexed = run_decode(setup, batches, contexts, new_tokens)
    at_least("an indexer never saturates", indexed.step[..., 1:], indexed.step[..., :-1])
    own = any(row["index_heads"] for row in setup.model["rows"])
    if own and setup.kit is not None and not setup.kit["bound"]:
        core = indexed.component(Component.ATTENTION_CORE)
        scored = ~indexed.ran[..., 1:] | (core[..., 1:] > core[..., :-1])
        require("every token more is one more to score", scored, core[..., 1:], core[..., :-1])


def state_ignores_context(setup: Setup, batches: Sequence[int], contexts: Sequence[int], new_tokens: int = 1) -> None:
    """Without a cache, neither time nor memory nor energy depends on the context. For models of linear layers alone."""
    run = run_decode(setup, batches, contexts, new_tokens)
    for variable in (Var.STEP, Var.SERIAL, Var.MEMORY, Var.ENERGY):
        first = run[variable][..., :1].repeat(len(contexts), -1)
        same = (run[variable] == first) | (first != first)  # NaN where it cannot run, or TDP is undisclosed
        require("a state does not grow", same, run[variable], first)


def a_switch_is_never_slower(setup: Setup, run: Runner) -> None:
    """No mesh and no torus beats a switched domain whose accelerators have the same bytes/s, hops and fixed times."""
    switched = run(setup.on(mesh=int(Topology.SWITCHED)))
    wired = run(setup)
    at_least("a switch is never slower", wired.step, switched.step)
    at_least("a switch is never slower in series", wired[Var.SERIAL], switched[Var.SERIAL])


def drafts_are_paid_for(setup: Setup, batches: Sequence[int], contexts: Sequence[int], drafts: int) -> None:
    """Speculation costs what it costs, whatever is kept of it: acceptance 0 never beats no speculation.

    contexts : from drafts + 1 up.   The model needs a draft module (or else nothing of it runs).
    """
    plain = run_decode(setup, batches, contexts)
    none = run_decode(setup, batches, contexts, drafts=0, tokens_per_step=1.0)
    same_bits("no drafts is no speculation", plain, none)
    check = run_decode(setup, batches, contexts, drafts + 1)
    rejected = run_decode(setup, batches, contexts, drafts + 1, drafts=drafts, tokens_per_step=1.0)
    require("what holds a draft module holds without it", rejected.ran <= check.ran, rejected.step)
    at_least("drafts take time", rejected.step, check.step)
    at_least("drafts take memory", rejected[Var.MEMORY], check[Var.MEMORY])
    at_least("acceptance 0 never beats no speculation", plain[Var.USER_RATE], rejected[Var.USER_RATE])
    tau = 1.0 + 0.5 * drafts
    kept = run_decode(setup, batches, contexts, drafts + 1, drafts=drafts, tokens_per_step=tau)
    equal("what is kept changes no time", kept.step, rejected.step, 0.0)
    for rate in (Var.USER_RATE, Var.GPU_RATE):
        equal("rates count what is kept", kept[rate], tau * rejected[rate])
    equal("energy is shared by what is kept", kept[Var.ENERGY] * tau, rejected[Var.ENERGY])
