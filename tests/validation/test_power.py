"""Coefficients of draw: the fit finds what data were made with, keeps apart what it must, and its sheets agree."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roofline.specs import Accelerator, Efficiency, Recipe
from roofline.specs.check import check
from roofline.specs.pack.kit import pack_kit
from roofline.validation import fitted_sheets
from roofline.validation.calibrate import calibrate
from roofline.validation.conditions import Case, case_of
from roofline.validation.measured import read
from roofline.validation.power import FEWEST, HOW, PowerFit, best_share, calibrate_power
from roofline.validation.predict import evaluate, predict, prepare
from roofline.validation.run import SHIPPED

HEADER = (
    "row_id,source,model,gpu,num_gpus,weight_dtype,framework,tp,isl,osl,concurrency_or_batch,metric_kind,"
    "ttft_ms,tpot_ms,avg_gpu_power_w,energy_j_per_output_token,flags"
)
COLUMNS = HEADER.split(",")
A, B = 3.2, 1.1
LOADS = (2, 8, 24, 64, 128)
Rows = list[dict[str, str]]


def table(path: Path, rows: Rows) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Closed loops that draw as (A, B) say at the times they take, with errors of 20 % of times and 6 % of draw."""
    rows = []
    for model, tp in (("Llama-3.1-8B", 1), ("Qwen3-14B", 1), ("Qwen3-32B", 2), ("Llama-3.3-70B", 4)):
        for load in LOADS:
            row = dict.fromkeys(COLUMNS, "")
            row |= {"row_id": f"{model}-{load}", "source": "made", "model": model, "gpu": "H100", "num_gpus": str(tp)}
            row |= {"weight_dtype": "bf16", "framework": "vLLM", "tp": str(tp), "isl": "1024", "osl": "512"}
            row |= {"concurrency_or_batch": str(load), "metric_kind": "online_serving", "tpot_ms": "1"}
            rows.append(row)
    path = table(tmp_path_factory.mktemp("made") / "made.csv", rows)
    cases = [case for case in map(case_of, read(path).points) if isinstance(case, Case)]
    assert len(cases) == len(rows)
    found, random = predict(cases), np.random.default_rng(1)
    time_s = found.tpot_s * np.exp(random.normal(0.0, 0.2, len(rows)))
    ones = np.ones(len(rows))
    watts = replace(found, power_a=A * ones, power_b=B * ones).power_at(time_s)
    watts *= np.exp(random.normal(0.0, 0.06, len(rows)))
    joules = watts * [case.accelerators for case in cases] / found.output_tok_s
    for row, *values in zip(rows, time_s, watts, joules, strict=True):
        row |= {"tpot_ms": f"{1e3 * values[0]:.6g}", "avg_gpu_power_w": f"{values[1]:.6g}"}
        row |= {"energy_j_per_output_token": f"{values[2]:.6g}"}
    return rows


def fit_of(path: Path, rows: Rows, leave_one_out: bool = False) -> PowerFit:
    (found,) = calibrate_power(table(path / "rows.csv", rows), leave_one_out=leave_one_out)
    return found


def test_it_finds_what_data_were_made_with(tmp_path: Path, made: Rows) -> None:
    """Whatever the errors of times: draw is fitted where a token takes the time that was measured."""
    found = fit_of(tmp_path, made)
    assert (found.generation, found.accelerators, found.rows) == ("hopper", ("h100-sxm",), len(made))
    assert [one.name for one in found.constants] == ["hopper.power.draw_a", "hopper.power.draw_b"]
    for constant, truth in zip(found.constants, (A, B), strict=True):
        assert constant.low < truth < constant.high
        assert constant.identified
        assert not constant.at_bound
        assert constant.value == pytest.approx(truth, rel=0.25)
    fitted = found.score("fitted", "power_given_tpot").errors.mdape
    assert fitted < 0.06
    assert fitted < found.score("before", "power_given_tpot").errors.mdape
    assert fitted < found.score("constant", "power_given_tpot").errors.mdape
    assert found.score("fitted", "joules_per_token").errors.n == len(made)
    with pytest.raises(KeyError):
        found.score("without-model", "power_given_tpot")


def test_the_order_of_rows_does_not_count(tmp_path: Path, made: Rows) -> None:
    assert fit_of(tmp_path, made[::-1], leave_one_out=True) == fit_of(tmp_path, made, leave_one_out=True)


def test_a_model_is_scored_by_what_the_others_say(tmp_path: Path, made: Rows) -> None:
    """Twice the draw of one model shows in its own score, and hardly a bit of it in what it is predicted."""
    double = [
        row | {"avg_gpu_power_w": f"{2 * float(row['avg_gpu_power_w']):.6g}"} if row["model"] == "Qwen3-14B" else row
        for row in made
    ]
    plain, changed = (
        {one.model: one for one in fit_of(tmp_path, rows, leave_one_out=True).groups} for rows in (made, double)
    )
    assert set(plain) == {"Llama-3.1-8B", "Qwen3-14B", "Qwen3-32B", "Llama-3.3-70B"}
    assert all(one.rows == len(LOADS) for one in plain.values())
    assert all(one.without_model < 0.12 for one in plain.values())
    assert 0.44 < changed["Qwen3-14B"].without_model < 0.56
    assert changed["Qwen3-14B"].fitted < changed["Qwen3-14B"].without_model


def test_rows_that_do_not_count(tmp_path: Path, made: Rows) -> None:
    """Without a power, flagged, or of a generation with too few."""
    some = [row | {"avg_gpu_power_w": ""} if i % 2 else row | {"flags": "duplicate"} for i, row in enumerate(made)]
    assert calibrate_power(table(tmp_path / "none.csv", some)) == ()
    assert calibrate_power(table(tmp_path / "few.csv", made[: FEWEST - 1])) == ()
    other = [row | {"gpu": "B200", "row_id": f"b{i}"} for i, row in enumerate(made[: FEWEST - 1])]
    assert fit_of(tmp_path, made + other) == fit_of(tmp_path, made)


def test_a_single_model_is_not_scored_without_itself(tmp_path: Path, made: Rows) -> None:
    found = fit_of(tmp_path, [row | {"model": "Qwen3-14B", "num_gpus": "1", "tp": "1"} for row in made], True)
    without = found.score("without-model", "power_given_tpot")
    assert (without.fits, without.errors.n) == (0, 0)


def test_the_best_share_is_best() -> None:
    measured = np.random.default_rng(3).uniform(0.3, 1.0, 41)
    found = best_share(measured)
    least = np.median(np.abs(found / measured - 1.0))
    for other in np.linspace(0.0, 1.0, 1001):
        assert least <= np.median(np.abs(other / measured - 1.0))


def test_a_mean_time_is_that_of_the_rate_where_sequences_are_known() -> None:
    """Rows of ML.ENERGY decode a known number of sequences; their time between tokens is a median, without prompts."""
    points = [p for p in read(SHIPPED).points if p.power_w]
    cases = [case for case in map(case_of, points) if isinstance(case, Case)]
    assert len(cases) == len(points)
    found = evaluate(prepare(cases))
    tpot_s, rate = (np.array([getattr(p, name) for p in points]) for name in ("tpot_s", "output_tok_s"))
    mean_s = found.mean_tpot_s(tpot_s, rate)
    steady = np.array([case.kind == "steady" for case in cases])
    assert 15 < steady.sum() < len(points)
    np.testing.assert_allclose((mean_s * rate)[steady], [c.load for c in cases if c.kind == "steady"], rtol=1e-12)
    np.testing.assert_array_equal(mean_s[~steady], tpot_s[~steady])
    assert np.median((mean_s / tpot_s)[steady]) > 1.02


def test_the_shipped_points_are_nearer_than_a_constant() -> None:
    """17 models on the H100 and no more than a row or three of each: as many as there are in the package."""
    (found,) = calibrate_power(SHIPPED)
    assert set(HOW) == {one.how for one in found.scores}
    assert found.rows >= 15
    outside = found.score("without-model", "power_given_tpot").errors
    assert outside.mape < 0.10
    assert outside.mape < 0.7 * found.score("constant", "power_given_tpot").errors.mape


def test_sheets_have_what_was_fitted(tmp_path: Path, made: Rows) -> None:
    timed = [row | {"ttft_ms": "60"} for row in made]
    path = table(tmp_path / "timed.csv", timed)
    power = calibrate_power(path)
    written = fitted_sheets.write(calibrate(path, leave_one_out=False), tmp_path / "new", power)
    assert tmp_path / "new" / "accelerators" / "h100-sxm.yaml" in written
    sheet = Accelerator.load("h100-sxm", folders=[tmp_path / "new"])
    assert (sheet.power.draw_a, sheet.power.draw_b) == tuple(one.value for one in power[0].constants)
    shipped = Accelerator.load("h100-sxm")
    assert sheet.model_dump(exclude={"power", "sources"}) == shipped.model_dump(exclude={"power", "sources"})
    assert (sheet.power.tdp_w, sheet.power.idle_w) == (shipped.power.tdp_w, shipped.power.idle_w)
    source = sheet.source_of("power.draw_a")
    assert source is not None
    assert source.grade == "measured"
    assert "timed.csv (sha256 " in source.ref
    assert f"{len(made)} rows" in source.ref
    assert check(tmp_path / "new") == []


def test_tiles_of_experts_reach_their_kit() -> None:
    """By the format of the weights; none in `ideal`, none where a sheet says nothing."""
    hopper, other = Accelerator.load("h100-sxm"), Accelerator.load("b200-hgx")
    assert Efficiency.load("b200").experts_tile_rows == {}
    for recipe, tile in (("fp8-block", 64), ("mxfp4", 16), ("bf16", 1), ("fp8", 1)):
        made = Recipe.load(recipe)
        for accelerator, fidelity, wanted in ((hopper, "kernel", tile), (hopper, "ideal", 1), (other, "kernel", 1)):
            record = pack_kit(made, accelerator, fidelity).record  # type: ignore[arg-type]
            assert record is not None
            assert record["expert_tile"] == wanted
