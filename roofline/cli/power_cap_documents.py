"""What `roofline power-cap --json` prints, as models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from roofline.cli.documents import Document, TableDocument


class BestCapDocument(Document):
    """The best cap of one choice; null where no cap can be met within the limits."""

    choice: str = Field(description="held: the plan without a cap; replanned: chosen again at each cap")
    cap: float | None = Field(description="of one accelerator [W]")
    least_cap: float = Field(description="lowest cap that the slowest clock meets [W]")
    tokens_per_mwh_ratio: float | None = Field(description="over the held plan without a cap")
    tokens_per_s_per_gpu_ratio: float | None = Field(description="the same")
    tpot_ratio: float | None = Field(description="the same")
    ttft_ratio: float | None = Field(description="the same")
    power_ratio: float | None = Field(description="the same, of an accelerator")
    said: str = Field(description="in words")


class PowerCapDocument(TableDocument):
    """A plan under caps of watts: a row a choice and cap, null where a cap cannot be met (`reason` says why)."""

    kind: Literal["power-cap"] = "power-cap"  # type: ignore[assignment]  # a table with more beside it
    label: str = Field(description="the plan without a cap")
    clock: str = Field(description="how draw is taken to follow the clock, all estimated")
    best: list[BestCapDocument]
