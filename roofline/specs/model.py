"""Sheets of models: the shape of a transformer, from which every weight and every cached byte is counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictBool, model_validator

from roofline.specs import quantity as q
from roofline.specs.formats import weight_bytes
from roofline.specs.records import Record, Sheet

if TYPE_CHECKING:
    from roofline.specs.recipe import Recipe

MatrixCount = Annotated[Literal[2, 3], Field(description="3 gated (gate, up, down), 2 not (up, down)")]


class GroupedQueryAttention(Record):
    """Grouped-query attention; multi-query with one KV head, multi-head with as many as query heads."""

    kind: Literal["gqa"]
    heads: Annotated[q.Count, Field(description="query heads")]
    kv_heads: Annotated[q.Count, Field(description="key and value heads")]
    head_dim: q.Count
    window: Annotated[q.Count | None, Field(description="tokens a query sees; left out where all")] = None
    qk_norm: Annotated[StrictBool, Field(description="a norm of head_dim on Q and on K")] = False
    bias: Annotated[Literal["none", "qkv", "all"], Field(description="projections that have a bias")] = "none"
    sinks: Annotated[StrictBool, Field(description="a learned sink logit per query head")] = False

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads = {self.heads} do not divide by kv_heads = {self.kv_heads}")
        return self

    def projections(self, hidden: int) -> int:
        """Weights of the Q, K, V and output projections."""
        return 2 * hidden * self.head_dim * (self.heads + self.kv_heads)

    def other(self, hidden: int) -> int:
        """Biases, sinks and Q/K norms."""
        qkv = (self.heads + 2 * self.kv_heads) * self.head_dim
        bias = {"none": 0, "qkv": qkv, "all": qkv + hidden}[self.bias]
        return bias + self.heads * self.sinks + 2 * self.head_dim * self.qk_norm

    @property
    def cache_elements(self) -> int:
        """Elements a token leaves in the KV cache of one such layer."""
        return 2 * self.kv_heads * self.head_dim


class LatentAttention(Record):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1)."""

    kind: Literal["mla"]
    heads: Annotated[q.Count, Field(description="query heads")]
    q_lora: Annotated[q.CountOrNone, Field(description="rank of the compressed query; 0 where it is not")] = 0
    kv_lora: Annotated[q.Count, Field(description="rank of the compressed KV")]
    qk_nope: Annotated[q.Count, Field(description="query and key width per head without rotary")]
    qk_rope: Annotated[q.Count, Field(description="query and key width per head with rotary")]
    v_head: Annotated[q.Count, Field(description="value width per head")]

    window: ClassVar[None] = None

    def projections(self, hidden: int) -> int:
        """Weights of the query, KV and output projections."""
        head = self.qk_nope + self.qk_rope
        query = hidden * self.q_lora + self.q_lora * self.heads * head if self.q_lora else hidden * self.heads * head
        down = hidden * (self.kv_lora + self.qk_rope)
        up = self.kv_lora * self.heads * (self.qk_nope + self.v_head)
        return query + down + up + self.heads * self.v_head * hidden

    def other(self, hidden: int) -> int:
        """Norms of the compressed query and KV."""
        return self.q_lora + self.kv_lora

    @property
    def cache_elements(self) -> int:
        """Elements a token leaves in the KV cache of one such layer."""
        return self.kv_lora + self.qk_rope


class FeedForward(Record):
    """A dense feed-forward."""

    matrices: MatrixCount
    inner: Annotated[q.Count, Field(description="inner width")]
    bias: StrictBool = False

    def weights(self, hidden: int) -> int:
        """Weights of its matrices."""
        return self.matrices * hidden * self.inner

    def other(self, hidden: int) -> int:
        """Biases."""
        return ((self.matrices - 1) * self.inner + hidden) * self.bias


class Experts(Record):
    """A mixture of experts: router, routed experts, shared experts."""

    count: q.Count
    top_k: Annotated[q.Count, Field(description="experts a token meets")]
    inner: Annotated[q.Count, Field(description="inner width of one expert")]
    hidden: Annotated[q.Count | None, Field(description="width experts work in; default the model's")] = None
    matrices: MatrixCount = 3
    bias: StrictBool = False
    router_bias: Annotated[StrictBool, Field(description="a bias or a balancing term per expert")] = False
    shared_inner: Annotated[q.CountOrNone, Field(description="summed inner width of the shared experts")] = 0

    @model_validator(mode="after")
    def _choice(self) -> Self:
        if self.top_k > self.count:
            raise ValueError(f"top_k = {self.top_k} of count = {self.count} experts")
        return self

    def width(self, hidden: int) -> int:
        """Width experts work in."""
        return self.hidden or hidden

    def one(self, hidden: int) -> int:
        """Weights and biases of one routed expert."""
        width = self.width(hidden)
        return self.matrices * width * self.inner + ((self.matrices - 1) * self.inner + width) * self.bias

    def weights(self, hidden: int) -> int:
        """Weights of all routed experts."""
        return self.count * self.matrices * self.width(hidden) * self.inner

    def router(self, hidden: int) -> int:
        """Weights of the router."""
        return hidden * self.count

    def shared(self, hidden: int) -> int:
        """Weights of the shared experts."""
        return self.matrices * hidden * self.shared_inner

    def other(self, hidden: int) -> int:
        """Biases of the experts and of the router."""
        return self.count * (self.one(hidden) - self.matrices * self.width(hidden) * self.inner + self.router_bias)


Attention = Annotated[GroupedQueryAttention | LatentAttention, Field(discriminator="kind")]


class Layers(Record):
    """A number of equal layers: an attention and a feed-forward or experts."""

    count: Annotated[q.Count, Field(description="layers of this kind")]
    attention: Attention | None = None
    norms: Annotated[q.CountOrNone, Field(description="norms of hidden width a layer runs")] = 2
    ffn: FeedForward | None = None
    experts: Experts | None = None

    @model_validator(mode="after")
    def _one_feed_forward(self) -> Self:
        if self.ffn and self.experts:
            raise ValueError("ffn and experts in one row; shared experts are experts.shared_inner")
        return self

    def other_params(self, hidden: int) -> int:
        """Norm weights, biases and sinks of one layer: small, replicated, in bf16."""
        parts = (self.attention, self.ffn, self.experts)
        return self.norms * hidden + sum(part.other(hidden) for part in parts if part)

    def params(self, hidden: int) -> int:
        """All parameters of one layer."""
        weights = self.attention.projections(hidden) if self.attention else 0
        weights += self.ffn.weights(hidden) if self.ffn else 0
        if self.experts:
            weights += self.experts.weights(hidden) + self.experts.router(hidden) + self.experts.shared(hidden)
        return weights + self.other_params(hidden)

    def idle_params(self, hidden: int) -> int:
        """Parameters of one layer that a token does not meet: those of the experts it is not routed to."""
        return (self.experts.count - self.experts.top_k) * self.experts.one(hidden) if self.experts else 0


class PublishedParameters(Record):
    """Parameter counts as the model's authors publish them; used only to check the derived ones."""

    total: q.Parameters
    active: q.Parameters | None = None


class Model(Sheet):
    """A decoder-only transformer as runs of equal layers."""

    kind_of_sheet: ClassVar[str] = "model"

    family: str = ""
    hidden: Annotated[q.Count, Field(description="width of the residual stream")]
    vocab: Annotated[q.Count, Field(description="rows of the embedding table, padding included")]
    tied_embeddings: Annotated[StrictBool, Field(description="the lm_head is the embedding table")]
    max_context: Annotated[q.Count, Field(description="tokens of context the model was made for")]
    route_groups: Annotated[
        q.Count | None, Field(description="group-limited routing: nodes a token may reach; left out where no limit")
    ] = None
    recipes: Annotated[tuple[str, ...], Field(min_length=1, description="ids of the recipes it ships in")]
    layers: Annotated[tuple[Layers, ...], Field(min_length=1)]
    parameters: PublishedParameters | None = None

    @cached_property
    def layer_count(self) -> int:
        """All layers."""
        return sum(row.count for row in self.layers)

    @cached_property
    def is_moe(self) -> bool:
        """Whether any layer has experts."""
        return any(row.experts for row in self.layers)

    @cached_property
    def embedding_params(self) -> int:
        """Weights of the embedding table."""
        return self.vocab * self.hidden

    @cached_property
    def total_params(self) -> int:
        """All parameters of the text model, without multi-token-prediction layers or other towers."""
        ends = self.embedding_params * (1 if self.tied_embeddings else 2) + self.hidden
        return ends + sum(row.count * row.params(self.hidden) for row in self.layers)

    @cached_property
    def active_params(self) -> int:
        """Parameters a token meets, embedding table included."""
        return self.total_params - sum(row.count * row.idle_params(self.hidden) for row in self.layers)

    @cached_property
    def matmul_active_params(self) -> int:
        """Parameters a token meets, without an embedding table that is only looked up."""
        return self.active_params - (0 if self.tied_embeddings else self.embedding_params)

    @cached_property
    def other_params(self) -> tuple[int, ...]:
        """Norm weights, biases and sinks of one layer, for each row of `layers`."""
        return tuple(row.other_params(self.hidden) for row in self.layers)

    def kv_bytes_per_token(self, recipe: Recipe) -> float:
        """Bytes the KV cache of a sequence grows by per token once every sliding window is full [B]."""
        return self._cache_bytes(recipe, lambda window: 0 if window else 1)

    def kv_bytes(self, context: int, recipe: Recipe) -> float:
        """KV cache of one sequence of `context` tokens [B], unsharded; docs/equations.md section 9."""
        return self._cache_bytes(recipe, lambda window: min(context, window) if window else context)

    def _cache_bytes(self, recipe: Recipe, tokens: Callable[[int | None], int]) -> float:
        elements = sum(
            row.count * tokens(row.attention.window) * row.attention.cache_elements
            for row in self.layers
            if row.attention
        )
        return elements * weight_bytes(recipe.parts.kv_cache)
