"""The best over deployments is what a loop over `decode` and `rollup` finds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.grid.axes import deployment_label
from roofline.grid.deployments import candidates
from roofline.layout import Limit
from roofline.rack import best_over_deployments
from roofline.rack.best import native_recipes

DEGREES = ("tp", "pp", "dp", "ep", "moe_tp")
FIGURES = ("tpot", "tokens_per_s_per_user", "tokens_per_s_per_gpu", "memory", "power")


def brute_force(
    model: str, system: str, recipes: list[str], per_gpu: int, context: int, most: int, **how: Any
) -> tuple[float, dict[str, Any]] | None:
    """(tokens/MWh, the winner) over candidates one by one; None where nothing runs."""
    best: tuple[float, dict[str, Any]] | None = None
    found = candidates(rl.Model.load(model), rl.System.load(system), most)
    order = sorted(range(len(found.rows)), key=lambda place: found.accelerators[place])
    for group in dict.fromkeys(found.accelerators[place] for place in order):
        for recipe in recipes:  # fewest accelerators first, then the recipe named first, then the row
            for place in (place for place in order if found.accelerators[place] == group):
                row = dict(zip(DEGREES, found.rows[place], strict=True))
                ds = rl.decode(model, system, recipe, deployments=[row], batch=per_gpu * group, context=context)
                cell = rl.rollup(ds, **how).squeeze()
                value = cell["tokens_per_mwh"].item()
                if cell["limit"].item() == 0 and (best is None or value > best[0] * (1 + 1e-12)):
                    winner = {**row, "recipe": recipe, "batch": per_gpu * group, "accelerators": group}
                    best = value, winner | {name: cell[name].item() for name in FIGURES}
    return best


@pytest.mark.parametrize(
    ("model", "system", "recipes", "most", "how"),
    [
        ("llama-3.1-70b", "dgx-h100", ["bf16", "fp8"], 4, {}),
        ("mixtral-8x7b", "dgx-h200", ["bf16"], 4, {"boundary": "rack", "duty": 0.5}),
        ("gpt-oss-120b", "mi300x-8", ["mxfp4"], 4, {"boundary": "accelerator"}),
        ("llama-3.1-8b", "dgx-h100", ["fp8"], 4, {"basis": "provisioned", "vintage": "semianalysis-v1"}),
    ],
)
def test_it_is_what_a_loop_finds(model: str, system: str, recipes: list[str], most: int, how: dict[str, Any]) -> None:
    per_gpu, contexts = [1, 24], [4096, 32_768]
    best = best_over_deployments(
        model, system, batch_per_gpu=per_gpu, context=contexts, recipes=recipes, most_accelerators=most, **how
    )
    ran = 0
    for n in per_gpu:
        for context in contexts:
            cell = best.sel(batch_per_gpu=n, context=context).squeeze()
            found = brute_force(model, system, recipes, n, context, most, **how)
            if found is None:
                assert cell["limit"].item() == Limit.MEMORY
                assert np.isnan(cell["tokens_per_mwh"])
                continue
            value, winner = found
            ran += 1
            assert cell["limit"].item() == 0
            assert cell["tokens_per_mwh"].item() == pytest.approx(value, rel=1e-12)
            assert cell["joules_per_token_at_boundary"].item() == pytest.approx(3.6e9 / value, rel=1e-12)
            assert cell["recipe"].item() == winner["recipe"]
            for name in (*DEGREES, "batch", "accelerators"):
                assert cell[name].item() == winner[name], name
            for name in FIGURES:
                assert cell[name].item() == pytest.approx(winner[name], rel=1e-12), name
    assert ran >= 3


def test_a_tie_goes_to_the_recipe_named_first() -> None:
    """Two recipes that say the same: the label is that of the first, whichever it is."""
    same = rl.Recipe.load("bf16").replace(id="twin", name="Twin")
    for recipes, first in (([same, "bf16"], "twin"), (["bf16", same], "bf16")):
        best = best_over_deployments("llama-3.1-8b", "dgx-h100", batch_per_gpu=[1, 8], context=1024, recipes=recipes)
        assert (best["recipe"] == first).all()


def test_a_tie_goes_to_the_fewest_accelerators_before_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every configuration made equal but the first recipe's on one accelerator, which does not fit."""
    from roofline.kernels import sweep

    real = sweep.decode_grid

    def level(*records: Any, **options: Any) -> dict[str, Any]:
        result: dict[str, Any] = real(*records, **options)
        for values in result["values"].values():
            values[:], values[0] = 1.0, np.nan
        result["limit"][:], result["limit"][0] = 0, Limit.MEMORY
        return result

    monkeypatch.setattr(sweep, "decode_grid", level)
    best = best_over_deployments(
        "llama-3.1-8b", "dgx-h100", batch_per_gpu=1, context=1024, recipes=["bf16", "fp8"], boundary="accelerator"
    ).squeeze()
    assert (best["accelerators"].item(), best["recipe"].item()) == (1, "fp8")


def test_a_larger_candidate_set_is_never_worse() -> None:
    axes: dict[str, Any] = {"batch_per_gpu": [1, 4, 32, 128], "context": [1024, 8192, 65_536]}
    models, systems = ["llama-3.1-70b", "deepseek-r1"], ["dgx-h200", "gb300-nvl72"]
    sizes = [
        best_over_deployments(models, systems, **axes, recipes="fp8-block", most_accelerators=most)["tokens_per_mwh"]
        for most in (1, 4, 16, 64, None)
    ]
    for fewer, more in pairwise(sizes):
        assert (more.fillna(0.0) >= fewer.fillna(0.0)).all()
    assert (sizes[-1].fillna(0.0) > sizes[0].fillna(0.0)).any()
    one = best_over_deployments(models, systems, **axes, recipes=["fp8-block"])["tokens_per_mwh"]
    two = best_over_deployments(models, systems, **axes, recipes=["fp8-block", "fp8-block-kv8"])["tokens_per_mwh"]
    assert (two.fillna(0.0) >= one.fillna(0.0)).all()


def test_the_winner_can_be_asked_for_again() -> None:
    """The degrees, batch and recipe of a cell, given to `decode`, give its figures."""
    best = best_over_deployments("deepseek-r1", "gb300-nvl72", batch_per_gpu=16, context=8192, recipes=["nvfp4"])
    cell = best.squeeze()
    row = {name: int(cell[name]) for name in DEGREES}
    ds = rl.decode("deepseek-r1", "gb300-nvl72", cell["recipe"].item(), deployments=[row], batch=int(cell["batch"]),
                   context=8192)  # fmt: skip
    again = rl.rollup(ds).squeeze()
    assert int(cell["accelerators"]) == row["tp"] * row["pp"] * row["dp"]
    assert int(cell["batch"]) == 16 * int(cell["accelerators"])
    assert again["tokens_per_mwh"].item() == pytest.approx(cell["tokens_per_mwh"].item(), rel=1e-14)
    assert again["tpot"].item() == cell["tpot"].item()
    assert again["deployment"].item() == deployment_label(tuple(row.values()))  # type: ignore[arg-type]


def test_recipes_default_to_those_computed_as_meant() -> None:
    """No FP4 weights on a part without FP4 arithmetic unless they are named."""
    model, hopper, blackwell = (
        rl.Model.load("llama-3.3-70b"), rl.System.load("dgx-h100"), rl.System.load("dgx-b200"),
    )  # fmt: skip
    assert "nvfp4" in model.recipes
    assert [recipe.id for recipe in native_recipes(model, hopper)] == [r for r in model.recipes if r != "nvfp4"]
    assert [recipe.id for recipe in native_recipes(model, blackwell)] == list(model.recipes)
    axes: dict[str, Any] = {"batch_per_gpu": [1, 16], "context": [2048]}
    assert "nvfp4" not in best_over_deployments(model, hopper, **axes)["recipe"].values
    assert (best_over_deployments(model, hopper, **axes, recipes="nvfp4")["recipe"] == "nvfp4").all()
    assert "nvfp4" in best_over_deployments(model, blackwell, **axes)["recipe"].values
    only = model.replace(recipes=("nvfp4",))
    assert [recipe.id for recipe in native_recipes(only, hopper)] == ["nvfp4"]  # nothing else ships: run it widened
    oss = rl.Model.load("gpt-oss-120b")
    assert "mxfp4" in [recipe.id for recipe in native_recipes(oss, hopper)]  # BF16 activations: BF16 arithmetic


def test_where_nothing_runs_the_limit_says_why() -> None:
    best = best_over_deployments(
        ["llama-3.1-405b", "llama-3.1-8b"], "dgx-h100", batch_per_gpu=[1, 4096], context=[1024, 131_072, 1 << 20],
        recipes="bf16", most_accelerators=2,
    )  # fmt: skip
    limit, tokens = best["limit"], best["tokens_per_mwh"]
    assert (tokens.notnull() == (limit == 0)).all()
    assert (limit.sel(model="llama-3.1-405b", context=1024) == Limit.MEMORY).all()
    assert (limit.sel(context=1 << 20) == Limit.CONTEXT).all()
    small = limit.sel(model="llama-3.1-8b").squeeze()
    assert small.sel(batch_per_gpu=1, context=1024).item() == 0
    assert small.sel(batch_per_gpu=4096, context=131_072).item() == Limit.MEMORY
    ran = limit == 0
    for name in (*FIGURES, *DEGREES, "batch", "accelerators", "joules_per_token_at_boundary"):
        assert (best[name].notnull() == ran).all(), name
    assert ((best["recipe"] != "") == ran).all()
    bare = rl.System.load("dgx-h100").replace(accelerator__dense_flop_per_s={"fp8": 1e15})
    none = best_over_deployments("llama-3.1-8b", bare, batch_per_gpu=1, context=1024)
    assert none["limit"].item() == Limit.MATH_TYPE


def test_it_stands_alone() -> None:
    best = best_over_deployments(
        ["llama-3.1-8b", "mixtral-8x7b"], ["dgx-h100", "l40s"], batch_per_gpu=[1, 2], context=[512], facility="liquid",
        recipes=(name for name in ["bf16", "fp8"]), duty=0.9,
    )  # fmt: skip
    assert best["tokens_per_mwh"].dims == ("model", "system", "batch_per_gpu", "context")
    assert best["system_name"].values.tolist()[0] == "HGX H100"
    for name, variable in best.data_vars.items():
        assert variable.attrs["long_name"], name
        assert name in ("recipe", "limit") or variable.attrs["units"], name
    assert {key: best.attrs[key] for key in ("boundary", "basis", "vintage", "duty", "fidelity", "token_basis")} == {
        "boundary": "facility", "basis": "metered", "vintage": "", "duty": "0.9", "fidelity": "kernel",
        "token_basis": "output",
    }  # fmt: skip
    listed = {pair.split("=")[0] for pair in best.attrs["sheets"].split()}
    assert {"model/llama-3.1-8b", "model/mixtral-8x7b", "system/dgx-h100", "system/l40s-x8", "recipe/bf16",
            "recipe/fp8", "facility/liquid"} <= listed  # fmt: skip
    hot = best_over_deployments("llama-3.1-8b", "dgx-h100", batch_per_gpu=1, context=512, recipes="bf16")
    cool = best_over_deployments("llama-3.1-8b", "dgx-h100", batch_per_gpu=1, context=512, recipes="bf16",
                                 facility="liquid")  # fmt: skip
    assert cool["tokens_per_mwh"].item() == pytest.approx(hot["tokens_per_mwh"].item() * 1.3 / 1.1, rel=1e-12)


def test_ideal_promises_no_less() -> None:
    axes: dict[str, Any] = {"batch_per_gpu": [1, 32], "context": [4096], "recipes": "fp8", "boundary": "accelerator"}
    bound, kernel = (
        best_over_deployments("mixtral-8x7b", "dgx-h100", **axes, fidelity=fidelity)["tokens_per_s_per_gpu"]
        for fidelity in ("ideal", "kernel")
    )
    assert isinstance(bound, xr.DataArray)
    assert (bound > kernel).all()


def test_progress_counts_pairs_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    best_over_deployments(
        ["llama-3.1-8b", "mixtral-8x7b"], ["dgx-h100", "dgx-h200"], batch_per_gpu=1, context=512, recipes="bf16",
        progress=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"batch_per_gpu": 0}, "batch_per_gpu: 0 "),
        ({"batch_per_gpu": []}, "batch_per_gpu: no values"),
        ({"context": 1.5}, "context: 1.5 "),
        ({"most_accelerators": 0}, "most_accelerators: 0 "),
        ({"most_accelerators": -4}, "most_accelerators: -4 "),
        ({"boundary": "wall"}, "boundary 'wall'"),
        ({"basis": "tdp"}, "basis 'tdp'"),
        ({"duty": 0}, "duty 0"),
        ({"basis": "provisioned", "vintage": "v0"}, "vintage 'v0': none of dgx-h100; these systems have semianalysis"),
        ({"vintage": "semianalysis-v1"}, "vintage 'semianalysis-v1' is a provisioned figure"),
        ({"recipes": []}, "recipes: none given"),
        ({"recipes": "fp9"}, "no recipe named 'fp9'"),
        ({"fidelity": "serving"}, "fidelity 'serving'"),
        ({"facility": "space"}, "no facility named 'space'"),
    ],
)
def test_bad_input_is_named(given: dict[str, Any], told: str) -> None:
    options: dict[str, Any] = {"batch_per_gpu": 1, "context": 512} | given
    with pytest.raises(rl.InputError) as error:
        best_over_deployments("llama-3.1-8b", "dgx-h100", **options)
    assert str(error.value).startswith(told)
