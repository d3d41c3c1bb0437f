"""Sheets of recipes: which part of a model is kept and computed in which format."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from roofline.specs.formats import FORMATS, Format, MathType, math_type, wider
from roofline.specs.records import Record, Sheet

PART_NAMES = ("attention", "dense_ffn", "experts", "shared_experts", "lm_head", "embedding", "router")
"""Parts with weights, in the order a token meets their kinds."""


class PartFormats(Record):
    """Formats of the two operands of one part."""

    weights: Format
    activations: Format

    @property
    def math(self) -> MathType:
        """Arithmetic of the part: that of the wider operand."""
        return math_type(self.weights, self.activations)


class Parts(Record):
    """Formats part by part.

    In a sheet a part is a bare format (its activations are then the wider of that and `activations`) or
    {weights, activations}. Once loaded it is always the latter.
    """

    attention: Annotated[PartFormats, Field(description="Q, K, V and output projections")]
    dense_ffn: PartFormats
    experts: Annotated[PartFormats, Field(description="routed experts")]
    shared_experts: PartFormats
    lm_head: PartFormats
    embedding: PartFormats
    router: PartFormats
    kv_cache: Format
    activations: Annotated[Format, Field(description="activations of parts given as a bare format")]
    collectives: Annotated[Format, Field(description="what all-reduce and all-gather send")]
    dispatch: Annotated[Format, Field(description="what is sent to experts on other accelerators")]
    attention_math: Annotated[Literal["bf16", "fp8"], Field(description="arithmetic of the attention core")]
    state: Annotated[Literal["fp32", "bf16"], Field(description="recurrent state of linear attention")] = "fp32"
    index_cache: Annotated[Format, Field(description="keys of the indexer of sparse attention")] = "fp8_block"
    index_math: Annotated[Literal["bf16", "fp8"], Field(description="arithmetic of that indexer")] = "fp8"

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        default = data.get("activations")
        expanded = dict(data)
        for part in PART_NAMES:
            given = data.get(part)
            if isinstance(given, str):
                known = given in FORMATS and default in FORMATS
                expanded[part] = {"weights": given, "activations": wider(given, default) if known else given}  # type: ignore[arg-type]
        return expanded


class Recipe(Sheet):
    """A precision recipe, as a checkpoint ships it or as a runtime is told to run."""

    kind_of_sheet: ClassVar[str] = "recipe"

    description: Annotated[str, Field(min_length=10, description="what is kept in which format, and who ships it so")]
    parts: Parts
