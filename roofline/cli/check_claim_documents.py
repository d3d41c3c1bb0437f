"""What `roofline check-claim --json` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from roofline.cli.documents import Document


class RungDocument(Document):
    """One point that the claim is held against."""

    name: Literal["ideal_bound", "best_plan", "one_at_a_time", "worst_working"]
    what: str = Field(description="the deployment, or what the bound assumes")
    value: float | None = Field(description="as the claim would put it, in `unit`; of a ratio: times the reference")
    joules_per_token: float | None = Field(description="energy of an output token at the boundary [J]")
    claim_over: float | None = Field(description="cost of a token as claimed over that of this point")


class SlipDocument(Document):
    """The claim without one of the usual slips."""

    what: str
    factor: float = Field(description="what the figure is off by, above 1")
    cost: float = Field(description="of an output token without it, in `cost_unit`")
    verdict: str
    over_best: float = Field(description="that cost over the best plan's")


class StepDocument(Document):
    """One line of how the ideal bound comes about, for an output token."""

    what: str
    value: float | None
    unit: str


class RatioDocument(Document):
    """Ratio of the best plans where one user gets at least so many tokens a second."""

    tokens_per_s_per_user: float
    ratio: float | None = Field(description="null where one of the two cannot")


class CheckClaimDocument(Document):
    """Whether a published figure is possible."""

    kind: Literal["check-claim"] = "check-claim"
    provenance: dict[str, str]
    claim: str
    claimed: Literal["energy", "rate", "money"] = Field(description="what it is about")
    value: float = Field(description="as written; of a ratio how many times better")
    unit: str = Field(description="as written; of a ratio its measure")
    reference: str = Field(description="system that a ratio is to; '' where it is a figure")
    verdict: Literal["impossible", "better_than_best_plan", "plausible", "below_working", "undefined"]
    reason: str = Field(description="why it is undefined; '' where it is not")
    cost: float | None = Field(description="of an output token, in `cost_unit`")
    cost_unit: str
    joules_per_token: float | None = Field(description="of an output token at the boundary [J]")
    expected: float | None = Field(description="least cost that counts as plausible, in `cost_unit`")
    points: list[RungDocument]
    bound: list[StepDocument]
    slips: list[SlipDocument]
    nearest_slip: SlipDocument | None = Field(description="of those that make it plausible")
    ratios: list[RatioDocument]
    said: list[str] = Field(description="the answer in sentences")
    file: str | None = None
