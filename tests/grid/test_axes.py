"""What an axis takes, and that every refusal names the axis and the value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.grid import axes
from roofline.grid.deployments import MOST_STAGES, candidates

WRONG = {
    "negative": (-3, "-3"),
    "zero": (0, "0"),
    "a fraction": (1.5, "1.5"),
    "NaN": (float("nan"), "nan"),
    "infinite": (float("inf"), "inf"),
    "minus infinite": (float("-inf"), "-inf"),
    "text": ("eight", "'eight'"),
    "a number as text": ("8", "'8'"),
    "a truth value": (True, "true"),
    "nothing": (None, "None"),
    "complex": (2j, "2j"),
    "a mapping": ({"a": 1}, "a"),
    "too large": ((1 << 40) + 1, str((1 << 40) + 1)),
    "beyond float64": (10**400, "1000000"),
    "NaN of numpy": (np.float64("nan"), "nan"),
}
AXES = ("tp", "pp", "dp", "ep", "moe_tp", "batch", "context", "new_tokens")


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("several", [False, True], ids=["alone", "in a list"])
def test_a_wrong_value_is_named_with_its_axis(kind: str, several: bool) -> None:
    value, told = WRONG[kind]
    with pytest.raises(rl.InputError) as error:
        axes.counts("batch", [1, value] if several else value)
    assert str(error.value).startswith("batch: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), "x", True])
def test_every_axis_of_decode_refuses(axis: str, value: Any) -> None:
    with pytest.raises(rl.InputError, match=rf"^{axis}: "):
        rl.decode("llama-3.1-8b", "dgx-h100", "bf16", **{axis: value})


@pytest.mark.parametrize("axis", ["batch", "isl", "chunk", "tp"])
@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), "x", True])
def test_every_axis_of_prefill_refuses(axis: str, value: Any) -> None:
    with pytest.raises(rl.InputError, match=rf"^{axis}: "):
        rl.prefill("llama-3.1-8b", "dgx-h100", "bf16", **{axis: value})


@pytest.mark.parametrize("value", [-1, 0.5, float("nan"), "", False, []])
def test_a_wrong_prefix_is_named(value: Any) -> None:
    with pytest.raises(rl.InputError, match=r"^cached: "):
        rl.prefill("llama-3.1-8b", "dgx-h100", "bf16", cached=value)


@pytest.mark.parametrize("axis", [*AXES, "isl"])
def test_an_empty_axis_is_named(axis: str) -> None:
    run = rl.prefill if axis == "isl" else rl.decode
    with pytest.raises(rl.InputError, match=rf"^{axis}: no values"):
        run("llama-3.1-8b", "dgx-h100", "bf16", **{axis: []})


@pytest.mark.parametrize("axis", ["tp", "batch", "context"])
def test_a_repeated_value_is_named(axis: str) -> None:
    with pytest.raises(rl.InputError, match=rf"^{axis}: a value is given twice in \[2, 4, 2\]"):
        rl.decode("llama-3.1-8b", "dgx-h100", "bf16", **{axis: [2, 4, 2]})


def test_scalars_take_one_value() -> None:
    for axis in ("new_tokens", "chunk", "cached"):
        run = rl.decode if axis == "new_tokens" else rl.prefill
        with pytest.raises(rl.InputError, match=rf"^{axis}: \[1, 2\] are 2 values; give one"):
            run("llama-3.1-8b", "dgx-h100", "bf16", **{axis: [1, 2]})


def test_lengths_must_hold_what_is_computed() -> None:
    with pytest.raises(rl.InputError, match=r"^context: 2 is less than new_tokens = 4"):
        rl.decode("llama-3.1-8b", "dgx-h100", "bf16", context=[2, 8], new_tokens=4)
    with pytest.raises(rl.InputError, match=r"^context: 2 is less than new_tokens = 4"):
        rl.largest_batch("llama-3.1-8b", "dgx-h100", "bf16", context=[2, 8], new_tokens=4)
    with pytest.raises(rl.InputError, match=r"^cached: 8 is not less than the shortest isl, 8"):
        rl.prefill("llama-3.1-8b", "dgx-h100", "bf16", isl=[8, 16], cached=8)


@pytest.mark.parametrize(
    "values",
    [[1, 2, 4], (1, 2, 4), range(1, 5), np.array([1, 2, 4]), np.array([1.0, 4.0]), {1: 0}.keys(), iter([4, 1]), 7,
     7.0, np.int32(7), np.array(7), [np.int64(3), 4.0], 1 << 40],
    ids=lambda values: type(values).__name__,
)  # fmt: skip
def test_whole_numbers_of_any_make_are_taken(values: Any) -> None:
    axis = axes.counts("batch", values)
    assert axis.dtype == np.int64
    assert axis.ndim == 1
    assert (axis >= 1).all()


def test_order_is_the_callers() -> None:
    assert axes.counts("batch", [16, 1, 4]).tolist() == [16, 1, 4]


@pytest.mark.parametrize(
    ("axis", "name", "near"),
    [("models", "llama-3.1-7b", "llama-3.1-8b"), ("systems", "dgx-h10", "dgx-h100"), ("recipes", "fp88", "fp8")],
)
def test_an_unknown_name_gets_the_nearest(axis: str, name: str, near: str) -> None:
    given = {"models": "llama-3.1-8b", "systems": "dgx-h100", "recipes": "bf16"} | {axis: name}
    with pytest.raises(rl.InputError) as error:
        rl.decode(**given)
    assert f"{name!r}; did you mean" in str(error.value)
    assert near in str(error.value)


@pytest.mark.parametrize("axis", ["models", "systems", "recipes"])
def test_sheets_are_given_once_and_at_least_one(axis: str) -> None:
    given: dict[str, Any] = {"models": "llama-3.1-8b", "systems": "dgx-h100", "recipes": "bf16"}
    with pytest.raises(rl.InputError, match=rf"^{axis}: none given"):
        rl.decode(**given | {axis: []})
    with pytest.raises(rl.InputError, match=rf"^{axis}: '{given[axis]}' is given twice"):
        rl.decode(**given | {axis: [given[axis]] * 2})
    with pytest.raises(rl.InputError, match="expected a name, a path or a mapping, found int"):
        rl.decode(**given | {axis: 5})


def test_sheets_of_any_make_are_taken() -> None:
    model, system = rl.Model.load("llama-3.1-8b"), rl.System.load("dgx-h100")
    changed = system.replace(id="what-if", scale_up__hop_s=0.0)
    ds = rl.decode((sheet for sheet in [model]), [system, changed], rl.Recipe.load("fp8"), batch=1, context=1024)
    assert ds["system"].values.tolist() == ["dgx-h100", "what-if"]
    part = rl.decode(model, rl.Accelerator.load("l40s"), "bf16", batch=1, context=1024)
    assert part["system"].values.tolist() == ["l40s-x8"]
    named = rl.decode(model, "l40s", "bf16", batch=1, context=1024)
    assert named["step_time"].item() == part["step_time"].item()


def test_recipes_default_to_those_the_models_ship_in() -> None:
    ds = rl.decode(["deepseek-v3", "llama-3.1-8b"], "dgx-h200", batch=1, context=1024)
    listed = [*rl.Model.load("deepseek-v3").recipes, *rl.Model.load("llama-3.1-8b").recipes]
    assert ds["recipe"].values.tolist() == list(dict.fromkeys(listed))


def test_fidelity_is_one_of_two() -> None:
    with pytest.raises(rl.InputError, match="fidelity 'exact': expected one of ideal, kernel"):
        rl.decode("llama-3.1-8b", "dgx-h100", "bf16", fidelity="exact")  # type: ignore[arg-type]


def test_the_product_of_degrees_in_order_with_defaults() -> None:
    found = axes.deployments(tp=[1, 8], dp=[1, 2], ep=[1, 2])
    assert found.rows == (
        (1, 1, 1, 1, 1), (1, 1, 1, 2, 1), (1, 1, 2, 1, 2), (1, 1, 2, 2, 1),
        (8, 1, 1, 1, 8), (8, 1, 1, 2, 4), (8, 1, 2, 1, 16), (8, 1, 2, 2, 8),
    )  # fmt: skip
    assert found.accelerators == [1, 1, 2, 2, 8, 8, 16, 16]


def test_explicit_rows_with_defaults() -> None:
    found = axes.deployments(rows=[{}, {"tp": 4, "pp": 2}, {"dp": 8, "ep": 8}, {"tp": 2, "dp": 4, "moe_tp": 3}])
    assert found.rows == ((1, 1, 1, 1, 1), (4, 2, 1, 1, 4), (1, 1, 8, 8, 1), (2, 1, 4, 1, 3))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "deployments: none given"),
        ([{"tp": 2}, {"tp": 4, "xp": 2}], r"deployments\[1\]: unknown xp; known: tp, pp, dp, ep, moe_tp"),
        ([{"tp": 0}], r"deployments\[0\].tp: 0 "),
        ([{"moe_tp": 1.5}], r"deployments\[0\].moe_tp: 1.5 "),
        ([{"tp": [1, 2]}], r"deployments\[0\].tp: \[1, 2\] are 2 values"),
        ([{"tp": 2}, {"tp": 2, "moe_tp": 2}], r"deployments\[1\]: the same as deployments\[0\]"),
        (["tp8"], r"deployments\[0\]: 'tp8' is not a mapping"),
        ([(8, 1, 1, 1, 8)], r"deployments\[0\]: \(8, 1, 1, 1, 8\) is not a mapping"),
        ({"tp": 8}, r"deployments: \{tp\} is not a list"),
        ("tp8", "deployments: 'tp8' is not a list"),
        (8, "deployments: 8 is not a list"),
        ([{"tp": 1 << 30, "dp": 1 << 30}], r"deployments\[0\]: tp=1073741824, .* over 1099511627776 accelerators"),
        ([{"ep": 1 << 30, "moe_tp": 1 << 30}], r"deployments\[0\]: .* over 1099511627776 accelerators"),
    ],
)
def test_bad_rows_are_named(rows: Any, told: str) -> None:
    with pytest.raises(rl.InputError, match=f"^{told}"):
        axes.deployments(rows=rows)


def test_degrees_whose_product_no_integer_holds_are_refused() -> None:
    with pytest.raises(rl.InputError, match=r"^deployment: tp=1099511627776"):
        rl.decode("llama-3.1-8b", "dgx-h100", "bf16", tp=1 << 40, dp=1 << 40)


def test_labels_say_what_differs_from_one() -> None:
    rows = {
        (1, 1, 1, 1, 1): "tp1",
        (8, 1, 1, 1, 8): "tp8",
        (4, 2, 1, 1, 4): "tp4 pp2",
        (1, 1, 8, 8, 1): "dp8 ep8",
        (2, 1, 4, 4, 2): "tp2 dp4 ep4 moe_tp2",
        (2, 1, 4, 1, 8): "tp2 dp4",
        (8, 1, 1, 1, 4): "tp8 moe_tp4",
        (8, 1, 1, 2, 1): "tp8 ep2 moe_tp1",
    }
    assert [axes.deployment_label(row) for row in rows] == list(rows.values())


def test_labels_are_unique_where_rows_are() -> None:
    found = axes.deployments(tp=[1, 2, 3, 8], pp=[1, 2], dp=[1, 2, 8], ep=[1, 2, 3, 8, 16], moe_tp=[1, 2, 4, 8])
    implied = axes.deployments(tp=[1, 2, 3, 8], pp=[1, 2], dp=[1, 2, 8], ep=[1, 2, 3, 8, 16])
    rows = tuple(dict.fromkeys(found.rows + implied.rows))
    labels = axes.Deployments(rows).labels
    assert len(rows) > 400
    assert len(set(labels)) == len(rows)


def test_candidates_are_legal_in_shape_and_ordered() -> None:
    dense, routed = rl.Model.load("llama-3.1-70b"), rl.Model.load("deepseek-v3")
    system = rl.System.load("gb300-nvl72")
    for model in (dense, routed):
        found = candidates(model, system, 64)
        assert len(set(found.rows)) == len(found.rows)
        assert found.accelerators == sorted(found.accelerators)
        for tp, pp, dp, ep, moe_tp in found.rows:
            assert tp <= system.scale_up.domain
            assert pp <= MOST_STAGES
            assert ep * moe_tp == tp * dp
            assert ep in (1, tp * dp)
            assert dp == 1 or model.is_moe
    assert (1, 1, 64, 64, 1) in candidates(routed, system).rows
    assert max(candidates(dense, system, 5).accelerators) == 4
    assert set(candidates(dense, system, 8).rows) < set(candidates(dense, system, 16).rows)


@pytest.mark.parametrize("value", [0, -1, 1.5, "8", float("nan")])
def test_candidates_refuse_a_size_that_is_none(value: Any) -> None:
    with pytest.raises(rl.InputError, match=r"^most_accelerators: "):
        candidates(rl.Model.load("llama-3.1-8b"), rl.System.load("dgx-h100"), value)
