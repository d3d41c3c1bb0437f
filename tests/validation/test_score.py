"""Scores against a second implementation in plain Python, and the laws that any score obeys."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.errors import InputError
from roofline.validation.measured import Measured, read
from roofline.validation.predict import Predictions
from roofline.validation.score import BY, FIELDS, QUANTITIES, Errors, errors, octave, quantile, row_records, score

COLUMNS = (
    *("source", "model", "gpu", "metric_kind", "num_gpus", "framework", "concurrency_or_batch", "output_tok_s_total"),
    *("total_tok_s", "ttft_ms", "tpot_ms", "energy_j_per_output_token", "avg_gpu_power_w", "row_id", "flags"),
)

POSITIVE = st.floats(1e-3, 1e3, allow_nan=False)
ROWS = st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=12)


def measured(tmp_path: Path, rows: list[dict[str, Any]]) -> Measured:
    """A table of rows, what they leave out blank."""
    base = {"source": "here", "model": "m", "gpu": "g", "metric_kind": "online_serving"}
    lines = [",".join(COLUMNS)]
    lines += [",".join(str({**base, **row}.get(name, "")) for name in COLUMNS) for row in rows]
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read(path)


def predicted(n: int, reason: list[str] | None = None, **values: list[float]) -> Predictions:
    """Predictions with NaN where nothing is given."""
    fields = Predictions.__dataclass_fields__
    arrays: dict[str, Any] = {name: np.array(values.get(name, [math.nan] * n), dtype=float) for name in fields}
    return Predictions(**arrays | {"reason": np.array(reason or [""] * n, dtype=object)})


def hazen(values: list[float], share: float) -> float:
    """Straight between points (i - 1/2) / n, as Hazen (1914) plots them."""
    ordered = sorted(values)
    place = share * len(ordered) - 0.5
    if place <= 0:
        return ordered[0]
    if place >= len(ordered) - 1:
        return ordered[-1]
    low = int(place)
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])


@given(ROWS)
def test_errors_are_those_of_plain_python(rows: list[tuple[float, float]]) -> None:
    true, found = (np.array(column) for column in zip(*rows, strict=True))
    held = errors(true, found, np.ones(len(rows)))
    ape = [abs(p - m) / m for m, p in rows]
    assert held.n == len(rows)
    assert held.mdape == pytest.approx(median(ape), rel=1e-9, abs=1e-12)
    assert held.mape == pytest.approx(sum(min(1.0, e) for e in ape) / len(ape), rel=1e-9, abs=1e-12)
    assert held.p90 == pytest.approx(hazen(ape, 0.9), rel=1e-9, abs=1e-12)
    assert held.bias == pytest.approx(math.exp(median(math.log(p / m) for m, p in rows)), rel=1e-9)
    assert math.isnan(held.coverage)


@given(ROWS, st.floats(0.5, 2.0), st.randoms())
def test_laws_of_errors(rows: list[tuple[float, float]], factor: float, random: Any) -> None:
    true, found = (np.array(column) for column in zip(*rows, strict=True))
    alike = np.ones(len(rows))
    held = errors(true, found, alike)
    assert held.mape <= 1.0
    assert held.mdape <= held.p90 + 1e-12
    exact = errors(true, true, alike)
    assert (exact.mdape, exact.mape, exact.p90, exact.bias) == (0.0, 0.0, 0.0, 1.0)
    assert errors(true, factor * true, alike).bias == pytest.approx(factor)
    assert errors(true, found, 7.0 * alike).mdape == pytest.approx(held.mdape)
    scaled = errors(3.0 * true, 3.0 * found, alike)
    assert scaled.mape == pytest.approx(held.mape, abs=1e-12)
    order = list(range(len(rows)))
    random.shuffle(order)
    assert errors(true[order], found[order], alike).p90 == held.p90


@given(st.lists(st.tuples(POSITIVE, st.integers(1, 4)), min_size=1, max_size=8), st.floats(0.0, 1.0))
def test_a_quantile_stays_among_its_values_and_rises(values: list[tuple[float, int]], share: float) -> None:
    held, weights = (np.array(column, dtype=float) for column in zip(*values, strict=True))
    low, high = quantile(held, weights, share), quantile(held, weights, min(1.0, share + 0.1))
    assert held.min() <= low <= high <= held.max()
    assert quantile(held, np.ones(held.size), share) == pytest.approx(hazen(held.tolist(), share))


def test_nothing_has_no_errors() -> None:
    none = errors(np.array([]), np.array([]), np.array([]))
    assert none.n == 0
    assert all(math.isnan(v) for v in (none.mdape, none.mape, none.p90, none.bias, none.coverage))


def test_one_useless_row_adds_no_more_than_one(tmp_path: Path) -> None:
    table = measured(tmp_path, [{"tpot_ms": 10.0}, {"tpot_ms": 10.0}])
    line = score(table, predicted(2, tpot_s=[0.01, 10.0])).line("tpot")
    assert line.rows.mape == pytest.approx(0.5)
    assert line.rows.p90 > 1.0


def test_a_row_counts_where_it_has_both_numbers(tmp_path: Path) -> None:
    rows = [{"tpot_ms": 10.0, "ttft_ms": 100.0}, {"tpot_ms": 20.0}, {"ttft_ms": 50.0}, {"tpot_ms": 0.0}]
    found = predicted(4, tpot_s=[0.011, math.nan, 0.01, 0.01], ttft_s=[0.1, 0.1, math.inf, 0.1])
    scores = score(measured(tmp_path, rows), found)
    tpot, ttft = scores.line("tpot"), scores.line("ttft")
    assert (tpot.measured, tpot.rows.n) == (2, 1)
    assert tpot.rows.mdape == pytest.approx(0.1)
    assert (ttft.measured, ttft.rows.n, ttft.rows.mdape) == (2, 1, 0.0)
    with pytest.raises(KeyError):
        scores.line("power")


def test_throughput_is_output_tokens_or_where_only_the_sum_was_measured_that(tmp_path: Path) -> None:
    rows = [
        {"output_tok_s_total": 100.0, "total_tok_s": 200.0},
        {"total_tok_s": 300.0},
        {"output_tok_s_total": 100.0, "total_tok_s": 200.0},
    ]
    found = predicted(3, output_tok_s=[110.0, 1.0, math.nan], total_tok_s=[900.0, 330.0, 200.0])
    line = score(measured(tmp_path, rows), found).line("throughput")
    assert (line.measured, line.rows.n) == (3, 2)
    assert line.rows.mape == pytest.approx(0.1)
    assert line.rows.bias == pytest.approx(1.1)


def test_power_is_also_scored_at_the_measured_time(tmp_path: Path) -> None:
    rows = [{"tpot_ms": 10.0, "avg_gpu_power_w": 500.0}, {"avg_gpu_power_w": 500.0}]
    machine = {"idle_w": 100.0, "tdp_w": 700.0, "power_a": 0.5, "power_b": 0.8, "memory_s": 0.006, "compute_s": 0.001}
    given = {name: [value, value] for name, value in machine.items()}
    found = predicted(2, power_w=[400.0, 400.0], **given)
    scores = score(measured(tmp_path, rows), found)
    assert scores.line("power").rows.n == 2
    line = scores.line("power_given_tpot")
    assert (line.measured, line.rows.n) == (1, 1)
    draw = found.power_at(np.array([0.01, 0.01]))[0]
    assert 100.0 < draw <= 700.0
    assert line.rows.mape == pytest.approx(abs(draw - 500.0) / 500.0)


def test_flagged_rows_are_scored_apart(tmp_path: Path) -> None:
    rows = [{"tpot_ms": 10.0}, {"tpot_ms": 10.0, "flags": "duplicate"}, {"tpot_ms": 10.0, "flags": "mtp_suspected"}]
    why = ["", "", "no sheet of model m"]
    scores = score(measured(tmp_path, rows), predicted(3, why, tpot_s=[0.01, 0.03, math.nan]))
    clean, apart = scores.line("tpot"), scores.line("tpot", flagged=True)
    assert (clean.rows.n, clean.rows.mdape) == (1, 0.0)
    assert (apart.measured, apart.rows.n) == (2, 1)
    assert apart.rows.mdape == pytest.approx(2.0)
    assert [(one.reason, one.flagged, one.rows) for one in scores.unpredicted] == [(why[2], True, 1)]
    assert scores.pairs("tpot")[2].tolist() == [0]
    assert scores.pairs("tpot", flagged=None)[2].tolist() == [0, 1]


def test_groups_count_alike_however_many_rows_they_have(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"tpot_ms": 10.0}] * 9 + [{"tpot_ms": 10.0, "gpu": "other"}]
    line = score(measured(tmp_path, rows), predicted(10, tpot_s=[0.011] * 9 + [0.015])).line("tpot")
    assert (line.rows.n, line.groups.n) == (10, 2)
    assert line.rows.mape == pytest.approx(0.14)
    assert line.groups.mape == pytest.approx(0.3)
    assert line.rows.mdape == pytest.approx(0.1)


def test_every_grouping_splits_all_rows(tmp_path: Path) -> None:
    rows = [
        {"tpot_ms": 10.0, "source": source, "model": model, "framework": framework, "concurrency_or_batch": batch}
        for source, model, framework, batch in (("a", "x", "vLLM", 1), ("a", "y", "", 3), ("b", "y", "vLLM", ""))
    ]
    scores = score(measured(tmp_path, rows), predicted(3, tpot_s=[0.01, 0.02, 0.01]))
    for by in BY:
        parts = [line for line in scores.lines if line.by == by and line.quantity == "tpot"]
        assert sum(line.rows.n for line in parts) == 3
    assert [line.group for line in scores.lines if line.by == "batch"] == ["1", "2-3", "unknown"]
    assert scores.line("tpot", "model", "y").rows.mape == pytest.approx(0.5)
    assert scores.line("tpot", "framework", "unknown").rows.mdape == pytest.approx(1.0)


@given(st.integers(1, 2**20))
def test_an_octave_holds_its_batch(batch: int) -> None:
    ends = [int(end) for end in octave(float(batch)).split("-")]
    assert ends[0] <= batch <= ends[-1]
    assert ends[-1] == 2 * ends[0] - 1


def test_a_batch_that_is_not_known_has_no_octave() -> None:
    assert octave(None) == octave(0.0) == "unknown"


def test_coverage_is_of_rows_with_a_band(tmp_path: Path) -> None:
    rows = [{"tpot_ms": 10.0}, {"tpot_ms": 10.0}, {"tpot_ms": 10.0}]
    low, high = np.array([0.009, 0.011, math.nan]), np.array([0.012, 0.012, math.nan])
    found = predicted(3, tpot_s=[0.01, 0.0115, 0.01])
    scores = score(measured(tmp_path, rows), found, bands={"tpot_s": (low, high)})
    assert scores.line("tpot").rows.coverage == pytest.approx(0.5)
    records = list(row_records(scores))
    assert records[0]["predicted_tpot_s_low"] == 0.009
    assert math.isnan(records[2]["predicted_tpot_s_high"])


def test_reasons_are_counted_the_most_rows_first(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"tpot_ms": 10.0}] * 4
    scores = score(measured(tmp_path, rows), predicted(4, ["b", "a", "a", ""], tpot_s=[math.nan] * 3 + [0.01]))
    assert [(one.reason, one.rows) for one in scores.unpredicted] == [("a", 2), ("b", 1)]


def test_a_record_has_every_number_of_its_row(tmp_path: Path) -> None:
    rows = [{"row_id": "r1", "tpot_ms": 10.0, "ttft_ms": 20.0, "output_tok_s_total": 5.0, "avg_gpu_power_w": 600.0}]
    found = predicted(1, tpot_s=[0.02], power_w=[500.0])
    (record,) = row_records(score(measured(tmp_path, rows), found, kind=("closed",)))
    assert (record["row_id"], record["kind"], record["reason"]) == ("r1", "closed", "")
    assert record["measured_tpot_s"] == pytest.approx(0.01)
    assert (record["measured_power_w"], record["predicted_power_w"]) == (600.0, 500.0)
    assert math.isnan(record["predicted_ttft_s"])
    assert math.isnan(record["measured_joules_per_token"])
    assert {name for name in record if name.startswith("measured_")} == {f"measured_{name}" for name in FIELDS}


def test_scores_are_the_same_again(tmp_path: Path) -> None:
    rows = [{"tpot_ms": 10.0 + i, "gpu": f"g{i % 3}", "concurrency_or_batch": 2**i} for i in range(8)]
    table, found = measured(tmp_path, rows), predicted(8, tpot_s=[0.011 + 0.001 * i for i in range(8)])
    first, again = score(table, found), score(table, found)
    # NaN, where there is no band, is not equal to itself.
    assert repr(first.lines) == repr(again.lines)
    assert {line.quantity for line in first.lines} == {"tpot"} < set(QUANTITIES)
    assert isinstance(first.lines[0].rows, Errors)


def test_bad_questions_are_refused(tmp_path: Path) -> None:
    table = measured(tmp_path, [{"tpot_ms": 10.0}])
    with pytest.raises(InputError, match="by colour: rows are grouped by source, gpu"):
        score(table, predicted(1), by=("colour",))
    with pytest.raises(ValueError, match="2 predictions for 1 points"):
        score(table, predicted(2))
