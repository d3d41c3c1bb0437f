"""Predictions that have not seen a row's model, on the shipped points, and the bands of cases."""

from __future__ import annotations

import numpy as np
import pytest

import roofline as rl
from roofline.serving.bands import QUANTITIES, TIERS, factors
from roofline.validation.banding import Residuals, bands, cells
from roofline.validation.calibrate import CONSTANTS, Calibration, calibrate, shape_of
from roofline.validation.conditions import Case, case_of
from roofline.validation.fitting import Model
from roofline.validation.measured import read
from roofline.validation.predict import predict
from roofline.validation.run import SHIPPED
from roofline.validation.unseen import bands_of, kind_of, residuals, tiers_of


@pytest.fixture(scope="module")
def rows() -> Residuals:
    return residuals(SHIPPED)


@pytest.fixture(scope="module")
def found() -> Calibration:
    return calibrate(SHIPPED)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case for case in map(case_of, read(SHIPPED).points) if isinstance(case, Case)]


def test_every_quantity_kind_and_tier_of_the_points_is_there(rows: Residuals) -> None:
    known = {cell[:3] for cell in cells(rows)}
    assert {quantity for quantity, _, _ in known} == set(QUANTITIES)
    assert {tier for _, _, tier in known} == set(TIERS)
    assert ("throughput", "open", "calibrated") not in known  # what arrives is served
    assert np.isfinite(rows.log).all()
    assert np.abs(rows.log).max() < 5.0


def test_what_calibrate_leaves_out_is_kept(found: Calibration) -> None:
    models = {name for by, name in found.outside if by == "model"}
    assert len(models) > 1
    assert {by for by, _ in found.outside} == {"model", "gpu", "framework"}
    for values in found.outside.values():
        assert set(values) == set(found.values)
        assert values != found.values


def test_a_row_is_predicted_by_constants_fitted_without_its_model(rows: Residuals, found: Calibration) -> None:
    """As the fit itself predicts what it leaves out, but that batches are counted at the sheets' constants."""
    name = next(name for by, name in found.outside if by == "model" and name.startswith("llama"))
    mine = [i for i, case in enumerate(found.cases) if case.model.id == name]
    some = [found.cases[i] for i in mine]
    predicted = Model(some, CONSTANTS).predict(found.outside["model", name])[:, 0]
    log = np.log([found.points[i].tpot_s or np.nan for i in mine] / predicted)
    here = (rows.quantity == "tpot") & (rows.kind == "closed") & rows.counts & (rows.model == name)
    np.testing.assert_allclose(np.sort(rows.log[here]), np.sort(log[np.isfinite(log)]), atol=5e-3)


def test_calibrated_rows_come_again_as_if_nobody_had_fitted_their_stack(rows: Residuals) -> None:
    best = (rows.tier == "calibrated") & rows.counts
    again = ~rows.counts
    assert set(rows.tier[again]) == {"kernels"}
    assert again.sum() == sum(best & np.isin(rows.group, rows.group[again]))
    assert not np.isin(rows.log[again], rows.log[best]).any()


def test_models_of_one_shape_are_one(rows: Residuals) -> None:
    of_deepseek = set(rows.model[np.char.find(rows.group, "deepseek-") >= 0])
    assert of_deepseek == {"deepseek-r1"}
    assert shape_of(rl.Model.load("deepseek-r1")) == shape_of(rl.Model.load("deepseek-v3"))
    assert shape_of(rl.Model.load("llama-3.1-8b")) != shape_of(rl.Model.load("llama-3.1-70b"))


def test_so_few_points_give_bands_of_times_and_rates(rows: Residuals) -> None:
    made = bands(rows)
    assert {band.quantity for band in made} >= {"tpot", "ttft", "throughput"}
    assert all(band.low < 1.0 < band.high for band in made)


def test_cases_have_the_bands_that_ship(cases: list[Case]) -> None:
    predictions = predict(cases)
    held = bands_of(cases, predictions)
    for i, (case, (tier, _)) in enumerate(zip(cases, tiers_of(cases), strict=True)):
        ends = factors("tpot", kind_of(case), tier)
        assert ends is not None
        low, high = (end[i] for end in held["tpot_s"])
        np.testing.assert_allclose([low, high], np.array(ends) * predictions.tpot_s[i])
        if case.kind == "open":
            assert np.isnan(held["output_tok_per_s"][0][i])
    assert set(map(kind_of, cases)) >= {"closed", "open", "batch"}


def test_what_has_no_case_has_no_band(cases: list[Case]) -> None:
    both: list[Case | str] = [cases[0], "no sheet of it"]
    held = bands_of(both, predict(both))
    assert tiers_of(both)[1] == ("", "")
    assert np.isfinite(held["tpot_s"][0][0])
    assert all(np.isnan(end[1]) for ends in held.values() for end in ends)
