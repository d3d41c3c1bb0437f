"""What `roofline sensitivity --json` and `roofline uncertainty --json` print, as models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from roofline.cli.documents import ColumnDocument, Document, TableDocument


class MovedDocument(Document):
    """A figure of the answer that is held."""

    figure: str
    unit: str
    meaning: str
    value: float | None = Field(description="as the sheets stand")
    sum_of_rates: float = Field(description="elasticities of all rates less those of all times: its own power of 1/s")


class SensitivityDocument(TableDocument):
    """What an answer rests on: a row a number of its sheets that moves the figure, the strongest first."""

    kind: Literal["sensitivity"] = "sensitivity"  # type: ignore[assignment]  # a table with more beside it
    label: str = Field(description="what is held")
    figure: str = Field(description="the figure that the rows are of")
    change: float = Field(description="share by which ratios have more and less of a number")
    said: list[str] = Field(description="the strongest rows in words")
    figures: list[MovedDocument]


class SobolDocument(Document):
    """Sobol indices of one number."""

    parameter: str
    first_order: float
    first_order_error: float = Field(description="half the 95 % interval")
    total: float
    total_error: float = Field(description="half the 95 % interval")


class ShareDocument(Document):
    """What part of the variance of a figure goes with a number of the sheets."""

    parameter: str
    grade: str
    spread: float = Field(description="standard deviation of the logarithm of what `spread_of` names")
    spread_of: str = Field(description="the number; of PUE and the like what is above 1, of an efficiency what is lost")
    share: float = Field(description="squared correlation of the figure with it")


class UncertaintyDocument(TableDocument):
    """How sure an answer is: a row a figure with its percentiles, of the numbers alone and with the band."""

    kind: Literal["uncertainty"] = "uncertainty"  # type: ignore[assignment]  # a table with more beside it
    label: str = Field(description="what is held")
    draws: int
    seed: int
    fits: float = Field(description="share of draws in which the deployment fits in memory")
    missing: float = Field(description="share of draws that cannot run; they are in no percentile")
    figure: str = Field(description="the figure that `shares` are of")
    shares: list[ShareDocument] = Field(
        description="numbers that bring more than a thousandth and more than chance (10/draws), the most first"
    )
    sobol: list[SobolDocument] = Field(description="where they were asked for")


__all__ = [
    "ColumnDocument",
    "MovedDocument",
    "SensitivityDocument",
    "ShareDocument",
    "SobolDocument",
    "UncertaintyDocument",
]
