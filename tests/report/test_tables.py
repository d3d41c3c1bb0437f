"""A Dataset as rows: every cell once, labels as coordinates say, units in the header."""

from __future__ import annotations

import numpy as np
import pytest

from roofline.report.tables import compact, meanings, number, prefixed, table, words_of
from tests.report.synthetic import synthetic_decode, synthetic_heatmap


def test_every_cell_is_one_row_with_its_own_labels() -> None:
    ds = synthetic_decode()
    rows = table(ds)
    assert len(rows) == ds["tpot"].size
    for row in rows.rows():
        spot = (ds["tp"] == row["tp"]) & (ds["accelerators"] == row["accelerators"])
        cell = ds.isel(deployment=int(np.flatnonzero(spot.values)[0])).sel(
            {name: row[name] for name in ("model", "system", "recipe", "batch", "context")}
        )
        held = float(cell["tpot"])
        assert row["tpot"] == (None if np.isnan(held) else held)
        assert row["limit"] == ("memory" if np.isnan(held) else "none")


def test_the_header_has_units_and_the_rows_say_what_they_are() -> None:
    rows = table(synthetic_decode()).stamped()
    headers = [column.header for column in rows.columns]
    assert "tpot [s]" in headers
    assert "context [tokens]" in headers
    assert rows["fidelity"].values[0] == "kernel"
    assert rows["boundary"].values[-1] == "accelerator"
    assert {"basis", "token_basis"} <= set(rows.names)


def test_only_what_runs() -> None:
    ds = synthetic_decode()
    rows = table(ds, runs_only=True)
    assert len(rows) == int((ds["limit"] == 0).sum())
    assert all(row["tpot"] is not None for row in rows.rows())


def test_a_variable_of_fewer_dimensions_is_spread() -> None:
    ds = synthetic_heatmap()
    ds["power"] = ("system", np.arange(5.0))
    for row in table(ds).rows():
        assert row["power"] == float(ds["power"].sel(system=row["system"]))


def test_flags_become_words() -> None:
    limit = synthetic_heatmap()["limit"]
    known = meanings(limit)
    assert known is not None
    assert known[1] == "memory"
    assert set(np.unique(words_of(limit))) == {"none", "memory", "context"}
    assert meanings(synthetic_heatmap()["tokens_per_mwh"]) is None


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.01234, "s", "12.34 ms"),
        (3.35e12, "B", "3.35 TB"),
        (float("nan"), "s", "-"),
        (None, "", "-"),
        (64, "", "64"),
        ("fp8", "", "fp8"),
        (True, "", "True"),
        (4.213e6, "s-1", "4.213M"),
        (0.0456, "", "0.0456"),
        (0.0, "s", "0 s"),
    ],
)
def test_numbers_for_people(value: object, unit: str, said: str) -> None:
    assert number(value, unit) == said


def test_compact_keeps_the_digits_asked_for() -> None:
    assert compact(1.9862e9, 3) == "1.99G"
    assert prefixed(-2e-7) == ("n", 1e-9)
