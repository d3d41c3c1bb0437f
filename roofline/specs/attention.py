"""What mixes the tokens of a layer: attention over a cache, or a recurrence with a state. Parts of a model's sheet."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictBool, model_validator

from roofline.specs import quantity as q
from roofline.specs.records import Record

Width = Annotated[q.Count | None, Field(description="value width per head; default head_dim")]


class SparseSelection(Record):
    """Indexed sparse attention: an indexer scores all tokens, attention reads the best (DeepSeek-V3.2)."""

    top_k: Annotated[q.Count, Field(description="tokens a query attends to")]
    index_heads: Annotated[
        q.CountOrNone, Field(description="heads of this layer's indexer; 0 where it takes over an earlier selection")
    ] = 0
    index_dim: Annotated[q.CountOrNone, Field(description="width per head of the indexer; 0 with index_heads")] = 0

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.index_heads) != bool(self.index_dim):
            raise ValueError(
                f"index_heads = {self.index_heads} with index_dim = {self.index_dim}: give both or neither"
            )
        return self

    def projections(self, hidden: int, query: int) -> int:
        """Weights of the indexer: its queries from `query` columns, one key and a weight per head from `hidden`."""
        return query * self.index_heads * self.index_dim + hidden * (self.index_dim + self.index_heads)

    @property
    def other(self) -> int:
        """Norm of the index keys, with bias."""
        return 2 * self.index_dim


class GroupedQueryAttention(Record):
    """Grouped-query attention; multi-query with one KV head, multi-head with as many as query heads."""

    kind: Literal["gqa"]
    heads: Annotated[q.Count, Field(description="query heads")]
    kv_heads: Annotated[q.Count, Field(description="key and value heads")]
    head_dim: Annotated[q.Count, Field(description="query and key width per head")]
    v_head_dim: Width = None
    window: Annotated[q.Count | None, Field(description="tokens a query sees; left out where all")] = None
    chunk: Annotated[
        q.Count | None, Field(description="chunked-local: tokens see back to the start of their chunk of this length")
    ] = None
    sparse: Annotated[SparseSelection | None, Field(description="indexed sparse attention")] = None
    gate: Annotated[StrictBool, Field(description="an output gate of the width of the values")] = False
    shared_kv: Annotated[StrictBool, Field(description="values come from the key projection")] = False
    qk_norm: Annotated[
        StrictBool | Literal["whole"], Field(description="a norm of head_dim on Q and on K, or of all heads together")
    ] = False
    bias: Annotated[Literal["none", "qkv", "all"], Field(description="projections that have a bias")] = "none"
    sinks: Annotated[StrictBool, Field(description="a learned sink logit per query head")] = False

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads = {self.heads} do not divide by kv_heads = {self.kv_heads}")
        if (self.window is not None) + (self.chunk is not None) + (self.sparse is not None) > 1:
            raise ValueError("window, chunk and sparse exclude each other in one layer")
        return self

    @property
    def head_counts(self) -> tuple[int, int]:
        """(query heads, KV heads): what tensor parallelism divides."""
        return self.heads, self.kv_heads

    @property
    def v_width(self) -> int:
        """Value width per head."""
        return self.v_head_dim or self.head_dim

    @property
    def reach(self) -> int | None:
        """Most tokens the cache keeps of a sequence; None where it grows without end."""
        return self.window or self.chunk

    def projections(self, hidden: int) -> int:
        """Weights of the Q, K, V and output projections, output gate and indexer."""
        value = self.heads * self.v_width
        keys = self.kv_heads * (self.head_dim if self.shared_kv else self.head_dim + self.v_width)
        index = self.sparse.projections(hidden, hidden) if self.sparse and self.sparse.index_heads else 0
        return hidden * (self.heads * self.head_dim + keys + value * (1 + self.gate)) + index

    def other(self, hidden: int) -> int:
        """Biases, sinks and norms."""
        qkv = self.heads * self.head_dim + self.kv_heads * (self.head_dim + self.v_width)
        bias = {"none": 0, "qkv": qkv, "all": qkv + hidden}[self.bias]
        norms = {False: 0, True: 2, "whole": self.heads + self.kv_heads}[self.qk_norm] * self.head_dim
        return bias + self.heads * self.sinks + norms + (self.sparse.other if self.sparse else 0)

    @property
    def cache_elements(self) -> int:
        """Elements a token leaves in the KV cache of one such layer."""
        return self.kv_heads * (self.head_dim + self.v_width)


class LatentAttention(Record):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1)."""

    kind: Literal["mla"]
    heads: Annotated[q.Count, Field(description="query heads")]
    q_lora: Annotated[q.CountOrNone, Field(description="rank of the compressed query; 0 where it is not")] = 0
    kv_lora: Annotated[q.Count, Field(description="rank of the compressed KV")]
    qk_nope: Annotated[q.Count, Field(description="query and key width per head without rotary")]
    qk_rope: Annotated[q.Count, Field(description="query and key width per head with rotary")]
    v_head: Annotated[q.Count, Field(description="value width per head")]
    sparse: Annotated[SparseSelection | None, Field(description="indexed sparse attention")] = None

    reach: ClassVar[None] = None

    @property
    def head_counts(self) -> tuple[int, int]:
        """(query heads, 1): the latent cache is not divided."""
        return self.heads, 1

    def projections(self, hidden: int) -> int:
        """Weights of the query, KV and output projections and of the indexer."""
        head = self.qk_nope + self.qk_rope
        query = hidden * self.q_lora + self.q_lora * self.heads * head if self.q_lora else hidden * self.heads * head
        down = hidden * (self.kv_lora + self.qk_rope)
        up = self.kv_lora * self.heads * (self.qk_nope + self.v_head)
        index = 0
        if self.sparse and self.sparse.index_heads:
            index = self.sparse.projections(hidden, self.q_lora or hidden)
        return query + down + up + self.heads * self.v_head * hidden + index

    def other(self, hidden: int) -> int:
        """Norms of the compressed query and KV, and of the index keys."""
        return self.q_lora + self.kv_lora + (self.sparse.other if self.sparse else 0)

    @property
    def cache_elements(self) -> int:
        """Elements a token leaves in the KV cache of one such layer."""
        return self.kv_lora + self.qk_rope


class _Recurrent(Record):
    """Linear attention: a state of fixed size per sequence in place of a cache."""

    sparse: ClassVar[None] = None
    cache_elements: ClassVar[int] = 0
    gates: ClassVar[int]
    decays: ClassVar[int]
    state_flop: ClassVar[int]

    conv: Annotated[q.Count, Field(description="width of the short convolution over keys, values and queries")]
    conv_bias: StrictBool = False
    scan_chunk: Annotated[q.Count, Field(description="tokens that a prompt's scan takes at once")]

    @property
    def reach(self) -> int:
        """Tokens kept: none, the state stands for them."""
        return 0

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(value heads, key heads, key width, value width)."""

    @property
    def head_counts(self) -> tuple[int, int]:
        """(value heads, key heads): what tensor parallelism divides."""
        return self.shape[:2]

    @property
    @abstractmethod
    def norm_width(self) -> int:
        """Weights of the norm after the recurrence."""

    @property
    def channels(self) -> int:
        """Channels of the short convolution."""
        value_heads, key_heads, key, value = self.shape
        return value_heads * value + 2 * key_heads * key

    @property
    def state_elements(self) -> int:
        """Elements of the state of one sequence in one such layer."""
        value_heads, _, key, value = self.shape
        return value_heads * key * value

    @property
    def conv_elements(self) -> int:
        """Elements of the convolution's state of one sequence in one such layer."""
        return self.channels * (self.conv - 1)

    def projections(self, hidden: int) -> int:
        """Weights of the projections in and out."""
        value_heads, key_heads, key, value = self.shape
        columns = 2 * value_heads * value + 2 * key_heads * key + self.gates * value_heads
        return hidden * (columns + value_heads * value)

    def other(self, hidden: int) -> int:
        """Convolution, decay terms of each head, and norm."""
        return self.channels * (self.conv + self.conv_bias) + self.decays * self.shape[0] + self.norm_width


class Mamba2(_Recurrent):
    """Mamba-2, a state-space model with one decay per head (Dao & Gu, arXiv 2405.21060)."""

    gates: ClassVar[int] = 1  # dt
    decays: ClassVar[int] = 3  # A, D, bias of dt
    state_flop: ClassVar[int] = 4  # B x^T into the state, C times the state

    kind: Literal["mamba2"]
    heads: Annotated[q.Count, Field(description="heads of the state")]
    head_dim: Annotated[q.Count, Field(description="channels per head")]
    groups: Annotated[q.Count, Field(description="groups that share B and C")]
    state: Annotated[q.Count, Field(description="state size N")]

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.heads % self.groups:
            raise ValueError(f"heads = {self.heads} do not divide by groups = {self.groups}")
        return self

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(value heads, key heads, key width, value width)."""
        return self.heads, self.groups, self.state, self.head_dim

    @property
    def norm_width(self) -> int:
        """Weights of the gated norm over all channels."""
        return self.heads * self.head_dim

    @property
    def chunk_flop(self) -> int:
        """FLOP per head and token inside a chunk: C B^T of the group's share, then times x (section 6 there)."""
        return 2 * self.scan_chunk * (self.state * self.groups // self.heads + self.head_dim)


class GatedDeltaNet(_Recurrent):
    """Gated delta net: linear attention that overwrites what a key held (Yang et al., arXiv 2412.06464)."""

    gates: ClassVar[int] = 2  # beta and decay
    decays: ClassVar[int] = 2  # A, bias of the decay
    state_flop: ClassVar[int] = 6  # state times key, outer product into the state, state times query

    kind: Literal["gated_delta_net"]
    value_heads: q.Count
    key_heads: q.Count
    key_dim: Annotated[q.Count, Field(description="query and key width per head")]
    value_dim: Annotated[q.Count, Field(description="value width per head")]

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.value_heads % self.key_heads:
            raise ValueError(f"value_heads = {self.value_heads} do not divide by key_heads = {self.key_heads}")
        return self

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(value heads, key heads, key width, value width)."""
        return self.value_heads, self.key_heads, self.key_dim, self.value_dim

    @property
    def norm_width(self) -> int:
        """Weights of the gated norm, shared by the heads."""
        return self.value_dim

    @property
    def chunk_flop(self) -> int:
        """FLOP per value head and token inside a chunk c: three products c x key, two c x value, a triangular solve."""
        return 2 * self.scan_chunk * (3 * self.key_dim + 2 * self.value_dim) + 2 * self.scan_chunk**2 // 3


Mixer = GroupedQueryAttention | LatentAttention | Mamba2 | GatedDeltaNet
Attention = Annotated[Mixer, Field(discriminator="kind")]
