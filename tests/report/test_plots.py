"""Pictures show the numbers they were given, say what they mean and hatch what does not run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roofline.errors import InputError
from roofline.report import curves, plots
from tests.report.synthetic import NAMES, synthetic_decode, synthetic_heatmap


def texts(figure: Any) -> str:
    from matplotlib.text import Text

    return "\n".join(item.get_text() for item in figure.findobj(Text))


def test_heatmap_draws_each_value_in_its_panel() -> None:
    ds = synthetic_heatmap()
    figure = plots.heatmap(ds)
    panels = figure.axes[:10]
    for panel, values in zip(panels, ds["tokens_per_mwh"].values.reshape(10, 13, 8), strict=True):
        drawn = np.ma.filled(panel.collections[0].get_array().astype(float), np.nan)
        np.testing.assert_array_equal(drawn.reshape(13, 8), values)
    scales = {(panel.collections[0].norm.vmin, panel.collections[0].norm.vmax) for panel in panels}
    assert scales == {(float(ds["tokens_per_mwh"].min()), float(ds["tokens_per_mwh"].max()))}


def test_heatmap_says_what_its_numbers_mean() -> None:
    said = texts(plots.heatmap(synthetic_heatmap()))
    for words in (
        *NAMES,
        "model-a",
        "model-b",
        "output tokens per MWh",
        "J per token",
        "kernel",
        "facility",
        "metered",
    ):
        assert words in said
    assert "do not fit in memory" in said
    assert "context beyond what the model was trained for" in said
    assert "best 1.99G" in said


def test_a_panel_in_which_nothing_runs_says_so() -> None:
    ds = synthetic_heatmap()
    ds["tokens_per_mwh"][0, 0] = np.nan
    ds["limit"][0, 0] = 1
    assert "nothing runs" in texts(plots.heatmap(ds))


def test_a_result_without_a_value_is_refused() -> None:
    ds = synthetic_heatmap()
    ds["tokens_per_mwh"][:] = np.nan
    with pytest.raises(InputError, match="no cell of tokens_per_mwh has a value"):
        plots.heatmap(ds)


def test_a_single_cell_can_be_drawn() -> None:
    ds = synthetic_heatmap().isel(batch_per_gpu=[4], context=[2], model=[0], system=[0])
    assert "HGX H100" in texts(plots.heatmap(ds))


def test_curves_have_a_line_for_each_system_and_context() -> None:
    ds = synthetic_decode()
    figure = curves.throughput_curves(ds)
    (axes,) = figure.axes
    assert len(axes.lines) == 4
    best = ds["tokens_per_s_per_gpu"].isel(model=0, system=0, recipe=0, context=0).max("deployment")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), best.values)


@pytest.mark.parametrize(
    ("size", "said"),
    [(1024, "1k"), (131072, "128k"), (1048576, "1M"), (512, "512"), (0.125, "1/8"), (0.3, "0.3"), (1000, "1000")],
)
def test_tokens(size: float, said: str) -> None:
    assert plots.tokens(size) == said


def test_edges_lie_between_centres() -> None:
    centres = np.array([1.0, 2.0, 8.0])
    borders = plots.edges(centres)
    assert len(borders) == 4
    assert (borders[:-1] < centres).all()
    assert (centres < borders[1:]).all()
    np.testing.assert_allclose(borders[1], np.sqrt(2.0))
