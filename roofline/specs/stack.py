"""Sheets of serving stacks: what a server costs beside the kernels it runs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from roofline.errors import InputError
from roofline.specs import quantity as q
from roofline.specs.records import Sheet, Source


class Stack(Sheet):
    """A serving stack: scheduler, sampling, batching, and how prompts share time with decoding."""

    kind_of_sheet: ClassVar[str] = "stack"
    default_sources: ClassVar[Mapping[str, Source]] = {
        "wait_steps": Source(
            ref="rule where a sheet gives none: a request is looked at within a step", grade="estimated"
        ),
        "prompt_tokens": Source(ref="rule where a sheet gives none: the default chunk of servers", grade="estimated"),
    }

    framework: Annotated[str, Field(min_length=1, description="the server and its version, or a family of them")]
    step_s: Annotated[q.HostSeconds, Field(description="host time a step takes beside its kernels [s]")]
    sequence_s: Annotated[q.HostSeconds, Field(description="more of it for each sequence in flight [s]")]
    ttft_s: Annotated[q.HostSeconds, Field(description="from arrival to the scheduler and back, without queueing [s]")]
    wait_steps: Annotated[
        float,
        q.Quantity("steps", 0.0, 1e3),
        Field(description="steps that a request waits before it is looked at, beside ttft_s"),
    ] = 0.0
    prompts: Annotated[
        Literal["mixed", "first"],
        Field(description="chunks of prompts are mixed into decode steps, or run before sequences decode on"),
    ] = "mixed"
    prompt_tokens: Annotated[q.Count, Field(description="tokens of prompts that run together, at most")] = 8192
    captured_batches: Annotated[
        tuple[q.Count, ...],
        Field(description="batch sizes a stack captures in graphs: a step is padded to the next; none: to no other"),
    ] = ()

    def padded(self, batch: int) -> int:
        """The batch that a step of `batch` sequences runs as: the next captured size.

        `batch` itself where no size is captured, or none as large. Raises `roofline.errors.InputError` for what is no
        whole number of at least 1.
        """
        if isinstance(batch, bool) or batch != int(batch) or batch < 1:
            raise InputError(f"batch = {batch!r}: give a whole number of sequences, at least 1")
        place = bisect_left(self.captured_batches, batch)
        return self.captured_batches[place] if place < len(self.captured_batches) else int(batch)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for before, after in pairwise(self.captured_batches):
            if after <= before:
                raise ValueError(f"captured_batches must rise: {after} stands after {before}; sort them, each once")
        return self
