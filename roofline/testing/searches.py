"""Searches for the best deployment on setups: what laws of plans are checked on, and questions drawn at random.

Questions are plain numbers of the shapes that `kernels.plan.search_grid` takes, without the workloads and the queueing
that such numbers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from roofline.kernels.candidates import (
    MODES,
    T_FILLS,
    T_FILLS_LATENCY,
    T_SEEN_LATENCY,
    T_SEEN_TPOT,
    T_SEQUENCES,
    T_WAIT,
    T_WAIT_LATENCY,
    TABLE,
)
from roofline.kernels.plan import search_grid
from roofline.layout import POWER, PSU_POINTS
from roofline.testing.checks import LawBroken
from roofline.testing.records import Array, Plain, Records, Setup, as_array, pack

Draw = st.DrawFn

AXES: dict[str, str] = {
    "facts": "w",
    "contexts": "w",
    "prompt_ends": "cw",
    "chunks": "c",
    "drafts": "g",
    "batches": "b",
    "at_once": "n",
    "loads": "u",
    "tables": "wscg",
    "timing": "wg",
    "filling": "wc",
    "longest": "wg",
    "quants": "ws",
    "limits": "s",
}
"""Leading dimensions of arrays of a question: workloads, limits, chunks, drafts, batches, prompts at once, loads."""


@dataclass(frozen=True)
class Question:
    """What a search is asked, whatever the setup.

    arrays : arguments of `search_grid` by name; `contexts` as [workload, node], `prompt_ends` as [chunk, workload,
    end].   captured : batches of a rank that a step is padded to, of which `padded` is made.   power : fields of
    layout.POWER, the same around every machine but that each idles at its own idle_w.   price : alpha, beta of (25).
    """

    arrays: dict[str, Array]
    captured: tuple[int, ...]
    power: Plain
    price: tuple[float, float]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    @property
    def most(self) -> int:
        """Largest batch of a rank."""
        return int(self["tables"].shape[-2] - 1)

    def asking(self, **arrays: Any) -> Question:
        """The same question with arrays replaced."""
        return replace(self, arrays=self.arrays | arrays)

    def only(self, axis: str, order: Sequence[int]) -> Question:
        """The same question with the entries `order` of one dimension of `AXES`, in that order."""
        picked = {
            name: np.ascontiguousarray(np.take(self[name], list(order), axis=dims.index(axis)))
            for name, dims in AXES.items()
            if axis in dims
        }
        return self.asking(**picked)

    def fact(self, column: int, values: Any) -> Question:
        """The same question with one fact of every workload replaced."""
        facts = self["facts"].copy()
        facts[:, column] = values
        return self.asking(facts=facts)


@dataclass(frozen=True)
class Found:
    """What `search_grid` returns, [config, mode, workload, limits, ...]."""

    best: Array
    near: Array
    at: Array
    points: Array
    filled: Array
    limit: Array
    count: Array


def run_search(
    of: Records | Setup | Sequence[Setup],
    question: Question,
    modes: Sequence[int] = range(MODES),
    most_points: int = 0,
    parallel: bool = False,
    prune: bool = False,
) -> Found:
    """The search of every setup, KV handed over at the rate of each machine's own scale-out.

    modes : numbers of `kernels.candidates`.   most_points : undominated candidates kept of each.   prune : leave out
    what cannot be the best of its machine.
    """
    records = of if isinstance(of, Records) else pack([of] if isinstance(of, Setup) else of)
    machines, arrays = records.machines, dict(question.arrays)
    arrays["contexts"] = arrays["contexts"].reshape(-1)
    arrays["prompt_ends"] = arrays["prompt_ends"].reshape(arrays["chunks"].size, -1)
    out = search_grid(
        *records.arguments(),
        **arrays,
        powers=as_array([question.power | {"idle_w": float(watts)} for watts in machines["idle_w"]], POWER),
        links=machines["out_bytes_per_s"] * machines["eta_out"],
        prices=np.tile(question.price, (machines.size, 1)),
        modes=np.isin(np.arange(MODES), list(modes)).astype(np.int64),
        most_points=most_points,
        prune=prune,
        parallel=parallel,
    )
    return Found(**out)


def same_choice(law: str, found: Found, other: Found, names: Sequence[str] = ("best", "near", "at", "limit")) -> None:
    """Two searches found the same to the bit."""
    for name in names:
        if getattr(found, name).tobytes() != getattr(other, name).tobytes():
            raise LawBroken(f"{law}: {name} differs")


@st.composite
def powers(draw: Draw, reserved: bool | None = None) -> Plain:
    """Fields of layout.POWER: what is around the accelerators of a system, or is reserved for it."""
    points = draw(st.integers(1, PSU_POINTS))
    load = sorted(draw(st.lists(st.floats(0.01, 1.2), min_size=points, max_size=points, unique=True)))
    efficiency = draw(st.lists(st.floats(0.7, 1.0), min_size=points, max_size=points))
    return {
        "accelerators": draw(st.sampled_from([1, 2, 4, 8, 16, 72])),
        "idle_w": draw(st.floats(0.0, 200.0)),
        "host_w": draw(st.floats(0.0, 5000.0)),
        "psu_rated_w": draw(st.floats(1e3, 2e5)),
        "psu_points": points,
        "psu_load": load + load[-1:] * (PSU_POINTS - points),
        "psu_efficiency": efficiency + efficiency[-1:] * (PSU_POINTS - points),
        "pue": draw(st.sampled_from([1.0, 1.1, 1.5])),
        "fixed_w": draw(st.sampled_from([0.0, 0.0, 500.0])),
        "most_w": draw(st.one_of(st.just(np.inf), st.just(np.inf), st.floats(5e3, 5e4))),
        "boundary": draw(st.sampled_from([0, 1])),
        "reserved": int(draw(st.booleans()) if reserved is None else reserved),
        "reserved_part_w": draw(st.floats(0.0, 2000.0)),
        "reserved_system_w": draw(st.floats(100.0, 2e5)),
    }


def batch_grids(most: int) -> st.SearchStrategy[list[int]]:
    """Batches up to `most`, every power of two among them, as a search looks at them."""
    octaves = {1 << n for n in range(most.bit_length())}
    return st.lists(st.integers(1, most), max_size=6).map(lambda more: sorted(octaves | {most} | set(more)))


def step_tables(rng: np.random.Generator, steps: Array, filling: Array, n_limits: int, most: int) -> Array:
    """Rising tables of sequences, shares and waits, of shape [workload, limits, chunk, drafts, most + 1, TABLE].

    steps : decode steps, [workload, drafts].   filling : w and k, [workload, chunk, 2].   NaN where prompts would take
    more steps than decoding.   Numbers of sequences and mean shares are those of all limits.
    """
    n_workloads, n_chunks, _ = filling.shape
    shape = (n_workloads, n_limits, n_chunks, steps.shape[1], most + 1)
    single = (n_workloads, 1, *shape[2:])
    tables = np.empty((*shape, TABLE))
    batch = np.arange(most + 1.0)
    with np.errstate(divide="ignore"):
        share = batch / (steps[:, None, :] / filling[..., 1, None])[:, None, ..., None]  # of steps with a chunk
    tables[..., T_SEQUENCES] = batch + np.cumsum(rng.integers(0, 3, single), axis=-1)
    for column in (T_SEEN_TPOT, T_SEEN_LATENCY):
        tables[..., column] = np.sort(rng.random(shape), axis=-1)
    for fills, waits in ((T_FILLS, T_WAIT), (T_FILLS_LATENCY, T_WAIT_LATENCY)):
        tables[..., fills] = share + np.cumsum(rng.random(shape), axis=-1)
        tables[..., waits] = tables[..., fills] + share + np.cumsum(rng.random(shape), axis=-1) + 1.0
    none = (batch == 0.0) | (share > 1.0) | (filling[:, None, :, None, 1, None] == 0.0)
    tables[np.broadcast_to(none, shape)] = np.nan
    return tables


def _each(draw: Draw, of: st.SearchStrategy[Any], *shape: int) -> Array:
    count = int(np.prod(shape))
    return np.array(draw(st.lists(of, min_size=count, max_size=count))).reshape(shape)


@st.composite
def questions(
    draw: Draw,
    most: st.SearchStrategy[int] = st.integers(1, 40),  # noqa: B008
    drafts: st.SearchStrategy[list[int]] = st.sampled_from([[0], [0], [0, 1], [0, 2], [1, 3]]),  # noqa: B008
    nodes: int = 2,
    loaded: bool | None = None,
    power: Callable[[], st.SearchStrategy[Plain]] = powers,
) -> Question:
    """One or two workloads and sets of limits, none of which is met by nothing; one or two chunks.

    most : largest batch of a rank.   drafts : numbers of drafts to try.   nodes : most contexts of a workload.
    loaded : whether accelerators are counted for a rate of requests.
    """
    n_workloads, n_limits = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    tried, largest = draw(drafts), draw(most)
    isl = _each(draw, st.one_of(st.integers(1, 40), st.integers(1, 4096)), n_workloads)
    new = np.array([draw(st.integers(1, int(tokens))) for tokens in isl])
    chunks = sorted({-(-int(new.max()) // draw(st.sampled_from([1, 1, 2, 3, 5]))) for _ in range(2)})
    each, ends = draw(st.integers(1, nodes)), draw(st.integers(1, nodes))
    contexts = _each(draw, st.integers(1 + max(tried), 1 << 15), n_workloads, each)
    prompt_ends = np.empty((len(chunks), n_workloads, ends))
    for c, w in np.ndindex(prompt_ends.shape[:2]):
        prompt_ends[c, w] = np.maximum(_each(draw, st.integers(1, int(isl[w])), ends), chunks[c])
    osl = _each(draw, st.floats(1.1, 2000.0), n_workloads)
    reserved = np.round(isl + osl)
    busy = draw(st.booleans()) if loaded is None else loaded
    facts = np.stack(
        [
            *(new, isl, reserved, osl),
            _each(draw, st.floats(0.0, 4.0), n_workloads),
            _each(draw, st.floats(0.05, 1.0), n_workloads),
            _each(draw, st.floats(1e-3, 1e4), n_workloads) if busy else np.zeros(n_workloads),
            np.maximum(np.maximum(reserved, isl), contexts.max(axis=1)),
        ],
        axis=-1,
    )
    steps = _each(draw, st.floats(0.5, 300.0), n_workloads, len(tried))
    timing = np.stack([steps, _each(draw, st.one_of(st.just(0.0), st.floats(0.1, 1.5)), *steps.shape)], axis=-1)
    taken = _each(draw, st.floats(1.0, 5.0), n_workloads, len(chunks))
    filling = np.stack([taken * _each(draw, st.floats(0.05, 1.0), *taken.shape), taken], axis=-1)
    for c, w in np.ndindex(len(chunks), n_workloads):
        if c > 0 and chunks[c - 1] >= new[w]:
            filling[w, c] = 0.0  # a smaller chunk holds any prompt
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    captured = tuple(sorted(draw(st.sets(st.integers(1, 48), max_size=4))))
    arrays = {
        "facts": facts.astype(np.float64),
        "contexts": contexts.astype(np.float64),
        "prompt_ends": prompt_ends,
        "chunks": np.array(chunks, dtype=np.int64),
        "drafts": np.array(tried, dtype=np.int64),
        "batches": np.array(draw(batch_grids(largest)), dtype=np.int64),
        "padded": np.array([0, *(min((c for c in captured if c >= b), default=b) for b in range(1, largest + 1))]),
        "at_once": np.array(sorted(draw(st.sets(st.integers(1, 9), min_size=1, max_size=2))), dtype=np.int64),
        "loads": np.array(sorted(draw(st.sets(st.floats(0.05, 0.98), min_size=1, max_size=2)))),
        "tables": step_tables(rng, steps, filling, n_limits, largest),
        "timing": timing,
        "filling": filling,
        "longest": steps[..., None] * np.sort(rng.uniform(0.5, 9.0, (*steps.shape, 17)), axis=-1),
        "quants": rng.uniform([0.01, 0.0], [0.99, 3e3], (n_workloads, n_limits, 2)),
        "limits": np.full((n_limits, 3), np.inf),
        "stack": np.array([draw(st.sampled_from([0.0, 1e-5, 5e-3])) for _ in range(3)]),
    }
    price = draw(st.sampled_from([(1.0, 0.0), (0.0, 1.0), (1.0, 1e-3)]))
    return Question(arrays, captured, draw(power()), price)
