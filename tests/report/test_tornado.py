"""Pictures of sensitivity and of intervals: they show what the result holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.insight.sensitivity import sensitivity, sentence
from roofline.insight.uncertainty import uncertainty
from roofline.report.files import save_figure
from roofline.report.tornado import MOST_BARS, band_curve, interval_picture, tornado

WHERE = ("llama-3.1-70b", "dgx-h100", "fp8")
PASS: dict[str, Any] = {"of": "decode", "tp": 8, "batch": 64, "context": 4096}
PLAN: dict[str, Any] = {"workload": "1k/1k", "slo": rl.SLO(tpot_s=0.03)}


def words(figure: Any) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_bars_are_the_ratios_longest_on_top(tmp_path: Any) -> None:
    ds = sensitivity(*WHERE, **PLAN, searched=3)
    drawn = tornado(ds)
    save_figure(drawn, tmp_path / "x.png")
    (ax,) = drawn.axes
    more, less = (
        [bar.get_width() for bar in container] for container in ax.containers
    )  # one bar a number, as it was listed
    assert len(more) == len(less) == MOST_BARS
    top = ds.isel(parameter=slice(MOST_BARS))
    for got, name in ((more, "ratio_more"), (less, "ratio_less")):
        expected = 100.0 * (top[name].sel(figure="tokens_per_mwh").values - 1.0)
        np.testing.assert_allclose(got, np.nan_to_num(expected), atol=1e-9)
    said = words(drawn)
    for text in ("memory bandwidth", "elasticity", "published", "with everything chosen again", "boundary facility"):
        assert text in said
    assert "held" in said
    assert sentence(ds, "accelerator.memory.bytes_per_s") in said  # the strongest of the rates, in words
    by_tpot = tornado(ds, "tpot").axes[0].yaxis.get_major_formatter().seq
    assert "memory bandwidth" in by_tpot
    assert "PUE" not in by_tpot
    with pytest.raises(rl.InputError, match="nope"):
        tornado(ds, "nope")


def test_few_bars_stay_slim_and_clear_of_the_legend(tmp_path: Any) -> None:
    ds = sensitivity(*WHERE, **PASS, fidelity="ideal")
    drawn = tornado(ds, "tpot")
    save_figure(drawn, tmp_path / "x.png")
    (ax,) = drawn.axes
    bars = [bar.get_window_extent() for container in ax.containers for bar in container]
    legend = ax.get_legend()
    assert legend is not None
    assert len(bars) == 2  # in a lower bound one roof binds at this batch: that of memory
    assert not any(legend.get_window_extent().overlaps(bar) for bar in bars)
    assert max(bar.height for bar in bars) < 0.15 * ax.bbox.height


def test_nothing_to_draw_is_said() -> None:
    ds = sensitivity(*WHERE, **PASS)
    still = ds.assign(elasticity=0.0 * ds["elasticity"])
    with pytest.raises(rl.InputError, match="nothing moves tokens_per_mwh"):
        tornado(still)
    with pytest.raises(rl.InputError, match="no figure has a value"):
        interval_picture(uncertainty(*WHERE, **PASS, draws=5) * np.nan)


def test_intervals_are_the_percentiles(tmp_path: Any) -> None:
    ds = uncertainty(*WHERE, **PLAN, draws=200)
    drawn = interval_picture(ds)
    save_figure(drawn, tmp_path / "x.png")
    (ax,) = drawn.axes
    wide, narrow = ax.containers
    banded = ds.attrs["residual"].split(", ")
    assert len(wide) == len(banded) < len(narrow) == ds.sizes["figure"]
    ratio = (ds["numbers"] / ds["point"]).values
    np.testing.assert_allclose([bar.get_x() for bar in narrow], ratio.min(axis=0))
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in narrow], ratio.max(axis=0))
    said = words(drawn)
    for text in (
        "with the band of measurements",
        "numbers of the sheets alone",
        "p5",
        "p95",
        "5 % to 95 % of 200 draws",
    ):
        assert text in said
    alone = interval_picture(uncertainty(*WHERE, **PASS, draws=50))
    assert "with the band of measurements" not in words(alone)


def test_a_curve_has_its_band(tmp_path: Any) -> None:
    batches = [1, 16, 256]
    listed = [uncertainty(*WHERE, **(PASS | {"batch": batch}), draws=50) for batch in batches]
    ds = xr.concat(listed, dim="batch", data_vars="all", coords="minimal", compat="override").assign_coords(
        batch=batches
    )
    drawn = band_curve(ds, "batch", "tpot")
    save_figure(drawn, tmp_path / "x.svg")
    (ax,) = drawn.axes
    (area,) = ax.collections
    corners = area.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(float(ds["numbers"].sel(figure="tpot").min()))
    assert corners[:, 1].max() == pytest.approx(float(ds["numbers"].sel(figure="tpot").max()))
    assert "tpot [s]" in words(drawn)
    for x, figure in (("context", ""), ("batch", "nope")):
        with pytest.raises(rl.InputError):
            band_curve(ds, x, figure)
