"""A checked claim in sentences: how far it is from each point, and which slip would explain it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from roofline.insight.claim_ladder import VERDICTS

if TYPE_CHECKING:
    from roofline.insight.claims import ClaimCheck

NAMES = {
    "ideal_bound": "the ideal bound",
    "best_plan": "the best plan",
    "one_at_a_time": "one sequence at a time",
    "worst_working": "the worst working point",
}
"""Points of the ladder in words."""


def figure(value: float) -> str:
    """Three significant digits with separators of thousands: 7,200, 0.471, 1.25e+12."""
    if not math.isfinite(value):
        return "-"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.12g}" if 1e-4 <= abs(rounded) < 1e12 else f"{rounded:.3g}"


def times(over: float) -> str:
    """A multiple of a cost in words: `131 times`, `0.85 times`, `1/2,860 of`."""
    return f"{figure(over)} times" if over >= 0.1 else f"1/{figure(1.0 / over)} of"


def sentences(found: ClaimCheck) -> list[str]:
    """The answer, a sentence a line."""
    claim, attrs = found.claim, found.attrs
    on = f"{attrs['model']} on {attrs['system']}"
    where = attrs["where"]
    if math.isfinite(found.joules_per_token):
        energy = f"{figure(found.joules_per_token)} J per output token ({where})"
    else:
        energy = f"{figure(found.cost)} {attrs['cost_unit']}, in J not known ({where})"
    if claim.reference:
        first = f"{claim.text}: with {attrs['reference']} at its best plan {energy} for {on}"
    else:
        through = (
            "" if claim.kind == "energy" or math.isnan(found.joules_per_token) else " at the power of the best plan"
        )
        over = " (each with its share of whole requests, decoding too)" if attrs["token_basis"] == "input" else ""
        first = f"{claim.text}, {attrs['token_basis']} tokens{over}: {energy}{through}, {on}"
    lines = [first, f"{found.verdict.replace('_', ' ')}: {found.reason or VERDICTS[found.verdict]}"]
    spent = {"energy": "energy", "rate": "accelerator time", "money": "money"}[claim.kind]
    multiples = [f"{times(rung.claim_over)} that of {NAMES[rung.name]}" for rung in found.rungs
                 if math.isfinite(rung.claim_over)]  # fmt: skip
    if multiples:
        lines.append(f"its {spent} for a token is " + ", ".join(multiples))
    if found.nearest_slip is not None:
        slip = found.nearest_slip
        lines.append(
            f"nearest slip: a factor of {figure(slip.factor)} ({slip.what}); without it the claim is {slip.verdict}, "
            f"{times(slip.over_best)} that of the best plan"
        )
    elif found.verdict in ("impossible", "below_working", "better_than_best_plan"):
        lines.append("none of the usual slips makes it plausible")
    if attrs.get("reference_plan"):
        lines.append(f"{attrs['reference']} at its best plan: {attrs['reference_plan']}")
    if found.ratios:
        said = [f"{'-' if math.isnan(r.ratio) else figure(r.ratio) + 'x'} at {r.tokens_per_s_per_user:g}"
                for r in found.ratios]  # fmt: skip
        lines.append("ratio of the best plans by tok/s of one user: " + ", ".join(said))
    return lines


def priced(attrs: dict[str, str]) -> str:
    """What an accelerator-hour costs, and who says so."""
    hours = [f"{attrs['system']} {attrs['usd_per_gpu_hour']} USD"]
    hours += [f"{attrs['reference']} {attrs['reference_usd_per_gpu_hour']} USD"] if attrs["reference"] else []
    whose = f" (prices {attrs['hardware_prices']}: {attrs['price_grades']})" if "hardware_prices" in attrs else ""
    return f"an accelerator-hour: {', '.join(hours)}{whose}"
