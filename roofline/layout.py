"""Structured dtypes: the contract between sheets (Python, validated) and kernels (compiled).

`specs/pack.py` writes these records and nothing else does; kernels read them and nothing else.
All numbers are base SI (s, B, FLOP, W) and per accelerator unless a name says otherwise. A precision,
an efficiency or a fidelity never reaches a kernel by name: it arrives here as bytes per element, FLOP/s,
shares of peak and fixed times, so that `ideal` and `kernel` run through the same code.
docs/equations.md uses these field names.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_f8, _i8 = np.float64, np.int64

PART = np.dtype(
    [
        ("w_weight", _f8),  # B per weight element, block scales included; KV cache element in a core
        ("w_act", _f8),  # B per input activation element; 0 where activations are not counted
        ("w_out", _f8),  # B per output element; 0 where activations are not counted
        ("flop_per_s", _f8),  # dense peak of the math type this part runs in
        ("eta_compute", _f8),  # achieved share of that peak, (0, 1]
        ("eta_memory", _f8),  # achieved share of memory bandwidth, (0, 1]
        ("fixed_s", _f8),  # t0 of equation (1)
    ]
)
"""One kind of operation of a model in one recipe on one accelerator."""

KIT = np.dtype(
    [
        ("attn", PART),  # attention projections
        ("ffn", PART),  # dense feed-forward
        ("expert", PART),  # routed experts; fixed_s is the whole block, gate to finalize
        ("shared", PART),  # shared experts
        ("router", PART),
        ("head", PART),  # lm_head
        ("decode_core", PART),  # attention over the cache, few query tokens; w_weight: KV element
        ("context_core", PART),  # attention of a prompt; w_weight: KV element
        ("index", PART),  # scoring of all tokens by the indexer of sparse attention; w_weight: index cache element
        ("scan", PART),  # recurrence of linear attention; w_weight: state element
        ("w_expand", _f8),  # B per element of K and V expanded from a latent cache
        ("w_embed", _f8),  # B per element of the embedding table
        ("w_hidden", _f8),  # B per element of the residual stream; 0 in `ideal`
        ("w_logit", _f8),  # B per logit held in memory; 0 in `ideal`
        ("w_gather_logit", _f8),  # B per logit sent in the vocabulary gather
        ("w_reduce", _f8),  # B per element of tp all-reduce / all-gather and pp hand-over
        ("w_dispatch", _f8),  # B per element sent to experts
        ("w_combine", _f8),  # B per element returned by experts
        ("elementwise_eta_memory", _f8),
        ("elementwise_fixed_s", _f8),  # per element-wise kernel
        ("permute_eta_memory", _f8),
        ("w_permute", _f8),  # 1 where token permutation is counted, 0 in `ideal`
        ("w_conv", _f8),  # B per element of the state of a short convolution
        ("w_score", _f8),  # B per index score kept for the selection; 0 in `ideal`
        ("top_k_eta_memory", _f8),  # selection of the tokens that sparse attention reads
        ("top_k_fixed_s", _f8),
        ("chunk_work", _f8),  # 1 where the work inside the chunks of a scan is counted, 0 in `ideal`
        ("expert_skew", _f8),  # >= 1: load of the fullest expert rank over its expectation
        ("expert_tile", _f8),  # rows of a tile of the experts' kernels, what is computed of them; 1 where not counted
        ("fullest_rank", _i8),  # 1: ranks wait for the fullest; 0: mean load
        ("bound", _i8),  # 1: `ideal`, a layer takes max(compute, memory, link); 0: operations in series
    ]
)
"""Precision x efficiency x fidelity of one recipe on one accelerator."""

LAYER = np.dtype(
    [
        ("count", _i8),  # layers of this kind in the model
        ("attention", _i8),  # Attention
        ("heads", _i8),  # query heads; LINEAR: value heads
        ("kv_heads", _i8),  # LINEAR: key heads (groups of B and C in Mamba-2)
        ("head_dim", _i8),  # query and key width; LINEAR: key width (state size N in Mamba-2)
        ("window", _i8),  # visible tokens; NO_WINDOW where all are
        ("chunked", _i8),  # 1: `window` is a chunk, tokens see back to the start of theirs (chunked-local)
        ("gated", _i8),  # 1: GQA with an output gate of the width of the values
        ("selected", _i8),  # tokens that sparse attention reads of those visible; 0: all
        ("index_heads", _i8),  # of the layer's own indexer; 0 where it has none
        ("index_dim", _i8),
        ("q_lora", _i8),  # MLA: 0 where queries are not compressed
        ("kv_lora", _i8),
        ("qk_nope", _i8),
        ("qk_rope", _i8),
        ("v_head", _i8),  # value width per head, of GQA and LINEAR too
        ("gates", _i8),  # LINEAR: gate columns per value head (1 Mamba-2: dt; 2 gated delta net: beta and decay)
        ("conv", _i8),  # LINEAR: width of the short convolution
        ("state_flop", _i8),  # LINEAR: FLOP per state element and token (4 Mamba-2, 6 delta rule)
        ("chunk_flop", _i8),  # LINEAR: FLOP per value head and token inside the chunks of a prompt's scan
        ("norms", _i8),  # norm kernels a layer runs
        ("ffn_matrices", _i8),  # 3 gated, 2 ungated
        ("ffn_inner", _i8),  # dense feed-forward width; 0 where the layer has none
        ("experts", _i8),  # 0 where the layer has none
        ("top_k", _i8),
        ("expert_inner", _i8),
        ("expert_hidden", _i8),  # width experts work in; less than hidden where latent, with projections in and out
        ("shared_inner", _i8),  # summed width of shared experts, 0 where none
        ("other_params", _i8),  # norm weights, biases, sinks: replicated, in bf16
    ]
)
"""One kind of layer: an attention and a feed-forward. A model is a run of rows."""

MODEL = np.dtype(
    [
        ("first_layer", _i8),  # rows [first_layer, last_layer) of the LAYER array
        ("last_layer", _i8),
        ("layers", _i8),  # sum of counts
        ("hidden", _i8),
        ("vocab", _i8),
        ("tied", _i8),  # 1: lm_head is the embedding
        ("route_groups", _i8),  # nodes a token may reach under group-limited routing; 0: no limit
        ("max_context", _i8),
        ("first_draft", _i8),  # rows [first_draft, last_draft) of the LAYER array: one multi-token-prediction module
        ("last_draft", _i8),  # equal to first_draft where the model has none
        ("draft_modules", _i8),
    ]
)

MACHINE = np.dtype(
    [
        ("bytes_per_s", _f8),  # memory bandwidth of one accelerator
        ("memory_bytes", _f8),
        ("memory_fraction", _f8),  # share of it a serving process may use
        ("reserve_bytes", _f8),  # taken by the runtime out of that share
        ("accelerators", _i8),  # in one system (box or rack)
        ("max_accelerators", _i8),  # a replica may span this many (several systems over scale-out)
        ("domain", _i8),  # accelerators that share one scale-up network
        ("mesh", _i8),  # Topology
        ("axis_x", _i8),  # extents of a torus domain, largest first, product = domain; 1 where there is no such axis
        ("axis_y", _i8),
        ("axis_z", _i8),
        ("up_bytes_per_s", _f8),  # scale-up, one direction per accelerator
        ("up_hop_s", _f8),
        ("out_bytes_per_s", _f8),  # scale-out, one direction per accelerator; 0: none
        ("out_hop_s", _f8),
        ("in_switch", _i8),  # 1: switches reduce
        ("one_shot_s", _f8),  # fixed time of a one-shot all-reduce
        ("two_shot_s", _f8),  # fixed time of a two-shot or in-switch all-reduce
        ("gather_s", _f8),  # fixed time of all-gather and reduce-scatter
        ("exchange_s", _f8),  # fixed time of one expert all-to-all
        ("p2p_s", _f8),
        ("out_s", _f8),  # fixed time added where a collective crosses scale-out
        ("eta_reduce", _f8),
        ("eta_gather", _f8),
        ("eta_exchange", _f8),
        ("eta_p2p", _f8),
        ("eta_out", _f8),
        ("tdp_w", _f8),  # NaN where undisclosed: then power and energy are NaN
        ("idle_w", _f8),
        ("power_a", _f8),  # coefficient of sqrt(u_f) in equation (16)
        ("power_b", _f8),  # coefficient of u_m
    ]
)
"""One accelerator in its system, with the collective library's constants for one fidelity."""

PSU_POINTS = 8
"""Most points of an efficiency curve of power supplies."""
POWER = np.dtype(
    [
        ("accelerators", _i8),  # in one system
        ("idle_w", _f8),
        ("host_w", _f8),
        ("psu_rated_w", _f8),
        ("psu_points", _i8),  # of the curve below
        ("psu_load", _f8, (PSU_POINTS,)),
        ("psu_efficiency", _f8, (PSU_POINTS,)),
        ("pue", _f8),  # what the building adds in proportion, as a factor; 1 at the rack
        ("fixed_w", _f8),  # what it takes for each system whatever that draws; 0 at the rack
        ("most_w", _f8),  # a system may draw at its inlet; inf where its accelerators cannot reach it
        ("boundary", _i8),  # 0: accelerators alone; 1: with all around them
        ("reserved", _i8),  # 1: what is set aside instead of the draw, busy or idle
        ("reserved_part_w", _f8),  # of each accelerator in a replica
        ("reserved_system_w", _f8),  # of each system
    ]
)
"""What a system draws around its accelerators at one boundary, on one basis (section 11)."""

DEPLOYMENT = np.dtype([("tp", _i8), ("pp", _i8), ("dp", _i8), ("ep", _i8), ("moe_tp", _i8)])

CONFIG = np.dtype(
    [
        ("model", _i8),  # row of the MODEL array
        ("machine", _i8),  # row of the MACHINE array
        ("kit", _i8),  # row of the KIT array; -1: the recipe cannot run there
        ("deployment", _i8),  # row of the DEPLOYMENT array
    ]
)

NO_WINDOW = 1 << 40


class Attention(IntEnum):
    """Kinds of attention a LAYER can have."""

    NONE = 0
    GQA = 1
    MLA = 2
    LINEAR = 3


class Topology(IntEnum):
    """How the accelerators of one scale-up domain are wired."""

    SWITCHED = 0
    FULL_MESH = 1
    TORUS = 2


class Limit(IntEnum):
    """Why a cell has no value. 0 where it has one."""

    NONE = 0
    MEMORY = 1
    HEADS = 2
    KV_HEADS = 3
    EXPERTS = 4
    EXPERT_GROUP = 5
    LAYERS = 6
    ACCELERATORS = 7
    MATH_TYPE = 8
    CONTEXT = 9
    DRAFT = 10
    POWER = 11  # of a choice by energy; a cell by itself has its time
    LINK = 12  # of pools apart
    RACK = 13  # of a system that may not draw what its accelerators could


LIMIT_MEANINGS: dict[Limit, str] = {
    Limit.NONE: "runs",
    Limit.MEMORY: "weights, KV cache and activations do not fit in memory",
    Limit.HEADS: "query heads do not divide by tp",
    Limit.KV_HEADS: "neither KV heads nor tp divides the other",
    Limit.EXPERTS: "experts do not divide by ep, or ep > 1 without experts",
    Limit.EXPERT_GROUP: "ep * moe_tp differs from tp * dp",
    Limit.LAYERS: "more pipeline stages than layers",
    Limit.ACCELERATORS: "the replica needs more accelerators than the system can join",
    Limit.MATH_TYPE: "the accelerator has no math type for the recipe",
    Limit.CONTEXT: "context beyond what the model was trained for",
    Limit.DRAFT: "the model has no multi-token-prediction layers to draft with",
    Limit.POWER: "the power of the part or of its system is undisclosed, so nothing can be chosen by energy",
    Limit.LINK: "no network between pools that keeps up with the KV cache of their prompts",
    Limit.RACK: "one replica at work takes its system above what that may draw (power.max_w)",
}


class Bound(IntEnum):
    """What takes the largest share of a step."""

    NONE = 0
    COMPUTE = 1
    MEMORY = 2
    NETWORK = 3
    LATENCY = 4


class Operation(IntEnum):
    """The operations of a pass, about in the order a token meets them."""

    EMBEDDING = 0
    PROJECT_IN = 1
    PROJECT_QUERY = 2
    ABSORB_QUERY = 3
    EXPAND_CACHE = 4
    CORE = 5
    ABSORB_VALUE = 6
    PROJECT_OUT = 7
    REDUCE_ATTENTION = 8
    FFN_UP = 9
    FFN_DOWN = 10
    REDUCE_FFN = 11
    ROUTER = 12
    SHARED_UP = 13
    SHARED_DOWN = 14
    DISPATCH = 15
    EXPERTS = 16
    PERMUTE = 17
    COMBINE = 18
    REDUCE_EXPERTS = 19
    ELEMENTWISE = 20
    LM_HEAD = 21
    GATHER_LOGITS = 22
    HAND_OVER = 23
    INDEX_QUERY = 24
    INDEX_KEY = 25
    INDEX = 26
    TOP_K = 27
    SCAN = 28
    LATENT_DOWN = 29
    LATENT_UP = 30
    JOIN_DRAFT = 31


class Component(IntEnum):
    """Where the time of a pass goes."""

    ATTENTION_PROJECTION = 0
    ATTENTION_CORE = 1
    FFN = 2
    EXPERTS = 3
    ELEMENTWISE = 4
    COLLECTIVES = 5
    HEAD = 6
    PIPELINE = 7


OPERATION_COMPONENT: dict[Operation, Component] = {
    Operation.EMBEDDING: Component.HEAD,
    Operation.PROJECT_IN: Component.ATTENTION_PROJECTION,
    Operation.PROJECT_QUERY: Component.ATTENTION_PROJECTION,
    Operation.ABSORB_QUERY: Component.ATTENTION_CORE,
    Operation.EXPAND_CACHE: Component.ATTENTION_CORE,
    Operation.CORE: Component.ATTENTION_CORE,
    Operation.ABSORB_VALUE: Component.ATTENTION_CORE,
    Operation.PROJECT_OUT: Component.ATTENTION_PROJECTION,
    Operation.REDUCE_ATTENTION: Component.COLLECTIVES,
    Operation.FFN_UP: Component.FFN,
    Operation.FFN_DOWN: Component.FFN,
    Operation.REDUCE_FFN: Component.COLLECTIVES,
    Operation.ROUTER: Component.EXPERTS,
    Operation.SHARED_UP: Component.FFN,
    Operation.SHARED_DOWN: Component.FFN,
    Operation.DISPATCH: Component.COLLECTIVES,
    Operation.EXPERTS: Component.EXPERTS,
    Operation.PERMUTE: Component.EXPERTS,
    Operation.COMBINE: Component.COLLECTIVES,
    Operation.REDUCE_EXPERTS: Component.COLLECTIVES,
    Operation.ELEMENTWISE: Component.ELEMENTWISE,
    Operation.LM_HEAD: Component.HEAD,
    Operation.GATHER_LOGITS: Component.COLLECTIVES,
    Operation.HAND_OVER: Component.PIPELINE,
    Operation.INDEX_QUERY: Component.ATTENTION_PROJECTION,
    Operation.INDEX_KEY: Component.ATTENTION_PROJECTION,
    Operation.INDEX: Component.ATTENTION_CORE,
    Operation.TOP_K: Component.ATTENTION_CORE,
    Operation.SCAN: Component.ATTENTION_CORE,
    Operation.LATENT_DOWN: Component.EXPERTS,
    Operation.LATENT_UP: Component.EXPERTS,
    Operation.JOIN_DRAFT: Component.HEAD,
}
"""Which component the time of an operation counts to."""
