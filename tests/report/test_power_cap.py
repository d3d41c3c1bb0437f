"""The picture of a power cap shows what the Dataset has, and refuses what it cannot show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.insight.power_cap import power_cap
from roofline.report.files import save
from roofline.report.power_cap import cap_curve


def _found(replan: bool = True) -> xr.Dataset:
    caps = np.arange(250.0, 701.0, 50.0)
    slo = rl.SLO(tpot_s=0.03)
    return power_cap("llama-3.1-70b", "dgx-h100", caps=caps, workload="1k/1k", slo=slo, replan=replan)


def test_lines_and_marks_are_those_of_the_dataset(tmp_path: Path) -> None:
    ds = _found()
    canvas = cap_curve(ds)
    energy, times, clocks = canvas.axes
    solid = [line for line in energy.get_lines() if line.get_linestyle() == "-" and np.size(line.get_xdata()) > 1]
    for line, choice in zip(solid, ("held", "replanned"), strict=False):
        one = ds.sel(choice=choice)
        expected = np.where(one["meets_slo"] == 1, one["tokens_per_mwh"] / 1e9, np.nan)
        np.testing.assert_array_equal(np.asarray(line.get_ydata(), dtype=float), expected)
    words = [text.get_text() for ax in (energy, times) for text in ax.texts]
    for choice in ("held", "replanned"):
        best = float(ds["best_cap"].sel(choice=choice))
        assert sum(word.startswith(f"{best:g} W: ") for word in words) >= 2
    legend = energy.get_legend()
    assert legend is not None
    assert "below the draw at the least clock" in [text.get_text() for text in legend.get_texts()]
    assert clocks.get_xlabel() == "cap on every accelerator [W]"
    assert "facility" in " ".join(text.get_text() for text in canvas.texts)
    save(ds, tmp_path / "cap.png", draw=cap_curve)
    assert (tmp_path / "cap.png").read_bytes().startswith(b"\x89PNG")


def test_one_choice_and_what_is_refused() -> None:
    ds = _found(replan=False)
    assert len(cap_curve(ds).axes) == 3
    with pytest.raises(rl.InputError, match="that power_cap returned"):
        cap_curve(ds.drop_vars("best_cap"))
    none = power_cap("llama-3.1-70b", "dgx-h100", caps=[90.0], workload="1k/1k")
    with pytest.raises(rl.InputError, match=r"no cap can be met: .* at the least clock"):
        cap_curve(none)


@pytest.mark.parametrize("caps", [[500.0], [900.0, 1200.0], [340.0, 360.0, 700.0]])
def test_words_stand_within_the_panels(caps: list[float]) -> None:
    ds = power_cap("llama-3.1-8b", "dgx-h100", caps=caps, workload="1k/1k", slo=rl.SLO(tpot_s=0.05))
    canvas = cap_curve(ds)
    canvas.draw_without_rendering()
    for ax in canvas.axes:
        edge = ax.get_window_extent()
        for text in ax.texts:
            box = text.get_window_extent()
            assert edge.x0 <= box.x0 <= box.x1 <= edge.x1, text.get_text()
    clocks = canvas.axes[2].get_lines()
    assert all(len(line.get_xdata()) > 1 or line.get_marker() == "o" for line in clocks)


def test_the_limit_on_tpot_is_drawn_where_it_is_near() -> None:
    for tpot_s, drawn in ((0.05, True), (5.0, False)):
        ds = power_cap("llama-3.1-8b", "dgx-h100", caps=[400.0, 700.0], workload="1k/1k", slo=rl.SLO(tpot_s=tpot_s))
        times = cap_curve(ds).axes[1]
        across = [
            np.asarray(line.get_ydata()) for line in times.get_lines() if np.array_equal(line.get_xdata(), [0, 1])
        ]
        levels = [float(values[0]) for values in across]
        assert (1e3 * tpot_s in levels) is drawn
        assert (f"limit {1e3 * tpot_s:.4g} ms" in [text.get_text() for text in times.texts]) is drawn
