"""Hypothesis strategies for what kernels take: machines, kits, models, deployments, and cells of them.

They draw plain dicts with the field names of roofline/layout.py; `roofline.testing.records.pack` makes arrays.
Ordinary and strange-but-legal things come out alike: one KV head, prime widths, tp past the KV heads, a batch
smaller than dp, a window of one token, very long contexts, a domain smaller than tp, all experts chosen, a full mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

from hypothesis import strategies as st

from roofline.layout import NO_WINDOW, Attention, Limit, Topology
from roofline.testing.records import FIXED_TIMES, LINK_ETAS, PARTS, Plain, Setup, idealised

Draw = st.DrawFn

LONGEST = 1 << 21
"""Longest context drawn [tokens]."""


@dataclass(frozen=True)
class DecodeCell:
    """One decode step: `batch` sequences in flight, `new_tokens` each, `context` tokens with the new ones."""

    setup: Setup
    batch: int
    context: int
    new_tokens: int


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


@st.composite
def machines(draw: Draw, at_least: int = 1, roomy: bool = True) -> Plain:
    """An accelerator in its system.

    at_least : accelerators a replica may span at the least.   roomy : memory never the limit.
    """
    domain = draw(st.sampled_from([1, 2, 3, 4, 8, 16, 72]))
    machine: Plain = {name: draw(fixed_times()) for name in FIXED_TIMES}
    machine |= {name: draw(shares()) for name in LINK_ETAS}
    up = draw(rates(1e10, 2e12))
    idle = draw(st.floats(10.0, 200.0))
    memory = 1e18 if roomy else draw(st.sampled_from([1e6, 1e9, 24e9, 80e9, 288e9]))
    return machine | {
        "bytes_per_s": draw(rates(1e11, 3e13)),
        "memory_bytes": memory,
        "memory_fraction": draw(st.sampled_from([0.85, 0.9, 1.0])),
        "reserve_bytes": draw(st.sampled_from([0.0, 1e5, 2e9])),
        "accelerators": domain,
        "max_accelerators": max(at_least, domain),
        "domain": domain,
        "mesh": int(draw(st.sampled_from([Topology.SWITCHED, Topology.SWITCHED, Topology.FULL_MESH]))),
        "up_bytes_per_s": up,
        "out_bytes_per_s": up / draw(st.sampled_from([1.0, 2.0, 9.0, 18.0])),
        "in_switch": draw(st.sampled_from([0, 1])),
        "tdp_w": idle + draw(st.floats(0.0, 2000.0)),
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
    kit["elementwise_eta_memory"] = draw(shares())
    kit["elementwise_fixed_s"] = draw(fixed_times())
    kit["permute_eta_memory"] = draw(shares())
    kit["w_permute"] = draw(st.sampled_from([0.0, 1.0]))
    kit["expert_skew"] = draw(st.sampled_from([1.0, 1.2, 3.0]))
    kit["fullest_rank"] = draw(st.sampled_from([0, 1]))
    return kit | {"bound": 0}


HEADS = st.sampled_from([1, 2, 4, 6, 7, 8, 16, 20, 32, 64, 128])
WIDTHS = st.one_of(st.sampled_from([64, 128, 1024, 4096, 8192]), st.sampled_from([1, 61, 509, 2053]))
WINDOWS = st.sampled_from([NO_WINDOW, NO_WINDOW, 1, 2, 128, 1023, 4096])


@st.composite
def gqa(draw: Draw) -> Plain:
    """Grouped-query attention: the query heads divide evenly over the KV heads; windows from one token up."""
    heads = draw(HEADS)
    kv_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    head_dim = draw(st.sampled_from([1, 64, 113, 128, 256]))
    attention: Plain = dict.fromkeys(("q_lora", "kv_lora", "qk_nope", "qk_rope", "v_head"), 0)
    attention |= {"attention": int(Attention.GQA), "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    return attention | {"window": draw(WINDOWS)}


@st.composite
def mla(draw: Draw) -> Plain:
    """Multi-head latent attention, with and without compressed queries."""
    heads, nope, rope = draw(HEADS), draw(st.sampled_from([32, 128])), draw(st.sampled_from([0, 31, 64]))
    return {
        "attention": int(Attention.MLA),
        "heads": heads,
        "kv_heads": heads,
        "head_dim": nope + rope,
        "window": NO_WINDOW,
        "q_lora": draw(st.sampled_from([0, 97, 768, 1536])),
        "kv_lora": draw(st.sampled_from([1, 127, 512])),
        "qk_nope": nope,
        "qk_rope": rope,
        "v_head": draw(st.sampled_from([32, 128])),
    }


def no_attention() -> st.SearchStrategy[Plain]:
    """A layer without attention."""
    absent = ("heads", "kv_heads", "head_dim", "q_lora", "kv_lora", "qk_nope", "qk_rope", "v_head")
    return st.just(dict.fromkeys(absent, 0) | {"attention": int(Attention.NONE), "window": NO_WINDOW})


NO_EXPERTS = dict.fromkeys(("experts", "top_k", "expert_inner", "expert_hidden", "shared_inner"), 0)


@st.composite
def dense_ffn(draw: Draw) -> Plain:
    """A dense feed-forward, or none."""
    feedforward: Plain = NO_EXPERTS | {"ffn_inner": draw(st.one_of(st.just(0), WIDTHS))}
    return feedforward


@st.composite
def experts(draw: Draw, hidden: int) -> Plain:
    """Routed experts, maybe with shared ones, maybe in a latent width, maybe all of them chosen."""
    count = draw(st.sampled_from([1, 2, 7, 8, 16, 64, 128, 256, 512]))
    return {
        "ffn_inner": 0,
        "experts": count,
        "top_k": draw(st.one_of(st.integers(1, min(count, 10)), st.just(min(count, 16)))),
        "expert_inner": draw(WIDTHS),
        "expert_hidden": draw(st.one_of(st.just(hidden), st.just(max(1, hidden // 4)))),
        "shared_inner": draw(st.one_of(st.just(0), WIDTHS)),
    }


@st.composite
def layer_rows(draw: Draw, hidden: int, routed: bool | None = None) -> Plain:
    """One kind of layer."""
    attention = draw(st.one_of(gqa(), gqa(), mla(), mla(), no_attention()))
    mixed = draw(st.booleans()) if routed is None else routed
    feedforward = draw(experts(hidden)) if mixed else draw(dense_ffn())
    extra = {
        "count": draw(st.integers(1, 40)),
        "norms": draw(st.sampled_from([0, 2, 2, 4])),
        "ffn_matrices": draw(st.sampled_from([2, 3])),
        "other_params": draw(st.sampled_from([0, 2 * hidden, 12345])),
    }
    row: Plain = attention | feedforward | extra
    return row


@st.composite
def models(draw: Draw, routed: bool | None = None, rows: st.SearchStrategy[Plain] | None = None) -> Plain:
    """A model of one to four kinds of layer. routed : with experts in all, in none, or as drawn."""
    hidden = draw(WIDTHS)
    kinds = draw(st.lists(rows if rows is not None else layer_rows(hidden, routed), min_size=1, max_size=4))
    return {
        "rows": kinds,
        "layers": sum(row["count"] for row in kinds),
        "hidden": hidden,
        "vocab": draw(st.sampled_from([1, 257, 32000, 128256])),
        "tied": draw(st.sampled_from([0, 1])),
        "route_groups": draw(st.sampled_from([0, 0, 1, 4])),
        "max_context": LONGEST,
    }


def legal_tp(model: Plain, up_to: int = 64) -> list[int]:
    """Tensor-parallel degrees the heads of a model allow; KV heads split or replicate."""
    degrees = []
    for tp in range(1, up_to + 1):
        attending = [row for row in model["rows"] if row["attention"] != Attention.NONE]
        splits = all(row["heads"] % tp == 0 for row in attending)
        grouped = [row["kv_heads"] for row in attending if row["attention"] == Attention.GQA]
        if splits and all(kv % tp == 0 or tp % kv == 0 for kv in grouped):
            degrees.append(tp)
    return degrees


@st.composite
def deployments(draw: Draw, model: Plain) -> Plain:
    """A legal deployment of a model, on however many accelerators it takes."""
    tp = draw(st.sampled_from(legal_tp(model)))
    dp = draw(st.sampled_from([1, 1, 2, 3, 4, 8]))
    pp = draw(st.sampled_from([n for n in (1, 1, 2, 3, 4, 7) if n <= model["layers"]]))
    common = gcd(*(row["experts"] for row in model["rows"]))  # 0 where no layer has any
    degrees = [n for n in range(1, tp * dp + 1) if tp * dp % n == 0 and common % n == 0] if common else [1]
    ep = draw(st.sampled_from(degrees))
    return {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "moe_tp": tp * dp // ep if common else 1}


def any_deployments() -> st.SearchStrategy[Plain]:
    """Deployments legal or not."""
    degrees = st.sampled_from([1, 1, 1, 2, 3, 8])
    return st.fixed_dictionaries(dict.fromkeys(("tp", "pp", "dp", "ep", "moe_tp"), degrees))


@st.composite
def setups(draw: Draw, routed: bool | None = None, roomy: bool = True, fidelity: str | None = None) -> Setup:
    """A model that is legally deployed on a machine, in fidelity `kernel`, `ideal` or either."""
    model = draw(models(routed))
    deployment = draw(deployments(model))
    group = deployment["tp"] * deployment["pp"] * deployment["dp"]
    setup = Setup(model, draw(machines(group, roomy)), draw(kits()), deployment)
    ideal = fidelity == "ideal" or (fidelity is None and draw(st.booleans()))
    return idealised(setup) if ideal else setup


@st.composite
def spoiled_setups(draw: Draw, limit: Limit) -> Setup:
    """A setup that meets a limit: whatever the batch and context, save MEMORY and CONTEXT, which depend on them."""
    setup = draw(setups(routed=True if limit == Limit.EXPERT_GROUP else None))
    group, model = setup.accelerators, setup.model
    if limit == Limit.MATH_TYPE:
        return replace(setup, kit=None)
    if limit == Limit.ACCELERATORS:
        return setup.on(max_accelerators=group - 1)
    if limit == Limit.MEMORY:
        return setup.on(memory_bytes=draw(st.sampled_from([1.0, 1e6, 1e9, 80e9])), reserve_bytes=0.0)
    if limit == Limit.CONTEXT:
        return replace(setup, model=model | {"max_context": draw(st.sampled_from([1, 64, 4096]))})
    setup = setup.on(max_accelerators=1 << 30)
    if limit == Limit.LAYERS:
        return setup.deployed(pp=model["layers"] + 1)
    if limit in (Limit.HEADS, Limit.KV_HEADS):
        # 7 heads over 6; or 24 heads over 6 but 4 KV heads, which neither split nor replicate evenly
        counts = {"heads": 7, "kv_heads": 1} if limit == Limit.HEADS else {"heads": 24, "kv_heads": 4}
        row = model["rows"][0] | {"attention": int(Attention.GQA), "head_dim": 64} | counts
        kinds = model | {"rows": [row], "layers": row["count"]}
        return replace(setup, model=kinds).deployed(tp=6, pp=1)
    if limit == Limit.EXPERTS:
        return setup.deployed(ep=1 + max(1, *(row["experts"] for row in model["rows"]), 1))
    if limit == Limit.EXPERT_GROUP:
        return setup.deployed(moe_tp=setup.deployment["moe_tp"] + 1)
    return setup


@st.composite
def wild_setups(draw: Draw) -> Setup:
    """Setups of which most cannot run, some for several reasons at once."""
    setup = draw(spoiled_setups(draw(st.sampled_from(Limit))))
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


def ascending(of: st.SearchStrategy[int], at_least: int = 2, at_most: int = 4) -> st.SearchStrategy[list[int]]:
    """Different numbers in ascending order, as an axis."""
    return st.lists(of, min_size=at_least, max_size=at_most, unique=True).map(sorted)


@st.composite
def decode_cells(draw: Draw, of: st.SearchStrategy[Setup] | None = None) -> DecodeCell:
    """One decode step of a setup."""
    setup = draw(of if of is not None else setups())
    new_tokens = draw(new_token_counts())
    return DecodeCell(setup, draw(batches()), draw(contexts(shortest=new_tokens)), new_tokens)


@st.composite
def prefill_cells(draw: Draw, of: st.SearchStrategy[Setup] | None = None) -> PrefillCell:
    """One prompt of a setup in at most a few dozen chunks, with and without a cached prefix."""
    setup = draw(of if of is not None else setups())
    isl = draw(contexts(1 << 17))
    cached = draw(st.one_of(st.just(0), st.integers(0, isl - 1)))
    least = max(1, -(-(isl - cached) // 24))
    chunk = draw(st.one_of(st.integers(least, max(least, isl)), st.just(1 << 20)))
    return PrefillCell(setup, draw(batches(64)), isl, cached, chunk)
