"""The picture of a claim: what stands where on its axis."""

from __future__ import annotations

import pytest

from roofline.errors import InputError
from roofline.insight.claim_words import figure
from roofline.insight.claims import ClaimCheck, check_claim
from roofline.report.claims import claim_picture


def places(found: ClaimCheck) -> tuple[list[float], list[str], str]:
    """x of every line that stands upright, all words, and what the axis shows."""
    ax = claim_picture(found).axes[0]
    upright = [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 2]  # type: ignore[arg-type]
    return upright, [text.get_text() for text in ax.texts], ax.get_xlabel()


@pytest.mark.parametrize(
    "text", ["500000 tokens/MWh", "0.01 J/token", "20000 tok/s/GPU", "2x tokens per MW of hgx-h200"]
)
def test_points_and_claim_stand_where_they_cost(text: str) -> None:
    found = check_claim(text, "llama-3.1-70b", "dgx-h100")
    upright, words, label = places(found)
    expected = [found.joules_per_token / rung.claim_over for rung in found.rungs]
    assert upright == pytest.approx([*expected, found.joules_per_token])
    assert "[J]" in label
    assert "facility, metered" in label
    assert any(word.startswith("claim: ") for word in words)
    for rung, place in zip(found.rungs, expected, strict=True):
        assert any(rung.what.split(", ")[-1] in word for word in words)
        if found.claim.kind == "energy":
            assert place == pytest.approx(rung.joules_per_token)
    slip = found.nearest_slip
    assert (slip is not None) == any(word.startswith("without a factor of") for word in words)


def test_money_is_shown_in_its_unit_with_its_price() -> None:
    found = check_claim("$0.20/Mtok", "llama-3.1-70b", "dgx-h100")
    slide = claim_picture(found)
    said = [text.get_text() for text in slide.axes[0].texts]
    assert any(f"J, {figure(found.rung('best_plan').value)} $/Mtok" in word for word in said)
    around = "\n".join(text.get_text() for text in slide.texts)
    assert "an accelerator-hour: dgx-h100 1.3 USD (prices semianalysis-v1, hyperscaler" in around
    assert all(text.get_window_extent().x1 <= slide.bbox.width for text in slide.texts)


@pytest.mark.parametrize("over", [0.5, 0.2, 1e-3])
def test_words_above_the_axis_do_not_cover_each_other(over: float) -> None:
    """Of a slip near by, as twice, and far away."""
    bound = check_claim("1 J/token", "llama-3.1-70b", "dgx-h100").rung("ideal_bound").joules_per_token
    found = check_claim(f"{bound * over!r} J/token", "llama-3.1-70b", "dgx-h100")
    assert found.nearest_slip is not None
    above = [text for text in claim_picture(found).axes[0].texts if text.get_text().startswith(("claim", "without"))]
    first, second = (text.get_window_extent() for text in above)
    assert not first.overlaps(second)


def test_without_power_the_axis_is_what_a_token_costs() -> None:
    found = check_claim("500 tok/s/GPU", "qwen3-32b", "groq3-lpx")
    upright, _, label = places(found)
    assert upright[-1] == pytest.approx(1.0 / 500.0)
    assert "[GPU s/token]" in label


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(InputError, match=r"nothing to draw: .*undisclosed"):
        claim_picture(check_claim("1 J/token", "qwen3-32b", "groq3-lpx"))
