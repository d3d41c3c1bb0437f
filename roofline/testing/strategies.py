"""Hypothesis strategies for what kernels take: machines, kits, models, deployments, and cells of them.

They draw plain dicts with the field names of roofline/layout.py; `roofline.testing.records.pack` makes arrays.
Ordinary and strange-but-legal things come out alike: one KV head, prime widths, tp past the KV heads, a batch
smaller than dp, a window of one token, very long contexts, a domain smaller than tp, all experts chosen, a full mesh,
a torus of three axes, a state in place of a cache, a draft module unlike the model's own layers. Kinds of layer have
their strategies in `layers`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, nan, prod

from hypothesis import strategies as st

from roofline.layout import Attention, Limit, Topology
from roofline.testing.layers import WIDTHS, layer_rows
from roofline.testing.records import FIXED_TIMES, KIT_ETAS, KIT_FIXED_TIMES, LINK_ETAS, PARTS, Plain, Setup, idealised

Draw = st.DrawFn

LONGEST = 1 << 21
"""Longest context drawn [tokens]."""


@dataclass(frozen=True)
class DecodeCell:
    """One decode step: `batch` sequences in flight, `new_tokens` each, `context` tokens with the new ones.

    With `drafts` passes of a draft module it keeps `tokens_per_step` of them; all where that is None.
    """

    setup: Setup
    batch: int
    context: int
    new_tokens: int
    drafts: int = 0
    tokens_per_step: float | None = None


@dataclass(frozen=True)
class PrefillCell:
    """One prompt of `isl` tokens per sequence, of which `cached` are there already, in passes of at most `chunk`."""

    setup: Setup
    batch: int
    isl: int
    cached: int
    chunk: int


def rates(low: float, high: float) -> st.SearchStrategy[float]:
    """A rate between two powers of ten, evenly by magnitude [1/s]."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def fixed_times() -> st.SearchStrategy[float]:
    """A fixed time of a kernel or collective [s], zero included."""
    return st.one_of(st.just(0.0), st.floats(1e-7, 5e-5))


def shares() -> st.SearchStrategy[float]:
    """An achieved share of a peak."""
    return st.one_of(st.just(1.0), st.floats(0.05, 1.0))


TORI = ((2, 1, 1), (3, 1, 1), (4, 1, 1), (16, 1, 1), (2, 2, 1), (4, 3, 1), (4, 4, 1), (16, 16, 1), (4, 2, 2), (5, 3, 2))
"""Extents of torus domains: rings, squares, boxes, odd ones too."""


def tori() -> st.SearchStrategy[Plain]:
    """The fields of a machine whose domain is a torus of one to three axes."""
    names = ("axis_x", "axis_y", "axis_z")
    shapes = st.sampled_from([*TORI, (4, 4, 4), (3, 3, 3)])
    return shapes.map(lambda a: dict(zip(names, a, strict=True)) | {"domain": prod(a), "mesh": int(Topology.TORUS)})


@st.composite
def flat_domains(draw: Draw) -> Plain:
    """The fields of a machine whose domain is switched or a full mesh."""
    return {
        "domain": draw(st.sampled_from([1, 2, 3, 4, 8, 16, 72])),
        "mesh": int(draw(st.sampled_from([Topology.SWITCHED, Topology.SWITCHED, Topology.FULL_MESH]))),
    } | dict.fromkeys(("axis_x", "axis_y", "axis_z"), 1)


@st.composite
def machines(
    draw: Draw, at_least: int = 1, roomy: bool = True, wiring: st.SearchStrategy[Plain] | None = None
) -> Plain:
    """An accelerator in its system.

    at_least : accelerators a replica may span at the least.   roomy : memory never the limit.
    wiring : what its domain is drawn from, such as `tori()`.   Some machines have no published TDP.
    """
    domain = draw(st.one_of(flat_domains(), flat_domains(), tori()) if wiring is None else wiring)
    machine: Plain = {name: draw(fixed_times()) for name in FIXED_TIMES}
    machine |= {name: draw(shares()) for name in LINK_ETAS}
    up = draw(rates(1e10, 2e12))
    idle = draw(st.floats(10.0, 200.0))
    memory = 1e18 if roomy else draw(st.sampled_from([1e6, 1e9, 24e9, 80e9, 288e9]))
    tdp = draw(st.one_of(*[st.floats(0.0, 2000.0).map(lambda more: idle + more)] * 4, st.just(nan)))
    machine |= domain
    return machine | {
        "bytes_per_s": draw(rates(1e11, 3e13)),
        "memory_bytes": memory,
        "memory_fraction": draw(st.sampled_from([0.85, 0.9, 1.0])),
        "reserve_bytes": draw(st.sampled_from([0.0, 1e5, 2e9])),
        "accelerators": domain["domain"],
        "max_accelerators": max(at_least, domain["domain"]),
        "up_bytes_per_s": up,
        "out_bytes_per_s": up / draw(st.sampled_from([1.0, 2.0, 9.0, 18.0])),
        "in_switch": draw(st.sampled_from([0, 1])),
        "tdp_w": tdp,
        "idle_w": idle,
        "power_a": draw(st.sampled_from([0.0, 1.0, 4.54])),
        "power_b": draw(st.sampled_from([0.0, 0.647, 2.0])),
    }


@st.composite
def parts(draw: Draw) -> Plain:
    """One kind of operation in one format with measured efficiencies."""
    return {
        "w_weight": draw(st.sampled_from([0.53125, 0.5625, 1.0, 1.000244140625, 2.0, 4.0])),
        "w_act": draw(st.sampled_from([0.0, 0.5625, 1.0, 1.03125, 2.0])),
        "w_out": draw(st.sampled_from([0.0, 1.0, 2.0])),
        "flop_per_s": draw(rates(1e13, 2e16)),
        "eta_compute": draw(shares()),
        "eta_memory": draw(shares()),
        "fixed_s": draw(fixed_times()),
    }


@st.composite
def kits(draw: Draw) -> Plain:
    """A recipe on an accelerator in fidelity `kernel`; `records.idealised_kit` gives its `ideal` twin."""
    kit: Plain = {name: draw(parts()) for name in PARTS}
    width = st.sampled_from([0.5625, 1.0, 2.0])
    for name in ("w_embed", "w_hidden", "w_gather_logit", "w_reduce", "w_dispatch", "w_combine", "w_expand", "w_logit"):
        kit[name] = draw(width)
    for name in KIT_ETAS:
        kit[name] = draw(shares())
    for name in KIT_FIXED_TIMES:
        kit[name] = draw(fixed_times())
    for name in ("w_permute", "chunk_work"):
        kit[name] = draw(st.sampled_from([0.0, 1.0]))
    kit["w_conv"] = draw(st.sampled_from([2.0, 4.0]))
    kit["w_score"] = draw(st.sampled_from([0.0, 2.0, 4.0]))
    kit["expert_skew"] = draw(st.sampled_from([1.0, 1.2, 3.0]))
    kit["expert_tile"] = draw(st.sampled_from([1.0, 1.0, 16.0, 64.0]))
    kit["fullest_rank"] = draw(st.sampled_from([0, 1]))
    return kit | {"bound": 0}


@st.composite
def draft_modules(draw: Draw, hidden: int, kinds: list[Plain]) -> Plain:
    """The fields of a model with multi-token-prediction modules: a layer like one of the model's, or one of its own."""
    like = draw(st.sampled_from(kinds)) | {"count": 1}
    routed = None if any(row["experts"] for row in kinds) else False  # where the model has no experts, ep is 1
    own = draw(st.lists(layer_rows(hidden, routed), min_size=0, max_size=1))
    return {"draft_rows": [*own, like], "draft_modules": draw(st.sampled_from([1, 3]))}


@st.composite
def models(
    draw: Draw,
    routed: bool | None = None,
    drafts: bool | None = None,
    attention: st.SearchStrategy[Plain] | None = None,
) -> Plain:
    """A model of one to four kinds of layer.

    routed : with experts in all, in none, or as drawn.   drafts : with multi-token prediction, without, or as drawn.
    attention : what every layer has, such as `layers.linear()`; any where not given.
    """
    hidden = draw(WIDTHS)
    kinds = draw(st.lists(layer_rows(hidden, routed, attention), min_size=1, max_size=4))
    predicts = draw(st.booleans()) if drafts is None else drafts
    module = draw(draft_modules(hidden, kinds)) if predicts else {"draft_rows": [], "draft_modules": 0}
    return module | {
        "rows": kinds,
        "layers": sum(row["count"] for row in kinds),
        "hidden": hidden,
        "vocab": draw(st.sampled_from([1, 257, 32000, 128256])),
        "tied": draw(st.sampled_from([0, 1])),
        "route_groups": draw(st.sampled_from([0, 0, 1, 4])),
        "max_context": LONGEST,
    }


def legal_tp(model: Plain, up_to: int = 64) -> list[int]:
    """Tensor-parallel degrees the heads of a model and of its draft module allow; KV heads split or replicate."""
    attending = [row for row in model["rows"] + model["draft_rows"] if row["attention"] != Attention.NONE]
    grouped = [r["kv_heads"] for r in attending if r["attention"] in (Attention.GQA, Attention.LINEAR)]
    degrees = []
    for tp in range(1, up_to + 1):
        splits = all(row["heads"] % tp == 0 for row in attending)
        if splits and all(kv % tp == 0 or tp % kv == 0 for kv in grouped):
            degrees.append(tp)
    return degrees


@st.composite
def deployments(draw: Draw, model: Plain) -> Plain:
    """A legal deployment of a model, on however many accelerators it takes."""
    tp = draw(st.sampled_from(legal_tp(model)))
    dp = draw(st.sampled_from([1, 1, 2, 3, 4, 8]))
    pp = draw(st.sampled_from([n for n in (1, 1, 2, 3, 4, 7) if n <= model["layers"]]))
    common = gcd(*(row["experts"] for row in model["rows"] + model["draft_rows"]))  # 0 where no layer has any
    degrees = [n for n in range(1, tp * dp + 1) if tp * dp % n == 0 and common % n == 0] if common else [1]
    ep = draw(st.sampled_from(degrees))
    return {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "moe_tp": tp * dp // ep if common else 1}


def any_deployments() -> st.SearchStrategy[Plain]:
    """Deployments legal or not."""
    degrees = st.sampled_from([1, 1, 1, 2, 3, 8])
    return st.fixed_dictionaries(dict.fromkeys(("tp", "pp", "dp", "ep", "moe_tp"), degrees))


@st.composite
def setups(
    draw: Draw,
    routed: bool | None = None,
    roomy: bool = True,
    fidelity: str | None = None,
    of: st.SearchStrategy[Plain] | None = None,
    wiring: st.SearchStrategy[Plain] | None = None,
) -> Setup:
    """A model that is legally deployed on a machine, in fidelity `kernel`, `ideal` or either.

    of : models to draw from, in place of `models(routed)`.   wiring : domains to draw from, as in `machines`.
    """
    model = draw(models(routed) if of is None else of)
    deployment = draw(deployments(model))
    group = deployment["tp"] * deployment["pp"] * deployment["dp"]
    setup = Setup(model, draw(machines(group, roomy, wiring)), draw(kits()), deployment)
    ideal = fidelity == "ideal" or (fidelity is None and draw(st.booleans()))
    return idealised(setup) if ideal else setup


CELL_LIMITS = [limit for limit in Limit if limit not in (Limit.POWER, Limit.LINK, Limit.RACK)]
"""Limits a cell can meet by itself; the others are of choices between cells, and of what stands around them."""


@st.composite
def spoiled_setups(draw: Draw, limit: Limit) -> Setup:
    """A setup that meets a limit: whatever the batch and context, save MEMORY and CONTEXT, which depend on them.

    DRAFT is met where drafts are asked for.
    """
    setup = draw(setups(routed=True if limit == Limit.EXPERT_GROUP else None))
    group, model = setup.accelerators, setup.model
    if limit == Limit.MATH_TYPE:
        return replace(setup, kit=None)
    if limit == Limit.ACCELERATORS:
        return setup.on(max_accelerators=group - 1)
    if limit == Limit.MEMORY:
        return setup.on(memory_bytes=draw(st.sampled_from([1.0, 1e6, 1e9, 80e9])), reserve_bytes=0.0)
    if limit == Limit.DRAFT:
        return replace(setup, model=model | {"draft_rows": [], "draft_modules": 0})
    if limit == Limit.CONTEXT:
        return replace(setup, model=model | {"max_context": draw(st.sampled_from([1, 64, 4096]))})
    setup = setup.on(max_accelerators=1 << 30)
    if limit == Limit.LAYERS:
        return setup.deployed(pp=model["layers"] + 1)
    if limit in (Limit.HEADS, Limit.KV_HEADS):
        # 7 heads over 6; or 24 heads over 6 but 4 KV heads, which neither split nor replicate evenly
        counts = {"heads": 7, "kv_heads": 1} if limit == Limit.HEADS else {"heads": 24, "kv_heads": 4}
        row = model["rows"][0] | {"attention": int(Attention.GQA), "head_dim": 64, "v_head": 64} | counts
        kinds = model | {"rows": [row], "layers": row["count"], "draft_rows": [], "draft_modules": 0}
        return replace(setup, model=kinds).deployed(tp=6, pp=1)
    if limit == Limit.EXPERTS:
        return setup.deployed(ep=1 + max(1, *(row["experts"] for row in model["rows"]), 1))
    if limit == Limit.EXPERT_GROUP:
        return setup.deployed(moe_tp=setup.deployment["moe_tp"] + 1)
    return setup


@st.composite
def wild_setups(draw: Draw) -> Setup:
    """Setups of which most cannot run, some for several reasons at once."""
    setup = draw(spoiled_setups(draw(st.sampled_from(CELL_LIMITS))))
    if draw(st.booleans()):
        return setup
    return replace(setup, deployment=draw(any_deployments()))


def batches(largest: int = 4096) -> st.SearchStrategy[int]:
    """Sequences in flight in one replica: a handful, often fewer than dp or pp, to thousands."""
    return st.one_of(st.integers(1, 9), st.integers(1, largest))


def contexts(longest: int = LONGEST, shortest: int = 1) -> st.SearchStrategy[int]:
    """Tokens of context, the new ones included."""
    return st.one_of(st.integers(shortest, max(shortest, 40)), st.integers(shortest, longest))


def new_token_counts() -> st.SearchStrategy[int]:
    """Tokens a decode step adds to a sequence: one, or one and a draft."""
    return st.sampled_from([1, 1, 1, 2, 4, 9])


def draft_counts() -> st.SearchStrategy[int]:
    """Drafts of a speculative step, one or a few."""
    return st.sampled_from([1, 1, 2, 4])


def ascending(of: st.SearchStrategy[int], at_least: int = 2, at_most: int = 4) -> st.SearchStrategy[list[int]]:
    """Different numbers in ascending order, as an axis."""
    return st.lists(of, min_size=at_least, max_size=at_most, unique=True).map(sorted)


@st.composite
def decode_cells(draw: Draw, of: st.SearchStrategy[Setup] | None = None) -> DecodeCell:
    """One decode step of a setup; with drafts, where the model has a module for them, more often than not."""
    setup = draw(of if of is not None else setups())
    drafts = draw(st.one_of(st.just(0), draft_counts(), draft_counts())) if setup.model["draft_rows"] else 0
    new_tokens = drafts + 1 if drafts else draw(new_token_counts())
    kept = draw(st.one_of(st.none(), st.floats(1.0, 1.0 + drafts))) if drafts else None
    return DecodeCell(setup, draw(batches()), draw(contexts(shortest=new_tokens)), new_tokens, drafts, kept)


@st.composite
def prefill_cells(draw: Draw, of: st.SearchStrategy[Setup] | None = None) -> PrefillCell:
    """One prompt of a setup in at most a few dozen chunks, with and without a cached prefix."""
    setup = draw(of if of is not None else setups())
    isl = draw(contexts(1 << 17))
    cached = draw(st.one_of(st.just(0), st.integers(0, isl - 1)))
    least = max(1, -(-(isl - cached) // 24))
    chunk = draw(st.one_of(st.integers(least, max(least, isl)), st.just(1 << 20)))
    return PrefillCell(setup, draw(batches(64)), isl, cached, chunk)
