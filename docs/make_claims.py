"""Write the table of docs/claims.md, published figures held against the model, and its picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roofline.insight.claims import ClaimCheck

PAGE = Path(__file__).parent / "claims.md"
PICTURE = Path(__file__).parent / "img" / "claim.png"
MARK = "<!-- worked -->\n"
HEADS = ("claim", "model", "system", "with", "verdict", "J/token", "/ bound", "/ best plan", "/ one at a time", "slip")

FAST = {"slo": {"tpot_s": 0.009}, "acceptance": (0.8, 0.6, 0.5)}
"""About 110 tokens/s of a user, with the model's own drafts."""


@dataclass(frozen=True)
class Case:
    """One published figure and what it is held against."""

    claim: str
    model: str
    system: str
    said: str
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> ClaimCheck:
        """It, checked."""
        from roofline.insight.claims import check_claim

        return check_claim(self.claim, self.model, self.system, **self.options)


CASES = (
    Case("500,000 tokens/MWh", "llama-3.1-70b", "dgx-h100", "fp8 or bf16"),
    Case("500,000 tokens/MWh", "llama-3.1-70b", "dgx-h100", "bf16", {"recipes": "bf16"}),
    Case("500,000 tok/s/MW", "llama-3.1-70b", "dgx-h100", "the same digits as a rate"),
    Case("0.4 J/token", "llama-3.1-70b", "dgx-h100", "at the accelerator", {"boundary": "accelerator"}),
    Case("0.8 J/token", "llama-3.1-70b", "dgx-h100", "at the accelerator", {"boundary": "accelerator"}),
    Case("90 total tok/s/GPU", "deepseek-r1", "dgx-h200", "TPOT 9 ms, drafts", FAST),
    Case("6,000 total tok/s/GPU", "deepseek-r1", "gb300-nvl72", "TPOT 9 ms, drafts", FAST),
    Case("6,000 total tok/s/GPU", "deepseek-r1", "gb300-nvl72", "TPOT 9 ms, no drafts", {"slo": FAST["slo"]}),
    Case(
        "50x tokens per MW of dgx-h200",
        "deepseek-r1",
        "gb300-nvl72",
        "TPOT 9 ms, drafts, provisioned (semianalysis-v1)",
        FAST | {"basis": "provisioned", "vintage": "semianalysis-v1"},
    ),
    Case(
        "35x lower $/Mtok than dgx-h200",
        "deepseek-r1",
        "gb300-nvl72",
        "TPOT 9 ms, drafts, $2.65 and $1.41",
        FAST | {"usd_per_gpu_hour": 2.65, "reference_usd_per_gpu_hour": 1.41},
    ),
    Case("50x tokens per MW of dgx-h200", "deepseek-r1", "gb300-nvl72", "no limit, no drafts"),
    Case("20,000 tok/s/GPU", "llama-3.1-70b", "dgx-h100", "made up: a box's figure for one GPU"),
)


def share(over: float) -> str:
    """A multiple, or the share that it is: 204, 0.32, 1/2,470."""
    from roofline.insight.claim_words import figure

    return figure(over) if over >= 0.1 else f"1/{figure(1.0 / over)}"


def cells(case: Case, found: ClaimCheck) -> list[str]:
    """One row of the table."""
    from roofline.insight.claim_words import figure

    over = {rung.name: share(rung.claim_over) for rung in found.rungs}
    slip = "" if found.nearest_slip is None else f"{figure(found.nearest_slip.factor)}: {found.nearest_slip.what}"
    points = (over.get(name, "-") for name in ("ideal_bound", "best_plan", "one_at_a_time"))
    verdict = found.verdict.replace("_", " ")
    return [case.claim, case.model, case.system, case.said, verdict, figure(found.joules_per_token), *points, slip]


def table() -> str:
    """All cases as Markdown."""
    rows = [cells(case, case.check()) for case in CASES]
    right = {"J/token", "/ bound", "/ best plan", "/ one at a time"}
    lines = [
        "| " + " | ".join(HEADS) + " |",
        "|" + "|".join("---:" if head in right else "---" for head in HEADS) + "|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


if __name__ == "__main__":
    from roofline.report.claims import claim_picture
    from roofline.report.files import save_figure

    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARK)
    after = rest[rest.index("\n\n") + 1 :] if rest.startswith("|") else rest
    PAGE.write_text(before + MARK + table() + after, encoding="utf-8")
    save_figure(claim_picture(CASES[0].check()), PICTURE)
