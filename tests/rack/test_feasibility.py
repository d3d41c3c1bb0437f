"""Which model runs where: the fewest accelerators, and the reason where none do."""

from __future__ import annotations

import numpy as np
import pytest

import roofline as rl
from roofline.grid.deployments import every_shape
from roofline.layout import Limit
from roofline.report.feasibility import feasibility_picture
from tests.cli.conftest import Run, cli  # noqa: F401


def test_the_fewest_is_the_fewest() -> None:
    """Of all candidates that run by themselves, none takes fewer."""
    ds = rl.feasibility("deepseek-r1", "dgx-h200", context=8192)
    rows = every_shape(rl.Model.load("deepseek-r1"), rl.System.load("dgx-h200")).rows
    names = ("tp", "pp", "dp", "ep", "moe_tp")
    alone = rl.decode(
        "deepseek-r1",
        "dgx-h200",
        batch=1,
        context=8192,
        deployments=[dict(zip(names, row, strict=True)) for row in rows],
    )
    runs = (alone["limit"] == Limit.NONE).any("recipe").squeeze()
    assert ds["accelerators"].item() == alone["accelerators"].where(runs).min().item()
    assert ds["limit"].item() == Limit.NONE
    again = rl.decode("deepseek-r1", "dgx-h200", ds["recipe"].item(), tp=1, pp=1, batch=1, context=8192)
    assert again["limit"].item() == Limit.MEMORY  # one accelerator does not hold it


def test_where_nothing_runs_the_nearest_reason_is_given() -> None:
    small = rl.System.load("l4").replace(name="one L4")
    ds = rl.feasibility(["llama-3.1-405b", "qwen3-8b"], small)
    assert np.isnan(ds["accelerators"].sel(model="llama-3.1-405b").item())
    assert ds["limit"].sel(model="llama-3.1-405b").item() == Limit.MEMORY
    assert ds["accelerators"].sel(model="qwen3-8b").item() == 1


def test_a_context_beyond_the_model_is_refused_as_everywhere() -> None:
    ds = rl.feasibility("gemma-2-27b", "dgx-h100", context=100_000)
    assert np.isnan(ds["accelerators"].item())
    assert ds["limit"].item() == Limit.CONTEXT


def test_weights_spread_over_small_memories() -> None:
    """A model that powers of two and eight stages do not place: a stage a layer does."""
    ds = rl.feasibility(["deepseek-r1", "phi-4"], "groq3-lpx", context=8192)
    assert (ds["accelerators"] <= 2048).all()
    tp, pp = (int(word[2:]) for word in ds["deployment"].sel(model="phi-4").item().split())
    assert 40 % tp == 0
    again = rl.decode("phi-4", "groq3-lpx", ds["recipe"].sel(model="phi-4").item(), tp=tp, pp=pp, batch=1, context=8192)
    assert again["limit"].item() == Limit.NONE


def test_the_picture_has_a_number_or_a_reason_in_every_cell() -> None:
    ds = rl.feasibility(["llama-3.1-405b", "qwen3-8b"], ["dgx-h100", "l4"])
    canvas = feasibility_picture(ds)
    numbers = [text.get_text() for text in canvas.axes[0].texts]
    assert len(numbers) == int(ds["accelerators"].notnull().sum())
    legend = canvas.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "weights, KV cache and activations do not fit in memory"
    ]


def test_the_command(cli: Run, tmp_path) -> None:  # noqa: F811
    done = cli("feasibility", "--model", "qwen3-8b,mixtral-8x7b", "--system", "dgx-h100", "--out", "runs.csv")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 pairs run at context 8192" in done.stdout
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
    assert cli("feasibility", "--context", "1k,2k").returncode == 2
    with pytest.raises(rl.InputError, match="no model named"):
        rl.feasibility("qwen-8")
