"""The grids that are swept: every cell of them has a value, so that none is cheaper than it looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from roofline.grid.axes import Deployments
from roofline.grid.deployments import candidates
from roofline.grid.evaluate import Grid
from roofline.kernels.capacity import largest_batches
from roofline.layout import Attention
from roofline.specs import Model, System

Fidelity = Literal["ideal", "kernel"]

MODELS = (
    "llama-3.1-8b",
    "llama-3.1-70b",
    "llama-3.1-405b",
    "qwen3-32b",
    "gemma-3-27b",
    "mixtral-8x7b",
    "gpt-oss-120b",
    "qwen3-235b-a22b",
    "deepseek-r1",
    "deepseek-v3",
    "llama-3.3-70b",
)
SYSTEMS = ("dgx-h100", "dgx-h200", "dgx-b200", "gb300-nvl72", "mi355x-8")
BLOCK_BYTES = 64 << 20
"""Values written before an output array is used again: more than a last-level cache holds."""


@dataclass(frozen=True)
class Shape:
    """How large a sweep is."""

    models: tuple[str, ...]
    systems: tuple[str, ...]
    recipes: int  # at most this many of those a model ships in
    deployments: int  # at most this many of those that fit
    batches: int
    contexts: int

    def parameters(self, fidelity: Fidelity) -> dict[str, Any]:
        """What a result says about it."""
        return {
            "models": list(self.models),
            "systems": list(self.systems),
            "recipes": f"at most {self.recipes} of those shipped",
            "deployments": f"at most {self.deployments} a system and recipe, which hold a longest context",
            "batches": f"{self.batches}, from 1 to the largest that fits at the longest context",
            "contexts": f"{self.contexts}, from 128 to the model's longest or 131072",
            "fidelity": fidelity,
        }


FULL = Shape(MODELS, SYSTEMS, 3, 20, 64, 1024)
TINY = Shape(("llama-3.1-8b", "deepseek-r1"), ("dgx-b200",), 1, 2, 8, 512)


@dataclass(frozen=True)
class Block:
    """Arguments of `decode_grid` for some configurations of one model."""

    model: str
    attention: str
    records: tuple[Any, ...]  # of `decode_grid`; configurations last
    batch: Any  # int64[config, batch]
    context: Any  # float64[context]

    @property
    def cells(self) -> int:
        """Cells of the block."""
        return int(self.batch.size * self.context.size)

    def split(self, variables: int) -> Iterator[Block]:
        """The block in pieces whose `variables` take at most BLOCK_BYTES."""
        step = max(1, BLOCK_BYTES // (8 * variables * self.batch.shape[1] * self.context.size))
        for first in range(0, self.batch.shape[0], step):
            part = slice(first, first + step)
            configs = np.ascontiguousarray(self.records[-1][part])
            records = (*self.records[:-1], configs)
            yield replace(self, records=records, batch=np.ascontiguousarray(self.batch[part]))


def blocks(shape: Shape, fidelity: Fidelity) -> list[Block]:
    """One block a model: all systems, recipes and deployments it runs with."""
    found = (block_of(model, shape, fidelity) for model in shape.models)
    return [block for block in found if block is not None]


def block_of(name: str, shape: Shape, fidelity: Fidelity) -> Block | None:
    """The block of a model; None where nothing holds a sequence of the longest context."""
    model, systems = Model.load(name), [System.load(system) for system in shape.systems]
    rows = dict.fromkeys(row for system in systems for row in candidates(model, system).rows)
    grid = Grid([model], systems, list(model.recipes)[: shape.recipes], Deployments(tuple(rows)), fidelity)
    longest = min(model.max_context, 131072)
    *records, configs = grid.records()
    most = largest_batches(*records, configs, np.array([longest]))[:, 0]
    chosen = np.concatenate([spread(group, shape.deployments) for group in np.split(most > 0, most.size // len(rows))])
    fits = np.flatnonzero(chosen)
    if fits.size == 0:
        return None
    batch = np.linspace(1, most[fits], shape.batches, axis=1).astype(np.int64)
    context = np.linspace(128, longest, shape.contexts).astype(np.int64).astype(np.float64)
    arrays = tuple(array.view(np.recarray) for array in (*records, np.ascontiguousarray(configs[fits])))
    layers = grid.packed.layers
    attention = "GQA, part windowed" if (layers["window"] < longest).any() else "GQA"
    attention = "MLA" if (layers["attention"] == Attention.MLA).any() else attention
    return Block(name, attention, arrays, np.ascontiguousarray(batch), context)


def spread(runs: Any, most: int) -> Any:
    """bool[n] with at most `most` of those of `runs`, evenly spread over them."""
    kept = np.zeros_like(runs)
    found = np.flatnonzero(runs)
    kept[found[np.unique(np.linspace(0, found.size - 1, min(found.size, most)).astype(np.int64))]] = True
    return kept
