"""Names of the branches of the equations that a setup goes through, for counts of what a test has reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import settings

from roofline.layout import NO_WINDOW, Attention, Topology
from roofline.testing.layers import chunked, gqa, linear, mla, seeing_all, selecting, windowed
from roofline.testing.records import Setup

PATIENT = settings(max_examples=4 * settings.default.max_examples)
"""For tests that must reach what few examples go through: what is drawn differs with every change of source."""

ATTENTIONS = {
    "window": (gqa(windowed()), ["windowed"]),
    "chunk": (gqa(chunked()), ["chunked"]),
    "gate": (gqa(seeing_all()), ["gated", "wide values"]),
    "sparse GQA": (gqa(selecting()), ["selected GQA", "own indexer"]),
    "sparse MLA": (mla(selecting()), ["selected MLA", "own indexer"]),
    "linear": (linear(), ["linear", "convolved", "replicated keys"]),
    "any": (None, ["latent experts", "linear", "full mesh", "undisclosed TDP"]),
}
"""What the layers of a model have, and the branches that tests on such models must reach."""

TORUS_BRANCHES = ("torus", "torus beyond one domain", "exchange over a torus")
DRAFT_BRANCHES = ("drafts", "drafts in a pipeline", "routed drafts", "linear drafts", "indexed drafts")


def _of_layer(model: dict[str, Any], row: dict[str, Any], tp: int) -> Iterator[str]:
    kind = row["attention"]
    if kind == Attention.GQA:
        yield from (name for name in ("chunked", "gated") if row[name])
        if row["window"] != NO_WINDOW and not row["chunked"]:
            yield "windowed"
        if row["v_head"] != row["head_dim"]:
            yield "wide values"
    if row["selected"]:
        yield "selected GQA" if kind == Attention.GQA else "selected MLA"
    if row["index_heads"]:
        yield "own indexer"
    if kind == Attention.LINEAR:
        yield "linear"
        if row["conv"] > 1:
            yield "convolved"
        if tp > row["kv_heads"]:
            yield "replicated keys"
    if row["experts"] and row["expert_hidden"] != model["hidden"]:
        yield "latent experts"


def branches_of(setup: Setup, drafts: int = 0) -> set[str]:
    """Branches of a setup that runs, with `drafts` passes of its draft module in a step."""
    model, machine, degrees = setup.model, setup.machine, setup.deployment
    reached = {branch for row in model["rows"] for branch in _of_layer(model, row, degrees["tp"])}
    group = degrees["tp"] * degrees["dp"]
    if machine["mesh"] == Topology.FULL_MESH and group > 1:
        reached.add("full mesh")
    if machine["mesh"] == Topology.TORUS and group > 1:
        reached.add("torus")
        if group > machine["domain"]:
            reached.add("torus beyond one domain")
        if degrees["ep"] > 1 and degrees["dp"] > 1:
            reached.add("exchange over a torus")
    if machine["tdp_w"] != machine["tdp_w"]:
        reached.add("undisclosed TDP")
    if drafts:
        module = model["draft_rows"]
        reached.add("drafts")
        tests = {
            "drafts in a pipeline": degrees["pp"] > 1,
            "routed drafts": any(row["experts"] for row in module),
            "linear drafts": any(row["attention"] == Attention.LINEAR for row in module),
            "indexed drafts": any(row["index_heads"] for row in module),
        }
        reached |= {name for name, holds in tests.items() if holds}
    return reached
