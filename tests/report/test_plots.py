"""Pictures show the numbers they were given, say what they mean and hatch what does not run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roofline.errors import InputError
from roofline.report import curves, plots
from roofline.report.chart import Dot, roofline_chart
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
    cells = ds.isel(model=0, system=0, recipe=0, context=0).stack(cell=("batch", "deployment"))
    points = list(zip(cells["tokens_per_s_per_user"].values, cells["tokens_per_s_per_gpu"].values, strict=True))
    drawn = list(zip(axes.lines[0].get_xdata(), axes.lines[0].get_ydata(), strict=True))
    assert set(drawn) == {p for p in points if not any(q[0] >= p[0] and q[1] >= p[1] and q != p for q in points)}


def test_prefill_curves_show_the_fastest_deployment() -> None:
    ds = synthetic_decode().rename(context="isl", tpot="prefill_time").drop_vars(["tokens_per_s_per_user"])
    figure = curves.prefill_curves(ds.isel(batch=[0]))
    (axes,) = figure.axes
    best = ds["prefill_time"].isel(model=0, system=0, recipe=0, batch=0).min("deployment")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), best.values)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2k", "32k"]


def test_curves_without_a_value_are_refused() -> None:
    ds = synthetic_decode()
    ds["tokens_per_s_per_gpu"][:] = np.nan
    with pytest.raises(InputError, match="no cell of tokens_per_s_per_gpu has a value"):
        curves.throughput_curves(ds)


def test_the_roofline_chart_draws_operations_under_the_roofs() -> None:
    dots = [
        Dot("gate and up", 6e9, 1.2e8, 5e-5, 80, "ffn"),
        Dot("down", 3e9, 6e7, 2.5e-5, 80, "ffn"),
        Dot("core", 1e9, 8e7, 4e-5, 80, "core"),
        Dot("norm", 0.0, 1e6, 2e-6, 80, "elementwise"),
    ]
    figure = roofline_chart(dots, peaks={"bf16": 1e15, "fp8": 2e15}, bytes_per_s=3e12, title="made up")
    said = texts(figure)
    for words in (
        "made up",
        "memory 3 TB/s",
        "fp8 2 PFLOP/s",
        "bf16 1 PFLOP/s",
        "1  gate and up  42.7%",
        "not on the axes (collectives, moves)  1.7%",
    ):
        assert words in said
    assert "norm" not in said
    places = np.concatenate([item.get_offsets() for item in figure.axes[0].collections])
    assert {tuple(place) for place in places} >= {(dot.intensity, dot.rate) for dot in dots[:3]}
    with pytest.raises(InputError, match="nothing to draw"):
        roofline_chart(dots[3:], peaks={"bf16": 1e15}, bytes_per_s=3e12, title="")


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


def test_the_legend_of_a_heatmap_stays_on_the_slide() -> None:
    ds = synthetic_heatmap().isel(system=[0, 1])
    ds["limit"][0, 0, -1, :4] = [2, 3, 4, 5]
    ds["tokens_per_mwh"][0, 0, -1, :4] = np.nan
    figure = plots.heatmap(ds)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 7
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert legend.get_window_extent().x0 >= 0


def test_two_points_have_ticks_on_both_axes() -> None:
    ds = (
        synthetic_decode().isel(batch=[1, 2], deployment=[0], context=[0], system=[0]).assign_coords(deployment=["tp4"])
    )
    (axes,) = curves.throughput_curves(ds).axes
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        places = [place for place in axis.get_majorticklocs() if low <= place <= high]
        assert len(places) >= 2


@pytest.mark.parametrize(("start", "stop"), [(137.5, 139.3), (16.0, 36.0), (0.9, 1.1), (1.0, 1000.0)])
def test_marks_lie_inside_and_are_several(start: float, stop: float) -> None:
    found = plots.marks(start, stop)
    assert len(found) >= 3
    assert found == sorted(found)
    assert all(start * 0.99 <= place <= stop * 1.01 for place in found)


def test_a_panel_says_how_many_gpus_its_winner_takes() -> None:
    ds = synthetic_heatmap()
    degrees = {"tp": 1, "pp": 4, "dp": 8, "ep": 8, "moe_tp": 1}
    shape = ds["tokens_per_mwh"].dims
    for name, value in degrees.items():
        ds[name] = (shape, np.full(ds["tokens_per_mwh"].shape, float(value)))
    ds["recipe"] = (shape, np.full(ds["tokens_per_mwh"].shape, "fp8", dtype=object))
    figure = plots.heatmap(ds)
    assert "fp8, pp4 dp8 ep8, 32 GPUs" in texts(figure)
    ds["recipe"][:] = "a-recipe-with-a-name-that-is-long"
    for panel in plots.heatmap(ds).axes[:10]:
        (said,) = panel.texts[:1]
        assert said.get_window_extent().width <= panel.bbox.width * 1.02
