"""What family readers build: a shape as one mapping per layer, in the words of a model sheet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from roofline.specs.hf.config import Config

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Modules:
    """Where a family keeps its parts inside a layer, as checkpoints name them; empty where it has no such part."""

    attention: str = "self_attn"
    linear: str = "linear_attn"
    dense_ffn: str = "mlp"
    experts: str = "mlp.experts"
    shared_experts: str = "mlp.shared_experts"


@dataclass(slots=True)
class Shape:
    """A model as its config.json tells it. `layers` has one row for each layer, in order."""

    hidden: int
    vocab: int
    tied: bool
    max_context: int
    layers: list[Row] = field(default_factory=list)
    mtp: tuple[int, list[Row]] | None = None  # modules, layers of one
    route_groups: int | None = None
    position_rows: int = 0
    modules: Modules = field(default_factory=Modules)
    notes: list[str] = field(default_factory=list)

    def fields(self) -> dict[str, Any]:
        """The fields of a sheet."""
        data: dict[str, Any] = {
            "hidden": self.hidden,
            "vocab": self.vocab,
            "tied_embeddings": self.tied,
            "max_context": self.max_context,
            "layers": merged(self.layers),
        }
        if self.route_groups:
            data["route_groups"] = self.route_groups
        if self.position_rows:
            data["position_rows"] = self.position_rows
        if self.mtp:
            data["mtp"] = {"modules": self.mtp[0], "layers": merged(self.mtp[1])}
        return data


def start(config: Config, *, tied: bool | None = False, context: int | None = None) -> Shape:
    """The ends of a model in the usual words. `tied` and `context`: what a missing field means; None: it may not be."""
    if tied is None and config.data.get("tie_word_embeddings") is None:
        raise config.error("tie_word_embeddings", "missing; this family does not say what that means", value="")
    length = config.count("max_position_embeddings", **({} if context is None else {"default": context}))
    return Shape(
        hidden=config.count("hidden_size"),
        vocab=config.count("vocab_size"),
        tied=config.flag("tie_word_embeddings", bool(tied)),
        max_context=length,
    )


def gqa(heads: int, kv_heads: int, head_dim: int, **more: Any) -> Row:
    """Grouped-query attention; options that are off are left out."""
    row = {"kind": "gqa", "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    return row | {name: value for name, value in more.items() if value not in (None, False, 0, "none")}


def heads_of(config: Config, hidden: int, *, head_dim: int | None = None) -> tuple[int, int, int]:
    """(query heads, KV heads, width per head) in the usual words: as many KV heads, and hidden/heads, by default."""
    heads = config.count("num_attention_heads")
    kv_heads = config.count("num_key_value_heads", default=heads)
    if head_dim is None and config.data.get("head_dim") is None:
        if hidden % heads:
            raise config.error("num_attention_heads", f"do not divide hidden_size = {hidden}", "is head_dim missing?")
        head_dim = hidden // heads
    return heads, kv_heads, config.count("head_dim", default=head_dim)


def layer(attention: Row | None = None, *, norms: int = 2, norm_bias: bool = False, **parts: Row | None) -> Row:
    """One layer; `parts` are ffn or experts."""
    row: Row = {"count": 1}
    if attention:
        row["attention"] = attention
    if norms != 2:
        row["norms"] = norms
    if norm_bias:
        row["norm_bias"] = True
    return row | {name: part for name, part in parts.items() if part}


def ffn(matrices: int, inner: int, *, bias: bool = False) -> Row:
    """A dense feed-forward."""
    return {"matrices": matrices, "inner": inner} | ({"bias": True} if bias else {})


def experts(count: int, top_k: int, inner: int, **more: Any) -> Row:
    """A mixture of experts; options that are off are left out."""
    row = {"count": count, "top_k": top_k, "inner": inner}
    return row | {name: value for name, value in more.items() if value not in (None, False, 0)}


def deepseek_experts(config: Config, balanced: bool) -> Row:
    """A mixture of experts by DeepSeek's names for it, shared experts as wide as a routed one each.

    balanced : a balancing term per expert in the router.
    """
    inner = config.count("moe_intermediate_size")
    shared = config.count("n_shared_experts", default=0, least=0)
    return experts(
        config.count("n_routed_experts"),
        config.count("num_experts_per_tok"),
        inner,
        router_bias=balanced,
        shared_inner=shared * inner,
    )


def merged(layers: Iterable[Row]) -> list[Row]:
    """Equal layers counted together, in the order in which each kind first appears."""
    rows: list[Row] = []
    for one in layers:
        for row in rows:
            if all(row.get(name) == one.get(name) for name in row.keys() | one.keys() if name != "count"):
                row["count"] += one["count"]
                break
        else:
            rows.append(dict(one))
    return rows


def kinds(config: Config, layers: int, allowed: Iterable[str]) -> list[str] | None:
    """`layer_types`, checked; None where there are none."""
    given = config.items("layer_types", layers)
    known = list(allowed)
    for kind in given or []:
        if kind not in known:
            raise config.error(
                "layer_types", f"{kind!r} is not understood here", f"known: {', '.join(known)}", value=""
            )
    return given


def seen(shape: Shape, window: int | None) -> int | None:
    """A window, or None where it is as long as the context and so never closes."""
    return window if window and window < shape.max_context else None
