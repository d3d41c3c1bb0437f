"""Inputs: what is drawn has the moments asked for, and bad input names its field and value."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from roofline.errors import InputError
from roofline.serving import Closed, Lognormal, Open, Requests, Service, Trace

GOOD: dict[str, Any] = {"decode_s": [0.1, 0.1, 0.2], "mixed_s": [0.2, 0.2, 0.3], "chunk": 512, "slots": 2}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decode_s": [0.1, -0.1, 0.2]}, r"decode_s\[1\] = -0.1"),
        ({"decode_s": [0.1, float("nan"), 0.2]}, r"decode_s\[1\] = nan"),
        ({"decode_s": [0.1, 0.0, 0.2]}, "times > 0"),
        ({"mixed_s": [0.0, 0.2, 0.3], "decode_s": [0.0, 0.1, 0.1]}, "times > 0"),
        ({"mixed_s": [0.2, 0.05, 0.3]}, r"mixed_s\[1\] = 0.05: less than decode_s\[1\] = 0.1"),
        ({"mixed_s": [0.2, 0.3]}, "mixed_s: has 2 times for slots = 2"),
        ({"decode_s": []}, r"decode_s: has shape \(0,\)"),
        ({"decode_s": "fast"}, "decode_s = 'fast'"),
        ({"chunk": 0}, "chunk = 0"),
        ({"chunk": 1.5}, "chunk = 1.5"),
        ({"slots": 3}, "slots = 3"),
        ({"slots": True}, "slots = True"),
        ({"tokens_per_step": 0.5}, "tokens_per_step = 0.5"),
        ({"ttft_constant_s": -1.0}, "ttft_constant_s = -1.0"),
        ({"ttft_constant_s": float("inf")}, "ttft_constant_s = inf"),
    ],
)
def test_a_wrong_service_says_where(changed: dict[str, Any], message: str) -> None:
    Service(**GOOD)
    with pytest.raises(InputError, match=message):
        Service(**GOOD | changed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Requests(0, 1), "isl = 0"),
        (lambda: Requests(1, -3), "osl = -3"),
        (lambda: Requests(1, float("nan")), "osl = nan"),
        (lambda: Requests(1.5, 1), "isl = 1.5"),
        (lambda: Requests([], []), r"isl: has shape \(0,\)"),
        (lambda: Requests([1, 2], [1]), "have 2 and 1 values"),
        (lambda: Requests([1, 2], 3), "isl: is a list alone"),
        (lambda: Requests([1, 0], [1, 1]), r"isl\[1\] = 0"),
        (lambda: Requests([1, 1.5], [1, 1]), r"isl\[1\] = 1.5"),
        (lambda: Requests(1, 1, -1), "cached = -1"),
        (lambda: Lognormal(0.5, 1), "mean = 0.5"),
        (lambda: Lognormal(10, 0), "cv = 0"),
        (lambda: Open(0.0), "rate = 0.0"),
        (lambda: Open(-1.0), "rate = -1.0"),
        (lambda: Open(1.0, -0.1), "cv = -0.1"),
        (lambda: Open(float("nan")), "rate = nan"),
        (lambda: Closed(0), "clients = 0"),
        (lambda: Trace([1.0, 0.5], [1, 1], [1, 1]), r"arrival_s\[1\] = 0.5: earlier"),
        (lambda: Trace([1.0], [1, 1], [1, 1]), "have 1, 2, 2 values"),
        (lambda: Trace([-1.0], [1], [1]), r"arrival_s\[0\] = -1"),
        (lambda: Trace([1.0], [1], [0]), r"osl\[0\] = 0"),
    ],
)
def test_wrong_requests_say_where(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_draws_have_their_moments() -> None:
    generator = np.random.default_rng(3)
    requests = Requests(Lognormal(1000, 0.8), Lognormal(300, 0.5))
    for drawn, points, mean, cv in zip(
        requests.draw(200_000, generator), requests.points(), (1000, 300), (0.8, 0.5), strict=True
    ):
        for values in (drawn, points):
            assert values.mean() == pytest.approx(mean, rel=0.02)
            assert values.std() / values.mean() == pytest.approx(cv, rel=0.05)
            assert (values == np.rint(values)).all()
            assert values.min() >= 1.0
    pairs = Requests([10, 1000], [500, 20])
    isl, osl = pairs.draw(10_000, generator)
    assert set(zip(isl, osl, strict=True)) == {(10.0, 500.0), (1000.0, 20.0)}
    assert pairs.to_compute(isl).tolist() == isl.tolist()
    assert set(Requests([10, 1000], [1, 1], cached=100).to_compute(isl)) == {1.0, 900.0}


@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0, 2.0])
def test_gaps_have_their_moments(cv: float) -> None:
    gaps = np.diff(Open(4.0, cv).draw(200_000, np.random.default_rng(5)))
    assert gaps.mean() == pytest.approx(0.25, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.03, abs=1e-6)


def test_a_trace_is_read(tmp_path: Path) -> None:
    table = tmp_path / "trace.csv"
    table.write_text("isl,model,arrival_s,osl\n100,a,0.5,10\n200,b,0.75,20\n", encoding="utf-8")
    found = Trace.read(table, cached=16)
    assert (found.arrival_s.tolist(), found.isl.tolist(), found.osl.tolist()) == ([0.5, 0.75], [100, 200], [10, 20])
    assert found.cached == 16


def test_a_trace_in_parquet_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.parquet"
    parquet.write_table(pa.table({"arrival_s": [0.5, 0.75], "isl": [100, 200], "osl": [10, 20]}), path)
    assert Trace.read(path).isl.tolist() == [100, 200]
    (tmp_path / "broken.parquet").write_text("no", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken\.parquet: not a Parquet file"):
        Trace.read(tmp_path / "broken.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="Parquet needs pyarrow"):
        Trace.read(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "arrival_s,isl\n0,1\n", r"a\.csv:1: no column osl; found arrival_s, isl"),
        ("a.csv", "", "no column arrival_s, isl, osl"),
        ("a.csv", "arrival_s,isl,osl\n", r"a\.csv: has no rows"),
        ("a.csv", "arrival_s,isl,osl\n0,1,1\n1,many,1\n", r"a\.csv:3: isl = 'many'"),
        ("a.csv", "arrival_s,isl,osl\n0,1\n", r"a\.csv:2: osl = None"),
        ("a.csv", "arrival_s,isl,osl\n3,1,1\n1,1,1\n", r"a\.csv: arrival_s\[1\] = 1: earlier"),
        ("a.json", "{}", "suffix .json is not one of .csv, .parquet"),
    ],
)
def test_a_wrong_trace_says_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Trace.read(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        Trace.read(tmp_path / "absent.csv")
