"""What `roofline compare --json` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from roofline.cli.documents import Document, TableDocument


class FactorDocument(Document):
    """What one lever, or levers moved together, contribute to the ratio; null where a mixture is undefined."""

    lever: str
    group: str = Field(description="silicon, interconnect, orchestration, facility, price or others")
    levers_moved: list[str] = Field(description="levers that differ and are moved with it")
    factor: float | None = Field(description="Shapley factor; all multiply to the ratio")
    alone: float | None = Field(description="ratio with this lever moved and no other")
    last: float | None = Field(description="ratio of all levers moved to all but this one")


class MixtureDocument(Document):
    """One mixture: what has been moved, and what the best deployment of it makes."""

    moved: list[str]
    value: float | None = Field(description="of the measure; null where the mixture is undefined")
    served: str = Field(description="mode, deployment and recipe chosen; '' where there is none")


class BaselineDocument(Document):
    """The ratio to an old side that may do no more than is said."""

    baseline: str
    ratio: list[float | None] = Field(description="by interactivity, in the order of `interactivity`")


class SumDocument(Document):
    """One line of a claim's arithmetic."""

    what: str
    how: str
    value: float
    unit: str
    published: float | None = Field(description="what was published of it, where anything was")


class PlaceDocument(Document):
    """Where a curve of ours passes a value."""

    what: str
    value: float
    at: list[float] = Field(description="tokens/s of a user; empty where the curve never passes it")


class ClaimDocument(Document):
    """A published claim run again."""

    name: str
    says: str
    source: str
    notes: str
    sums: list[SumDocument]
    places: list[PlaceDocument]
    factors: dict[str, tuple[float | None, float]] = Field(description="by group: ours and the published one")
    watts_left: dict[str, float] = Field(
        description="by interactivity: W that an accelerator of the feed-forwards may provision if the claim is to hold"
    )


class CompareDocument(TableDocument):
    """Two ways of serving: rows by side and interactivity, factors at one interactivity."""

    kind: Literal["compare"] = "compare"  # type: ignore[assignment]  # a table with more beside it
    measure: str
    interactivity: list[float] = Field(description="tokens/s of a user")
    at: float = Field(description="interactivity that was asked for")
    at_reported: float | None = Field(
        description="interactivity that the factors are of; null where no interactivity has a value of every mixture"
    )
    ratio: float | None = Field(description="of new to old at `at_reported`: the product of the factors")
    undefined: str = Field(description="mixtures that miss the limits at `at`, and by how much")
    factors: list[FactorDocument]
    mixtures: list[MixtureDocument]
    baselines: list[BaselineDocument]
    claim: ClaimDocument | None = None
