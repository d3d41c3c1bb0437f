"""The picture and the tables of scores hold every row that counts, at its place, and say what they leave out."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from roofline.errors import InputError
from roofline.report.files import save_figure, save_table
from roofline.report.parity import NAMES, NEAR, WIDEST, parity_picture, speeds
from roofline.report.scores import COLUMNS, UNITS, rows_table, score_table
from roofline.validation.measured import read
from roofline.validation.predict import Predictions
from roofline.validation.run import SHIPPED
from roofline.validation.score import FIELDS, QUANTITIES, Scores, score, values_of


@pytest.fixture(scope="module")
def scores() -> Scores:
    """The shipped points with predictions made up from the measurements: half too slow, each tenth none at all."""
    measured = read(SHIPPED)
    n = len(measured.points)
    factor = np.where(np.arange(n) % 2, 1.1, 1.5)
    factor[::10] = np.nan
    arrays = {name: np.full(n, np.nan) for name in Predictions.__dataclass_fields__}
    for mine, theirs in FIELDS.values():
        if theirs:
            arrays[theirs] = factor * values_of(measured.points, mine)
    reason = np.array(["left out" if i % 10 == 0 else "" for i in range(n)], dtype=object)
    return score(measured, Predictions(**arrays | {"reason": reason}))


@pytest.fixture(scope="module")
def figure(scores: Scores) -> Figure:
    return parity_picture(scores)


def test_every_row_that_counts_is_a_dot_at_its_place(scores: Scores, figure: Figure) -> None:
    assert set(NAMES) <= set(QUANTITIES)
    for ax, quantity in zip(figure.axes[: len(NAMES)], NAMES, strict=True):
        assert ax.get_title(loc="left").startswith(NAMES[quantity][0])
        measured, predicted, _ = scores.pairs(quantity)
        dots = np.concatenate([dots.get_offsets() for dots in ax.collections if len(dots.get_offsets()) > 0])
        drawn = sorted(map(tuple, dots[dots[:, 0] > 0].tolist()))
        assert set(zip(measured.tolist(), predicted.tolist(), strict=True)) <= set(drawn)
        assert ax.get_xscale() == ax.get_yscale() == "log"
        assert ax.get_xlim() == ax.get_ylim()
        assert f"{measured.size} rows" in ax.get_title(loc="left")


def test_words_at_an_axis_stand_apart(figure: Figure) -> None:
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [text.get_window_extent() for text in ax.get_xticklabels() if text.get_text()]
        assert len(boxes) >= 2
        for one, other in pairwise(boxes):
            assert one.x1 < other.x0


def test_one_colour_and_marker_a_source_and_none_twice(scores: Scores, figure: Figure) -> None:
    by_source = figure.axes[-1]
    names = [text.get_text().split("  ")[0] for text in by_source.get_yticklabels()]
    assert names == sorted({point.source for point in scores.points})
    looks = [
        (to_hex(dots.get_facecolor()[0]), len(dots.get_paths()[0].vertices))
        for dots in by_source.collections
        if len(dots.get_offsets()) > 0
    ]
    assert len(looks) == len(names)
    assert len(set(looks)) == len(looks)


def test_speed_is_of_tpot_where_there_is_one(scores: Scores) -> None:
    found = speeds(scores)
    for row, ratio in zip(found.row.tolist(), found.ratio.tolist(), strict=True):
        point, factor = scores.points[row], 1.1 if row % 2 else 1.5
        assert ratio == pytest.approx(1.0 / factor if point.tpot_s is not None else factor)
        assert row % 10
    countable = [p for p in scores.points if p.tpot_s is not None or p.output_tok_s is not None or p.total_tok_s]
    assert 0.85 * len(countable) < found.row.size <= len(countable)


def test_no_dot_of_residuals_leaves_its_panel(figure: Figure) -> None:
    for ax in figure.axes[-2:]:
        for dots in ax.collections:
            for x, y in dots.get_offsets():
                assert ax.get_xlim()[0] <= x <= ax.get_xlim()[1] or x == 0
                assert min(ax.get_ylim()) <= y <= max(ax.get_ylim())
    assert NEAR < WIDEST


def test_one_absurd_prediction_does_not_squeeze_the_others(scores: Scores) -> None:
    values = {name: held.copy() for name, held in scores.predicted_values.items()}
    values["tpot_s"][np.flatnonzero(np.isfinite(values["tpot_s"]))[0]] = 1e9
    measured, _, _ = scores.pairs("tpot")
    ax = parity_picture(replace(scores, predicted_values=values)).axes[0]
    assert ax.get_xlim()[1] <= 2.0 * WIDEST * measured.max()


def test_the_picture_says_what_it_leaves_out(scores: Scores, figure: Figure, tmp_path: Path) -> None:
    words = " ".join(text.get_text() for text in figure.texts)
    assert f"{len(scores.points)} rows of points.csv" in words
    assert f"{sum(one.rows for one in scores.unpredicted)} without a prediction" in words
    box = max(text.get_window_extent().x1 for text in figure.texts)
    assert box <= figure.bbox.x1
    for ax in figure.axes:
        assert ax.title.get_window_extent().x1 <= figure.bbox.x1
    assert save_figure(figure, tmp_path / "x.png").stat().st_size > 20_000


def test_nothing_predicted_is_nothing_to_draw(scores: Scores) -> None:
    n = len(scores.points)
    arrays = {name: np.full(n, np.nan) for name in Predictions.__dataclass_fields__}
    none = score(scores.measured, Predictions(**arrays | {"reason": np.full(n, "no sheet", dtype=object)}))
    with pytest.raises(InputError, match=r"points\.csv: no row without flags has a prediction"):
        parity_picture(none)


def test_rows_come_back_from_their_file(scores: Scores, tmp_path: Path) -> None:
    path = save_table(rows_table(scores), tmp_path / "rows.csv")
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["row_id"] for row in rows] == [point.row_id for point in scores.points]
    for i, (row, point) in enumerate(zip(rows, scores.points, strict=True)):
        assert (row["source"], row["model"], row["gpu"]) == (point.source, point.model, point.gpu)
        assert row["reason"] == ("left out" if i % 10 == 0 else "")
        for name in FIELDS:
            for which, values in (("measured", scores.measured_values), ("predicted", scores.predicted_values)):
                cell = row[f"{which}_{name}"]
                assert (float(cell) if cell else math.nan) == pytest.approx(values[name][i], rel=0, nan_ok=True)


def test_a_table_of_scores_has_a_row_a_line(scores: Scores) -> None:
    held = score_table(scores)
    assert held.names == [name for name, _ in COLUMNS]
    assert len(held) == len(scores.lines)
    for row, line in zip(held.rows(), scores.lines, strict=True):
        assert (row["quantity"], row["by"], row["group"]) == (line.quantity, line.by, line.group)
        assert row["rows"] == line.rows.n
        assert row["mape"] == (line.rows.mape if line.rows.n else None)
        assert row["bias_of_groups"] == (line.groups.bias if line.rows.n else None)
        assert row["coverage"] is None
    assert held.attrs["data_sha256"] == scores.measured.digest
    assert set(UNITS) == set(FIELDS)
    assert rows_table(scores)["measured_tpot_s"].meaning == "measured [s]"
