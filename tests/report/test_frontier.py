"""The picture of a frontier says who serves what where, with labels that do not stand on each other."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.errors import InputError
from roofline.report.choices import deployed, missed, recipes, why_not
from roofline.report.frontier import MOST_LABELS, chosen, frontier_picture


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return rl.pareto(
        *("llama-3.1-8b", ["hgx-h100", "hgx-b200", "groq3-lpx"], "fp8"),
        workload="8k/1k",
        slo=rl.SLO(ttft_s=2.0, tpot_s=0.02),
        against="tokens_per_s_per_mw",
    )


def test_a_line_a_system_and_the_limit(ds: xr.Dataset) -> None:
    figure = frontier_picture(ds)
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["dgx-h100", "dgx-b200"]
    lines = {line.get_label(): line for line in ax.lines}
    for system in ("dgx-h100", "dgx-b200"):
        mine = ds["system"].values == system
        np.testing.assert_array_equal(lines[system].get_xdata(), ds["tokens_per_s_per_user"].values[mine])
        np.testing.assert_array_equal(lines[system].get_ydata(), ds["tokens_per_s_per_mw"].values[mine])
    assert lines["dgx-h100"].get_color() != lines["dgx-b200"].get_color()
    assert any(np.allclose(line.get_xdata(), 50.0) for line in ax.lines)
    assert ax.get_yscale() == "log"
    words = [text.get_text() for text in figure.texts]
    assert any("boundary facility" in text and "8k/1k" in text for text in words)
    assert any(text.startswith("No point: llama-3.1-8b on groq3-lpx") for text in words)


def test_labels_stand_inside_and_apart(ds: xr.Dataset) -> None:
    (ax,) = frontier_picture(ds).axes
    boxes = [text.get_window_extent() for text in ax.texts if "batch" in text.get_text()]
    assert 2 <= len(boxes) <= 2 * MOST_LABELS
    for box in boxes:
        assert ax.bbox.x0 <= box.x0 < box.x1 <= ax.bbox.x1
        assert ax.bbox.y0 <= box.y0 < box.y1 <= ax.bbox.y1
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def test_nothing_to_draw_says_why(ds: xr.Dataset) -> None:
    with pytest.raises(InputError, match=r"no deployment to draw: llama-3\.1-8b on groq3-lpx"):
        frontier_picture(ds.isel(point=slice(0, 0)))


def test_labels_are_at_the_ends_and_where_the_deployment_changes() -> None:
    def point(n: int, deployment: str) -> dict[str, object]:
        return {"n": n, "mode": "static", "prefill_deployment": "", "deployment": deployment}

    rows = [point(n, "tp1" if n < 10 else "tp2") for n in range(30)]
    assert [row["n"] for row in chosen(rows)] == [0, 5, 20, 29]
    many = [point(n, f"tp{n}") for n in range(30)]
    assert len(chosen(many)) == MOST_LABELS
    assert [row["n"] for row in chosen(rows[:1])] == [0]


POOLS = {
    "mode": "disaggregated", "system": "a", "deployment": "dp8 ep8", "recipe": "fp8", "decode_replicas": 2.0,
    "prefill_replicas": 3.0, "prefill_system": "a", "prefill_deployment": "tp4", "prefill_recipe": "fp8",
    "ffn_system": "", "ffn_deployment": "", "nearest_miss": "", "limit": "none",
}  # fmt: skip
NONE = {"mode": "", "limit": "none", "nearest_miss": "", "nearest_factor": None}


def test_choices_in_words() -> None:
    assert deployed(POOLS) == "3x tp4 + 2x dp8 ep8"
    assert deployed(POOLS | {"prefill_system": "b"}) == "3x tp4 on b + 2x dp8 ep8"
    assert deployed(POOLS | {"ffn_system": "c", "ffn_deployment": "ep32"}) == "3x tp4 + 2x (dp8 ep8 | ep32 on c)"
    assert deployed(POOLS | {"mode": "static", "prefill_deployment": ""}) == "dp8 ep8"
    assert recipes(POOLS) == "fp8"
    assert recipes(POOLS | {"prefill_recipe": "nvfp4"}) == "nvfp4 + fp8"
    assert why_not(POOLS) == ""
    assert why_not(NONE | {"nearest_miss": "ttft", "nearest_factor": 1.4}) == "TTFT 1.4x over its limit"
    assert why_not(NONE | {"limit": "memory"}) == "memory"
    assert why_not(NONE) == "nothing found"


def test_reasons_of_a_plan_say_what_is_missed() -> None:
    ds = rl.plan("llama-3.1-8b", "hgx-h100", "fp8", workload="8k/1k", slo=[None, {"ttft_s": 1e-3}], modes="static")
    none, said = ds.roofline.reasons().values.ravel()
    assert none == ""
    assert said == missed("ttft", float(ds["nearest_factor"].values.ravel()[1]))
    with pytest.raises(InputError, match="context is no dim of this Dataset, which has model, system, workload, slo"):
        ds.roofline.heatmap(x="system", y="context")
