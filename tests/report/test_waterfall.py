"""The picture of a comparison: bars end at the ratio, curves are those of the result, words say what it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.errors import InputError
from roofline.insight.compare import compare
from roofline.report.waterfall import GROUP_COLOURS, comparison_picture

ASKED: dict[str, Any] = {
    "model": "llama-3.1-8b", "isl": 1024, "osl": 256, "interactivity": (20, 60, 120), "at": 60, "most_accelerators": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return compare("dgx-h100", "dgx-b200", levers=["silicon", "interconnect", "facility"], **ASKED)


def words(figure: Any) -> str:
    """All that is written on a slide outside its axes."""
    return "\n".join(text.get_text() for text in figure.texts)


def test_bars_lead_from_one_to_the_ratio(ds: xr.Dataset) -> None:
    figure = comparison_picture(ds)
    bars = [patch for patch in figure.axes[0].patches if patch.get_width() < 1.0]
    ratio = float(ds.attrs["ratio"])
    assert len(bars) == ds.sizes["lever"] + 1
    spans = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars]
    assert spans[0] == pytest.approx((1.0, ratio) if ratio > 1 else (ratio, 1.0))  # the last one, of all
    at = 1.0
    for (low, high), factor, bar in zip(spans[1:], ds["factor"].values, bars[1:], strict=True):
        assert (low, high) == pytest.approx(sorted((at, at * factor)))
        assert bool(bar.get_hatch()) == (factor < 1.0)
        at *= factor
    assert at == pytest.approx(ratio)
    assert figure.axes[0].get_yscale() == "log"


def test_each_factor_stands_beside_alone_and_last(ds: xr.Dataset) -> None:
    lower = comparison_picture(ds).axes[1]
    drawn = np.concatenate([line.get_ydata() for line in lower.lines if line.get_marker() in ("s", "^", "D")])
    expected = np.concatenate([ds[name].values for name in ("factor", "alone", "last")])
    np.testing.assert_allclose(np.sort(drawn), np.sort(expected))
    assert [label.get_text() for label in lower.get_xticklabels()][-1] == "all"


def test_curves_are_those_of_the_result(ds: xr.Dataset) -> None:
    figure = comparison_picture(ds)
    ratio, level = figure.axes[2:]
    lines = {line.get_label(): line.get_ydata() for line in ratio.lines}
    np.testing.assert_array_equal(lines["tokens/MWh"], ds["ratio_tokens_per_mwh"].values)
    assert any("aggregated alone" in label for label in lines)
    levels = {line.get_label(): line.get_ydata() for line in level.lines}
    np.testing.assert_array_equal(levels["HGX B200"], ds["tokens_per_mwh"].sel(side="new").values)
    assert "1/MWh" in level.get_ylabel()
    assert "[1/s]" in level.get_xlabel()
    said = words(figure)
    for fact in (
        "HGX B200 over HGX H100",
        "boundary facility",
        "power metered",
        "output tokens",
        "llama-3.1-8b",
        "at 60",
    ):
        assert fact in said


def test_no_text_leaves_the_slide(ds: xr.Dataset) -> None:
    figure = comparison_picture(ds)
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_long_names_do_not_leave_the_slide_and_prices_are_named() -> None:
    asked = ASKED | {"attribution": False}
    figure = comparison_picture(compare("h100-sxm", "h200-sxm", **asked))
    assert all(text.get_window_extent().x1 <= figure.bbox.width for text in figure.texts)
    assert "USD per accelerator-hour old 1.3; new 1.41 (semianalysis-v1, hyperscaler)" in words(figure)
    assert "USD per accelerator-hour" not in words(comparison_picture(compare("dgx-h100", "ironwood-rack", **asked)))


def test_legends_stay_on_the_slide_and_off_the_bars(ds: xr.Dataset) -> None:
    old = {"system": "dgx-h100", "acceptance": [0.8], "usd_per_hour": 1.0}
    new = {"system": "dgx-b200", "usd_per_hour": 1.5, "modes": ["aggregated"]}
    levers = ["silicon", "interconnect", "orchestration", "facility", "price"]
    asked = ASKED | {
        "model": "deepseek-r1",
        "most_accelerators": 8,
        "recipes": "nvfp4-experts",
        "interactivity": (20,),
        "at": 20,
    }
    many = compare(old, new, levers=levers, measure="tokens_per_usd", **asked)
    for figure in map(comparison_picture, (ds, many)):
        for ax in figure.axes:
            box = None if ax.get_legend() is None else ax.get_legend().get_window_extent()
            if box is None:
                continue
            assert 0 <= box.x0 < box.x1 <= figure.bbox.width
            for text in ax.texts:
                assert not box.overlaps(text.get_window_extent()), text.get_text()


def test_where_nothing_has_all_mixtures_the_reason_stands_in_its_place() -> None:
    none = compare("dgx-h100", "dgx-h200", **ASKED | {"interactivity": (20, 9000), "at": 9000, "levers": "silicon"})
    gone = none.assign_attrs(ratio="", at_reported="").assign(factor=none["factor"] * np.nan)
    said = [text.get_text().replace("\n", " ") for text in comparison_picture(gone).axes[0].texts]
    assert any("no interactivity reaches all mixtures" in text for text in said)
    same = compare("dgx-h100", "dgx-h100", **ASKED)
    assert any("do not differ" in text.get_text() for text in comparison_picture(same).axes[0].texts)


def test_a_curve_alone_and_nothing_at_all(ds: xr.Dataset) -> None:
    alone = compare("dgx-h100", "dgx-b200", attribution=False, **ASKED)
    assert len(comparison_picture(alone).axes) == 2
    dark = rl.System.load("dgx-h100").replace(name="dark", power={})
    with pytest.raises(InputError, match="undisclosed"):
        comparison_picture(compare(dark, dark, attribution=False, **ASKED))


def test_groups_have_colours_of_their_own() -> None:
    assert len(set(GROUP_COLOURS.values())) == len(GROUP_COLOURS)
