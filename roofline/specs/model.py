"""Sheets of models: the shape of a transformer, from which every weight and every cached byte is counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictBool, model_validator

from roofline.specs import quantity as q
from roofline.specs.attention import Attention, GatedDeltaNet, Mamba2
from roofline.specs.formats import activation_bytes, weight_bytes
from roofline.specs.records import Record, Sheet

if TYPE_CHECKING:
    from roofline.specs.recipe import Recipe

MatrixCount = Annotated[Literal[2, 3], Field(description="3 gated (gate, up, down), 2 not (up, down)")]


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
    shared_gate: Annotated[StrictBool, Field(description="a gate, hidden -> 1, on the shared experts")] = False

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

    def latent(self, hidden: int) -> int:
        """Weights of the projections into and out of the width that latent experts work in; 0 where they are not."""
        return 2 * hidden * self.width(hidden) if self.width(hidden) != hidden else 0

    def other(self, hidden: int) -> int:
        """Biases of the experts and of the router, and the gate of the shared ones."""
        biases = self.one(hidden) - self.matrices * self.width(hidden) * self.inner + self.router_bias
        return self.count * biases + hidden * self.shared_gate


class Layers(Record):
    """A number of equal layers: an attention and a feed-forward or experts."""

    count: Annotated[q.Count, Field(description="layers of this kind")]
    attention: Attention | None = None
    norms: Annotated[q.CountOrNone, Field(description="norms of hidden width a layer runs")] = 2
    norm_bias: Annotated[StrictBool, Field(description="those norms have biases")] = False
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
        return self.norms * hidden * (1 + self.norm_bias) + sum(part.other(hidden) for part in parts if part)

    def params(self, hidden: int) -> int:
        """All parameters of one layer."""
        weights = self.attention.projections(hidden) if self.attention else 0
        weights += self.ffn.weights(hidden) if self.ffn else 0
        if self.experts:
            weights += self.experts.weights(hidden) + self.experts.router(hidden)
            weights += self.experts.shared(hidden) + self.experts.latent(hidden)
        return weights + self.other_params(hidden)

    def idle_params(self, hidden: int) -> int:
        """Parameters of one layer that a token does not meet: those of the experts it is not routed to."""
        return (self.experts.count - self.experts.top_k) * self.experts.one(hidden) if self.experts else 0


class MultiTokenPrediction(Record):
    """Layers that draft further tokens from the last hidden state and the last token (DeepSeek-V3, arXiv 2412.19437).

    A module joins the two by a projection 2 * hidden -> hidden, runs its layers, and shares embedding and lm_head.
    """

    modules: Annotated[q.Count, Field(description="modules, each for one draft position; drafts beyond reuse the last")]
    layers: Annotated[tuple[Layers, ...], Field(min_length=1, description="layers of one module")]

    def params(self, hidden: int) -> int:
        """Parameters of all modules, without what they share with the model."""
        return self.modules * (2 * hidden * hidden + sum(row.count * row.params(hidden) for row in self.layers))


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
    position_rows: Annotated[q.CountOrNone, Field(description="rows of a learned table of positions")] = 0
    route_groups: Annotated[
        q.Count | None, Field(description="group-limited routing: nodes a token may reach; left out where no limit")
    ] = None
    recipes: Annotated[tuple[str, ...], Field(min_length=1, description="ids of the recipes it ships in")]
    layers: Annotated[tuple[Layers, ...], Field(min_length=1)]
    mtp: Annotated[MultiTokenPrediction | None, Field(description="multi-token prediction, for drafts")] = None
    parameters: PublishedParameters | None = None

    @classmethod
    def from_hf(cls, source: str | PathLike[str], *, id: str = "", ref: str = "") -> Model:
        """The model of a config.json, of a folder that has one, or of a repository `org/name` on the Hugging Face Hub.

        id : its id; default from the name of the repository, folder or file.
        ref : what its numbers name as their source; default the file.
        Raises `roofline.errors.InputError` for an architecture, a shape or a quantisation that is not understood, with
        file, line and field: docs/adding-models.md has the rule.
        """
        from roofline.specs import hf  # its readers need this class first

        return hf.from_hf(source, id=id, ref=ref)

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
        ends = self.embedding_params * (1 if self.tied_embeddings else 2) + self.hidden * (1 + self.position_rows)
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

    @cached_property
    def mtp_params(self) -> int:
        """Parameters of the multi-token-prediction modules; not in `total_params`."""
        return self.mtp.params(self.hidden) if self.mtp else 0

    def kv_bytes_per_token(self, recipe: Recipe) -> float:
        """Bytes the cache of a sequence grows by per token once every window is full [B], index keys included."""
        return self._cache_bytes(recipe, lambda reach: 1 if reach is None else 0)

    def kv_bytes(self, context: int, recipe: Recipe) -> float:
        """KV cache and index keys of one sequence of `context` tokens [B], unsharded; docs/equations.md section 9."""
        return self._cache_bytes(recipe, lambda reach: context if reach is None else min(context, reach))

    def state_bytes(self, recipe: Recipe) -> float:
        """Recurrent state of one sequence, whatever its length [B], unsharded, without that of the convolutions."""
        return weight_bytes(recipe.parts.state) * sum(
            row.count * row.attention.state_elements
            for row in self.layers
            if isinstance(row.attention, Mamba2 | GatedDeltaNet)
        )

    def _cache_bytes(self, recipe: Recipe, tokens: Callable[[int | None], int]) -> float:
        size, element = 0.0, weight_bytes(recipe.parts.kv_cache)
        for row in self.layers:
            if row.attention is None:
                continue
            size += row.count * tokens(row.attention.reach) * row.attention.cache_elements * element
            if row.attention.sparse is not None:
                index = row.attention.sparse.index_dim * activation_bytes(recipe.parts.index_cache)
                size += row.count * tokens(None) * index
        return size
