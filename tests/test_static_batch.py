"""`kernel` fidelity against published static batches: bench/static_batch.py and its table of 68 rows."""

from __future__ import annotations

import numpy as np
import pytest

from bench import static_batch


@pytest.fixture(scope="module")
def rows() -> list[static_batch.Row]:
    return static_batch.score()


def test_every_published_row_has_a_prediction(rows: list[static_batch.Row]) -> None:
    assert len(rows) == 68
    assert all(np.isfinite(row.predicted) and row.predicted > 0 for row in rows)


def test_median_error_stays_where_it_is(rows: list[static_batch.Row]) -> None:
    assert static_batch.median_error(rows) < 0.11
    for gpu in ("H100", "H200", "A100-80GB", "L40S"):
        assert static_batch.median_error([row for row in rows if row.gpu == gpu]) < 0.16  # no host time: a little fast


def test_llama_rows_without_host_limits_are_within_a_quarter(rows: list[static_batch.Row]) -> None:
    """LLaMA on NVLink parts: large batches and long steps, where no stack overhead hides behind the prediction."""
    errors = [row.error for row in rows if row.model.startswith("LLaMA") and row.gpu != "L40S"]
    assert len(errors) == 24
    assert max(abs(e) for e in errors) < 0.25
